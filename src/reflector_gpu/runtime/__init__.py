"""Who computes what, when: batching, supervised worker processes, admission.

Nothing here knows what an item means; it is an array or a picklable value with a cost.
"""
