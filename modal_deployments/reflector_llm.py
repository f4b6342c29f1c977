"""A language model on Modal: https://<workspace>--reflector-llm-web.modal.run

`modal deploy modal_deployments/reflector_llm.py`, or `reflector-gpu modal deploy`.
"""

import modal
from fastapi import FastAPI

from reflector_gpu.deploy.modal_app import BOTH, Deployment, StreamingContainer

deployment = Deployment("reflector-llm", "llm", model="llm_model")
group = deployment.only(deployment.settings.llm_gpu, inputs=8)
app = modal.App(deployment.name)


@app.cls(**group.options)
@modal.concurrent(max_inputs=group.inputs)
class Engine(StreamingContainer):
    """Prompts; calls that overlap share batches, and answers stream."""

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
