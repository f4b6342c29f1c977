"""The application in the cloud: workers that run elsewhere, and what runs them.

The server calls `remote_workers`, and `engine_host` answers. Neither knows which cloud is between
them. The modules ``modal_...`` put both on Modal.
"""
