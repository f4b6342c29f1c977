"""An engine on Ray that takes a fixed time and no core, as a GPU would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ray import serve

from reflector_gpu.deploy.on_ray.options import APPLICATION, SERVER, deployments, ongoing
from reflector_gpu.deploy.on_ray.settings import load_ray_settings
from reflector_gpu.deploy.ray_app import Ingress, shared
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.recognition.scripted import ScriptedRecogniser
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Priority, Samples, TranscribeOptions


class PacedReplica:
    """Answers one call at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._times: list[float] = []

    async def run(
        self, items: Sequence[Samples], options: TranscribeOptions, priority: Priority
    ) -> Sequence[object]:
        async with self._turn:
            began = time.perf_counter()
            await asyncio.sleep(self._seconds)
            found = ScriptedRecogniser().transcribe(items, options)
            self._times.append(time.perf_counter() - began)
        return found

    async def times(self) -> list[float]:
        """How long each call took, without its wait."""
        return self._times


RECOGNISER = "recogniser-scripted"


def run(replicas: int, seconds: float) -> list[str]:
    """Deploy so many replicas, each of which takes so many ``seconds`` a call, and servers.

    Returns the names of the applications.
    """
    settings, given = load_settings(), load_ray_settings()
    model = MODELS["scripted"]
    engine = serve.deployment(PacedReplica).options(
        name=RECOGNISER,
        num_replicas=replicas,
        max_ongoing_requests=ongoing(model, settings, given),
        ray_actor_options={"num_cpus": 0.1},
    )
    options = deployments([], settings, given)
    ingress = serve.deployment(serve.ingress()(Ingress)).options(name=SERVER, **options[SERVER])
    server = ingress.bind([RECOGNISER], shared(options))
    serve.run_many(
        [
            serve.RunTarget(engine.bind(seconds), RECOGNISER, None),
            serve.RunTarget(server, APPLICATION),
        ]
    )
    return [RECOGNISER, APPLICATION]
