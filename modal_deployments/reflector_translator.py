"""Translation on Modal: https://<workspace>--reflector-translator-web.modal.run

`modal deploy modal_deployments/reflector_translator.py`, or `reflector-gpu modal deploy`.
"""

import modal
from fastapi import FastAPI

from reflector_gpu.deploy.modal_app import BOTH, Container, Deployment

deployment = Deployment("reflector-translator", "translator", model="translator_model")
group = deployment.only(deployment.settings.translator_gpu, inputs=10)
app = modal.App(deployment.name)


@app.cls(**group.options)
@modal.concurrent(max_inputs=group.inputs)
class Engine(Container):
    """Sentences, a batch a call; calls that overlap share batches."""

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
