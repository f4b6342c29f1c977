"""Padding on Modal: https://<workspace>--reflector-padding-web.modal.run

`modal deploy modal_deployments/reflector_padding.py`, or `reflector-gpu modal deploy`.
"""

import modal
from fastapi import FastAPI

from reflector_gpu.deploy.on_modal.server import WEB_CORES, ServerDeployment

deployment = ServerDeployment("reflector-padding")
app = modal.App(deployment.name)


@app.function(**deployment.web)
@modal.concurrent(max_inputs=2 * WEB_CORES)
@modal.asgi_app()
def web() -> FastAPI:
    """The server: it encodes itself, and needs neither an engine nor a GPU."""
    return deployment.engineless()
