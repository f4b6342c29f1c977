"""Which engines a deployment on Ray has, and what each replica of one does. Ray is not needed."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from reflector_gpu.deploy.engine_host import EngineHost
from reflector_gpu.deploy.models import deployed
from reflector_gpu.deploy.remote_workers import Reply
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.catalogs import helpers
from reflector_gpu.engines.completion.base import COMPLETION
from reflector_gpu.engines.completion.catalog import COMPLETERS
from reflector_gpu.engines.diarization.base import FileRecording, PcmRecording
from reflector_gpu.engines.endpointing.base import ENDPOINTING
from reflector_gpu.engines.recognition.base import RECOGNITION
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.pcm import PcmBytes, PcmFile
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.service.catalogs import recognisers_of
from reflector_gpu.service.worker_pools import WorkerPools
from reflector_gpu.settings import Settings, load_settings
from reflector_gpu.types import Priority


def known(settings: Settings) -> list[AnyModel]:
    """The models that can have replicas: all that are configured. Turns end beside the servers.

    Raises:
        ReflectorError: the settings name a model that does not exist.
    """
    beside = [model for model in helpers(settings) if model.capability is not ENDPOINTING]
    found: list[AnyModel] = [*recognisers_of(settings).configured, *beside]
    if settings.llm_engine == "ctranslate2":
        found.append(deployed(COMPLETERS, settings.llm_model, settings))
    return found


def engines(settings: Settings) -> list[AnyModel]:
    """The models that get replicas by default: those that are here or may be downloaded.

    Raises:
        ReflectorError: as `known`.
    """
    recognisers = recognisers_of(settings)
    needed = recognisers.needed([one for one in recognisers.configured if _possible(one, settings)])
    chosen = {one.name for one in needed or recognisers.defaults}
    return [
        model
        for model in known(settings)
        if (
            model.name in chosen
            if model.capability is RECOGNITION
            else model.capability is COMPLETION or _possible(model, settings)
        )
    ]


def named(deployment: str, settings: Settings) -> AnyModel:
    """The model of a ``deployment``.

    Raises:
        ConfigurationError: the settings name no model with such a deployment.
    """
    names = {name_of(model): model for model in known(settings)}
    if deployment not in names:
        raise ConfigurationError(
            f"There is no deployment '{deployment}' with these settings; there can be "
            f"{', '.join(names)}."
        )
    return names[deployment]


def _possible(model: AnyModel, settings: Settings) -> bool:
    return not model.missing or (settings.auto_pull and model.downloadable)


def name_of(model: AnyModel) -> str:
    """The name of the deployment of ``model``."""
    return re.sub(r"[^\w.-]+", "-", f"{model.capability.kind}-{model.name}")


class EngineReplica:
    """One loaded engine, in a process of its own. The body of a deployment.

    An engine may hold the interpreter for as long as it works. In the replica's process, that would
    keep calls, answers and Serve's questions from passing, and the engine would wait for work.
    """

    def __init__(self, deployment: str, calls: int) -> None:
        """Load the engine of this ``deployment``, fetching its weights if that is allowed.

        Up to ``calls`` calls at once share batches.

        Raises:
            ReflectorError: it does not load. Ray then keeps the replicas of the version before.
        """
        settings = load_settings()
        model = named(deployment, settings)
        if settings.auto_pull and model.downloadable:
            assert model.weights is not None
            model.weights.pull(settings.weights_sources)
        self._threads = ThreadPoolExecutor(calls, thread_name_prefix="call")
        self._host = EngineHost(model, partial(_worker, model, device_of(model, settings)))
        self._host.load()
        self.check_health()

    async def run(
        self, items: Sequence[object], options: object, priority: Priority
    ) -> list[object]:
        """A result or a `ReflectorError` for each of ``items``, in order."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, items, options, priority)

    def _run(self, items: Sequence[object], options: object, priority: Priority) -> list[object]:
        with ExitStack() as files:
            filed = [files.enter_context(_filed(item)) for item in items]
            return self._host.run(filed, options, priority)

    async def stream(
        self, items: Sequence[object], options: object, priority: Priority
    ) -> AsyncIterator[Reply]:
        """As `EngineHost.stream`. If the caller leaves, the items are given up."""
        messages = self._host.stream(items, options, priority)
        loop = asyncio.get_running_loop()
        try:
            while True:
                coming = loop.run_in_executor(self._threads, next, messages, None)
                message = await asyncio.shield(coming)
                if message is None:
                    return
                yield message
        finally:
            messages.give_up()

    def check_health(self) -> None:
        """
        Raises:
            ReflectorError: the engine does not work. Ray replaces the replica.
        """
        if error := self._host.error:
            raise error

    def __del__(self) -> None:
        """Free the engine. Serve calls this when a replica ends that has no work any more."""
        if hasattr(self, "_host"):  # else it failed before
            self._host.close()
            self._threads.shutdown(wait=False)


def device_of(model: AnyModel, settings: Settings) -> str:
    """Where the engine of ``model`` runs. Ray shows a replica no GPU but its own."""
    kinds = (device.partition(":")[0] for device in settings.devices)
    return next((kind for kind in kinds if kind in model.spec.devices), "cpu")


def _worker(model: AnyModel, device: str) -> Pool[Any, Any]:
    """A worker process that has loaded the engine, like those of a server without Ray."""
    settings = load_settings(devices=device, workers=1, keep_default=True)
    cores = int(os.environ.get("OMP_NUM_THREADS") or 1)  # Ray sets it: the cores of this replica
    return WorkerPools(settings, (model.name,), cores=cores).pool(model)


@contextmanager
def _filed(item: object) -> Iterator[object]:
    """``item`` as a process takes it: a whole recording lies in a file."""
    if not (isinstance(item, PcmRecording) and isinstance(item.pcm, PcmBytes)):
        yield item
        return
    with tempfile.TemporaryFile() as file:
        file.write(item.pcm.data)
        file.flush()
        yield FileRecording(PcmFile(file.fileno()), item.speech)
