"""What the files in ``modal_deployments`` have in common.

The web function is the usual server: it authenticates, decodes and chunks on a CPU. Only its
workers differ: each is a call of one of the app's classes, whose containers have a GPU
(`deploy.remote_workers`). Batches are formed twice. The server sends all waiting chunks in one
call. A container puts overlapping calls into one batch (`deploy.engine_host`), because uploads come
a chunk at a time, and from several servers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import modal
from fastapi import FastAPI

from reflector_gpu.api.app import create_app
from reflector_gpu.deploy.engine_host import EngineHost, in_this_process
from reflector_gpu.deploy.models import deployed, serving
from reflector_gpu.deploy.on_modal.images import image
from reflector_gpu.deploy.on_modal.server import MODELS, WEB_CORES, ServerDeployment
from reflector_gpu.deploy.on_modal.settings import NO_GPU
from reflector_gpu.deploy.remote_workers import Call, Remote, RemoteStream, Reply, StreamingCall
from reflector_gpu.deploy.served import served
from reflector_gpu.engines.catalogs import CATALOGS
from reflector_gpu.errors import ConfigurationError, EngineFailed, ReflectorError
from reflector_gpu.service.worker_pools import StarterElsewhere
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Priority

logger = logging.getLogger(__name__)

HUB_SECRET = "reflector-gpu-hub"  # noqa: S105  a name
HUB_VARIABLE = "HF_TOKEN"

VOLUME = "reflector-models"
_CALL_SECONDS = 600  # for a batch of chunks
LONG_CALL_SECONDS = 3 * 3600  # the same for a whole recording
_START_SECONDS = 1800  # weights may have to be downloaded
_MOST_CALLS = 64  # of one class by one server; a thread waits for each
_MOST_RECORDINGS = 2  # the same, for calls with whole recordings, which are in memory twice
_RECORDING_MEGABYTES = 1024  # six hours as 16-bit samples, pickled for the call

_CORES = 4
_FETCH_SECONDS = 30.0  # between tries

_LASTING = (
    modal.exception.AuthError,
    modal.exception.NotFoundError,
    modal.exception.PermissionDeniedError,
)
"""Errors of a call that would not go away if it were repeated."""

BOTH = tuple(Priority)


class Deployment(ServerDeployment):
    """One app with an engine: its name, its model, and the arguments of Modal's decorators."""

    def __init__(self, name: str, kind: str, model: str) -> None:
        """``kind`` is the kind of the model, as in `CATALOGS`. ``model`` is the field of
        `ModalSettings` that names it.

        Raises:
            ConfigurationError
        """
        super().__init__(name)
        self._catalog = CATALOGS[kind]
        self.capability = self._catalog.capability
        self._chosen: str = getattr(self.settings, model)
        self.model = deployed(self._catalog, self._chosen, load_settings())
        self._volume = modal.Volume.from_name(VOLUME, create_if_missing=True, version=2)

    @property
    def live(self) -> ContainerGroup:
        """Containers for uploads: each takes several calls, which share batches."""
        given = self.settings
        return ContainerGroup(
            deployment=self,
            gpu=given.live_gpu,
            inputs=given.live_inputs,
            calls=given.live_inputs * given.live_containers,
            containers=given.live_containers,
            kept=given.min_containers,
            window=given.live_window,
        )

    @property
    def file(self) -> ContainerGroup:
        """Containers for recordings by URL: each takes one call, so that calls spread."""
        given = self.settings
        return ContainerGroup(
            deployment=self,
            gpu=given.file_gpu,
            calls=given.file_fan_out,
            containers=given.file_containers,
            window=given.file_window,
        )

    def only(self, gpu: str, *, inputs: int = 1, seconds: int = _CALL_SECONDS) -> ContainerGroup:
        """Containers for everything. ``seconds`` is what a call may take."""
        given = self.settings
        return ContainerGroup(
            deployment=self,
            gpu=gpu,
            inputs=inputs,
            calls=inputs * given.containers,
            containers=given.containers,
            kept=given.min_containers,
            window=given.window,
            seconds=seconds,
        )

    @property
    def web(self) -> dict[str, Any]:
        """Arguments of the web function, which returns `server`."""
        recordings = _MOST_RECORDINGS if self.capability.whole_recordings else 0
        web = super().web
        models = self.with_models(WEB_CORES) if self.capability.reads_weights else {}
        memory = web["memory"] + recordings * 2 * _RECORDING_MEGABYTES
        return {**web, **models, "secrets": web["secrets"], "memory": memory}

    @property
    def pulling(self) -> dict[str, Any]:
        """Arguments of the function that calls `pull`."""
        return {**self.with_models(WEB_CORES), "timeout": _START_SECONDS}

    def with_models(self, cores: int) -> dict[str, Any]:
        """Arguments of a function that reads or fetches weights, and computes on ``cores``."""
        secrets = [modal.Secret.from_name(HUB_SECRET, required_keys=[HUB_VARIABLE])]
        return {
            **self.anywhere(cores),
            "image": image(self.model.extra),
            "volumes": {MODELS: self._volume},
            "secrets": secrets if self.needs_hub_token else [],
        }

    @property
    def title(self) -> str:
        return f"{self.name} with {self.model.name}"

    @property
    def fetches_weights(self) -> bool:
        return self.model.weights is not None

    @property
    def needs_hub_token(self) -> bool:
        return self.model.extra == "pyannote" and self.model.weights is not None

    @property
    def folder(self) -> str | None:
        given = self.model.arguments.get("weights", "")
        in_volume = self.model.weights is None and given.startswith(f"{MODELS}/")
        return given.removeprefix(MODELS) if in_volume else None

    def check_carried(self) -> None:
        """
        Raises:
            ConfigurationError: the model is in a folder of this machine.
        """
        if self._chosen in load_settings().model_paths:
            raise ConfigurationError(
                f"{self.name} cannot be deployed with '{self._chosen}' of REFLECTOR_MODEL_PATHS: "
                "its folder is on this machine alone."
            )

    def fetch(self) -> None:
        """`pull` what is missing. A failure is only logged."""
        if not self.model.missing:
            return
        try:
            self.pull()
        except (ReflectorError, modal.exception.Error, RuntimeError, OSError) as error:
            # The volume raises RuntimeError when it is in use. If weights stay missing, calls of
            # the engine say so.
            logger.error("the weights cannot be fetched: %s", error)

    def pull(self) -> None:
        """Download the weights into the volume, unless they are there.

        Raises:
            ReflectorError: they cannot be downloaded.
        """
        if not modal.is_local():
            self._volume.reload()
        if self.model.downloadable:
            assert self.model.weights is not None
            self.model.weights.pull(load_settings().weights_sources)
            if not modal.is_local():
                self._volume.commit()

    def server(self, classes: Mapping[Priority, Callable[[], Container]]) -> FastAPI:
        """The web application, whose workers are calls of ``classes``.

        Raises:
            ConfigurationError: there is no key.
        """
        chosen = serving(self._catalog, self._chosen)
        settings = served(WEB_CORES, devices=("cpu",), **chosen)
        if self.capability.reads_weights:
            self.fetch()
            if self.model.missing:
                threading.Thread(target=self._keep_fetching, name="weights", daemon=True).start()
        workers = {priority: self._calls(found()) for priority, found in classes.items()}
        return create_app(settings, {self.model.name: workers})

    def _calls(self, containers: Any) -> Sequence[StarterElsewhere]:
        """A worker for each call that may run at once. ``containers`` is Modal's handle."""
        most = _MOST_RECORDINGS if self.capability.whole_recordings else _MOST_CALLS
        calls = min(containers.group.calls, most)
        if self.capability.streams:
            return [RemoteStream(_streaming(containers.stream.remote_gen))] * calls
        return [Remote(_calling(containers.run.remote))] * calls

    def _keep_fetching(self) -> None:
        while self.model.missing:
            time.sleep(_FETCH_SECONDS)
            self.fetch()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerGroup:
    """The containers of one class, each with the engine.

    A container takes ``inputs`` calls at once, of ``seconds`` at most, and ends ``window`` seconds
    after its last one. There are at least ``kept`` of them, and at most ``containers``. One server
    makes ``calls`` calls at once.
    """

    deployment: Deployment
    gpu: str
    calls: int
    containers: int
    window: int
    inputs: int = 1
    kept: int = 0
    seconds: int = _CALL_SECONDS

    def __post_init__(self) -> None:
        if self.kept > self.containers:
            raise ConfigurationError(
                f"REFLECTOR_MODAL_MIN_CONTAINERS: {self.kept} are more than the {self.containers} "
                f"that {self.deployment.name} may have."
            )

    @property
    def device(self) -> str:
        """The engine's device. One that cannot use a GPU gets none, because GPUs cost."""
        known = self.deployment.model.spec.devices
        return "cpu" if self.gpu == NO_GPU or "cuda" not in known else "cuda"

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the class."""
        on_gpu = self.device == "cuda"
        snapshot = {"enable_gpu_snapshot": True} if self._keeps_gpu else None
        return {
            **self.deployment.with_models(_CORES),
            "gpu": self.gpu if on_gpu else None,
            "cpu": float(_CORES),
            "memory": 8192,
            "min_containers": self.kept or None,
            "max_containers": self.containers,
            "scaledown_window": self.window,
            "timeout": self.seconds,
            "startup_timeout": _START_SECONDS,
            "enable_memory_snapshot": True,
            "experimental_options": snapshot,
        }

    @property
    def loads_early(self) -> bool:
        """Whether a snapshot can hold the loaded engine: on a GPU, if it holds the GPU's memory."""
        return self.device == "cpu" or self._keeps_gpu

    def host(self) -> EngineHost:
        model, settings = self.deployment.model, load_settings()
        return EngineHost(model, lambda: in_this_process(model, self.device, settings))

    @property
    def _keeps_gpu(self) -> bool:
        return self.device == "cuda" and self.deployment.settings.gpu_snapshot


class Container:
    """Base of the classes: loads the engine in a container and answers calls."""

    group: ClassVar[ContainerGroup]

    @modal.enter(snap=True)
    def prepare(self) -> None:
        """Prepare what a snapshot can hold."""
        self.host = self.group.host()
        self.group.deployment.fetch()
        self.host.warm()
        if self.group.loads_early and not self.group.deployment.model.missing:
            self.host.load()
            if self.host.failed:
                self.host.close()  # else every container would start with this failure

    @modal.enter()
    def load(self) -> None:
        """Prepare the rest."""
        self._load()

    @modal.method()
    def run(self, items: Sequence[object], options: object) -> list[object]:
        """A result or a `ReflectorError` for each of ``items``, in order."""
        self._try_again()
        return self.host.run(items, options)

    @modal.exit()
    def close(self) -> None:
        if hasattr(self, "host"):  # else it failed before
            self.host.close()

    def _try_again(self) -> None:
        """Load again if weights that were missing may have come."""
        if self.host.failed and self.group.deployment.model.missing:
            self._load()

    def _load(self) -> None:
        self.group.deployment.fetch()
        self.host.load()


class StreamingContainer(Container):
    """A container whose engine streams."""

    @modal.method()
    def stream(self, items: Sequence[object], options: object) -> Iterator[Reply]:
        """As `EngineHost.stream`."""
        self._try_again()
        messages = self.host.stream(items, options)
        try:
            yield from messages
        finally:
            messages.give_up()


def _calling(call: Call) -> Call:
    """``call``, but with errors as results if calling again would not help."""

    def run(items: Sequence[object], options: object) -> Sequence[object]:
        try:
            return call(items, options)
        except _LASTING as error:
            return _unreachable(error, len(items))

    return run


def _streaming(call: StreamingCall) -> StreamingCall:
    """As `_calling`, for a call that streams."""

    def stream(items: Sequence[object], options: object) -> Iterator[Reply]:
        try:
            yield from call(items, options)
        except _LASTING as error:
            yield _unreachable(error, len(items))

    return stream


def _unreachable(error: Exception, items: int) -> list[object]:
    logger.error("Modal refuses the call: %s", error)
    return [EngineFailed("Modal refuses to call the engine.", retry_after=60) for _ in range(items)]
