"""The application in a cloud or a cluster: workers that run elsewhere, and what runs them.

`modal_app` is the application on Modal, and `ray_app` the one on Ray Serve. The folders `on_modal`
and `on_ray` have their parts. What both use is beside them: the server calls `remote_workers`, and
`engine_host` answers. Neither knows which cloud is between them.
"""
