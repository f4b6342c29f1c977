"""Speakers told apart on Modal: https://<workspace>--reflector-diarizer-web.modal.run

`modal deploy modal_deployments/reflector_diarizer.py`, or `reflector-gpu modal deploy`.
"""

import modal
from fastapi import FastAPI

from reflector_gpu.deploy.modal_app import (
    BOTH,
    LONG_CALL_SECONDS,
    Container,
    Deployment,
)

deployment = Deployment("reflector-diarizer", "diarizer", model="diarizer_model")
group = deployment.only(deployment.settings.diarizer_gpu, seconds=LONG_CALL_SECONDS)
app = modal.App(deployment.name)


@app.cls(**group.options)
class Engine(Container):
    """A whole recording a call."""

    group = group


@app.function(**deployment.web)
@modal.concurrent(max_inputs=deployment.web_inputs)
@modal.asgi_app()
def web() -> FastAPI:
    """The server."""
    return deployment.server(dict.fromkeys(BOTH, Engine))


@app.function(**deployment.pulling)
def pull() -> None:
    """Have the weights in the volume: `modal run` this file."""
    deployment.pull()
