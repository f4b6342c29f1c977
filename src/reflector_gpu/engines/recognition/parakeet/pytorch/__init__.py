"""Parakeet on PyTorch: features, encoder and decoding on one device, a batch at a time.

`engine` imports nothing of PyTorch until it loads; the other modules do.
"""
