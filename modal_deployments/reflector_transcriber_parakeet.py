"""Parakeet on Modal: https://<workspace>--reflector-transcriber-parakeet-web.modal.run

`modal deploy modal_deployments/reflector_transcriber_parakeet.py`, or `reflector-gpu modal deploy`.
"""

import modal
from fastapi import FastAPI

from reflector_gpu.deploy.modal_app import Container, Deployment
from reflector_gpu.types import Priority

deployment = Deployment("reflector-transcriber-parakeet", "recogniser", model="parakeet_model")
app = modal.App(deployment.name)


@app.cls(**deployment.live.options)
@modal.concurrent(max_inputs=deployment.live.inputs)
class Live(Container):
    """Uploads: small files, and somebody waits."""

    group = deployment.live


@app.cls(**deployment.file.options)
class File(Container):
    """Recordings by URL: batches of chunks, spread over containers."""

    group = deployment.file


@app.function(**deployment.web)
@modal.concurrent(max_inputs=deployment.web_inputs)
@modal.asgi_app()
def web() -> FastAPI:
    """The server."""
    return deployment.server({Priority.LIVE: Live, Priority.FILE: File})


@app.function(**deployment.pulling)
def pull() -> None:
    """Have the weights in the volume: `modal run` this file."""
    deployment.pull()
