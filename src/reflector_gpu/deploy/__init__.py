"""The same application on other people's machines: workers that are elsewhere, and what runs them.

The server calls `remote_workers`, and `engine_host` answers; neither knows which cloud is between
them. The modules ``modal_...`` put both on Modal.
"""
