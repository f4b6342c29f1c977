"""The same application on other people's machines: workers that are elsewhere, and what runs them.

`room` is the engine's side, `remote` the server's; both know no cloud. `modal_app` is Modal's.
"""
