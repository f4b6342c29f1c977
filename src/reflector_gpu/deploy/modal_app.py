"""What the files in ``modal_deployments`` declare, said once.

The web function authenticates, decodes and chunks on a CPU, and has batches of chunks recognised
by calls of the app's classes, whose containers have a GPU. It is the server that runs anywhere
else; only its workers are such calls (`deploy.remote`). Batches are formed twice: the server sends
what waits when a call may leave, and a container lets calls that overlap share the engine
(`deploy.room`), because uploads come a chunk at a time, and from several servers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import modal
from fastapi import FastAPI

from reflector_gpu.api.app import create_app
from reflector_gpu.deploy.capabilities import CAPABILITIES
from reflector_gpu.deploy.modal_images import image
from reflector_gpu.deploy.modal_settings import NO_GPU, carried, load_modal_settings
from reflector_gpu.deploy.remote import Message, Remote, RemoteStream
from reflector_gpu.deploy.room import Room
from reflector_gpu.errors import ReflectorError
from reflector_gpu.runtime.supervisor import Starter
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Priority

logger = logging.getLogger(__name__)

SECRET = "reflector-gpu"  # noqa: S105  a name
KEY_VARIABLE = "REFLECTOR_APIKEY"
HUB_SECRET = "reflector-gpu-hub"  # noqa: S105  a name
HUB_VARIABLE = "HF_TOKEN"

_MODELS = "/models"
_CALL_SECONDS = 600  # what a batch of chunks may take
LONG_CALL_SECONDS = 3 * 3600  # the same for a whole recording
_START_SECONDS = 1800  # weights may have to be downloaded
_WEB_SECONDS = 12 * 3600  # as REFLECTOR_REQUEST_SECONDS has it
WEB_INPUTS = 64  # as many requests as a server takes in: REFLECTOR_LIVE_REQUESTS
_MOST_CALLS = 64  # of one class by one server: a thread waits for each

BOTH = tuple(Priority)


class Deployment:
    """One app: its name, its model, and the arguments of Modal's decorators."""

    def __init__(self, name: str, capability: str, model: str) -> None:
        """``model`` is the field of `ModalSettings` that names it.

        Raises:
            ConfigurationError, UnknownModel
        """
        self.name = name
        self.settings = load_modal_settings()
        self.capability = CAPABILITIES[capability]
        self._chosen: str = getattr(self.settings, model)
        self.model = self.capability.find(load_settings(), self._chosen)
        self._volume = modal.Volume.from_name("reflector-models", create_if_missing=True, version=2)

    @property
    def live(self) -> Part:
        """Containers for uploads: each takes several calls, which share batches."""
        given = self.settings
        return Part(
            deployment=self,
            gpu=given.live_gpu,
            inputs=given.live_inputs,
            calls=given.live_inputs * given.live_containers,
            containers=given.live_containers,
            kept=given.min_containers,
            window=given.live_window,
        )

    @property
    def file(self) -> Part:
        """Containers for recordings by URL: each takes one call, so that calls spread."""
        given = self.settings
        return Part(
            deployment=self,
            gpu=given.file_gpu,
            calls=given.file_fan_out,
            containers=given.file_containers,
            window=given.file_window,
        )

    def only(self, gpu: str, *, inputs: int = 1, seconds: int = _CALL_SECONDS) -> Part:
        """Containers for everything. ``seconds`` is what a call may take."""
        given = self.settings
        return Part(
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
        return {
            **(self.with_models if self.capability.reads_weights else self._anywhere),
            "secrets": [modal.Secret.from_name(SECRET, required_keys=[KEY_VARIABLE])],
            "cpu": 2.0,
            "memory": 2048,
            "max_containers": self.settings.web_containers,
            "scaledown_window": self.settings.web_window,
            "timeout": _WEB_SECONDS,
            "enable_memory_snapshot": True,
        }

    @property
    def pulling(self) -> dict[str, Any]:
        """Arguments of the function that calls `pull`."""
        return {**self.with_models, "timeout": _START_SECONDS}

    @property
    def with_models(self) -> dict[str, Any]:
        """Arguments of what reads or fetches weights."""
        secrets = [modal.Secret.from_name(HUB_SECRET, required_keys=[HUB_VARIABLE])]
        return {
            **self._anywhere,
            "image": image(self.model.extra),
            "volumes": {_MODELS: self._volume},
            "secrets": secrets if self.needs_hub_token else [],
        }

    @property
    def needs_hub_token(self) -> bool:
        """Whether the weights are given only to those who accepted their terms."""
        return self.model.extra == "pyannote" and self.model.weights is not None

    def pull(self) -> None:
        """Have the weights in the volume.

        Raises:
            ReflectorError: they can not be downloaded.
        """
        if not modal.is_local():
            self._volume.reload()
        if self.model.downloadable:
            assert self.model.weights is not None
            self.model.weights.pull()
            if not modal.is_local():
                self._volume.commit()

    def server(self, classes: Mapping[Priority, Callable[[], Container]]) -> FastAPI:
        """The web application, whose workers are calls of ``classes``.

        Raises:
            ConfigurationError: there is no key.
        """
        everywhere = "0.0.0.0"  # noqa: S104  as Modal has it
        chosen = self.capability.chosen(self._chosen)
        settings = load_settings(host=everywhere, auto_pull=False, devices=("cpu",), **chosen)
        settings.check_exposed()
        workers = {priority: self._calls(found()) for priority, found in classes.items()}
        return create_app(settings, {self.model.name: workers})

    def _calls(self, containers: Any) -> Sequence[Starter]:
        """As many workers as calls may be made at once; ``containers`` is Modal's handle."""
        calls = min(containers.part.calls, _MOST_CALLS)
        if self.capability.streams:
            return [RemoteStream(containers.stream.remote_gen)] * calls
        return [Remote(containers.run.remote)] * calls

    @property
    def _anywhere(self) -> dict[str, Any]:
        env = {**carried(), "HF_HOME": _MODELS}
        return {"image": image(), "env": env, "region": self.settings.region or None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The containers of one class, each with the engine.

    Each takes ``inputs`` calls at once, of ``seconds`` at most; a server makes ``calls`` at once.
    There are ``kept`` to ``containers`` of them, and one goes ``window`` seconds after its work.
    """

    deployment: Deployment
    gpu: str
    calls: int
    containers: int
    window: int
    inputs: int = 1
    kept: int = 0
    seconds: int = _CALL_SECONDS

    @property
    def device(self) -> str:
        """Engines that know no GPU do not pay for one."""
        known = self.deployment.model.spec.devices
        return "cpu" if self.gpu == NO_GPU or "cuda" not in known else "cuda"

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the class."""
        on_gpu = self.device == "cuda"
        snapshot = {"enable_gpu_snapshot": True} if self._keeps_gpu else None
        return {
            **self.deployment.with_models,
            "gpu": self.gpu if on_gpu else None,
            "cpu": 4.0,
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
        """Whether a loaded engine can be in a snapshot: one on a GPU needs that to be in it too."""
        return self.device == "cpu" or self._keeps_gpu

    def room(self) -> Room:
        deployment = self.deployment
        return Room(deployment.capability, deployment.model, self.device, load_settings())

    @property
    def _keeps_gpu(self) -> bool:
        return self.device == "cuda" and self.deployment.settings.gpu_snapshot


class Container:
    """Base of the classes: what a container does in its life."""

    part: ClassVar[Part]

    @modal.enter(snap=True)
    def prepare(self) -> None:
        """What a snapshot can hold."""
        self.room = self.part.room()
        self._fetch()
        self.room.warm()
        if self.part.loads_early:
            self.room.load()

    @modal.enter()
    def load(self) -> None:
        """What it can not."""
        self._fetch()
        self.room.load()

    @modal.method()
    def run(self, items: Sequence[object], options: object) -> list[object]:
        """A result or a `ReflectorError` for each of ``items``, in order."""
        return self.room.run(items, options)

    @modal.exit()
    def close(self) -> None:
        self.room.close()

    def _fetch(self) -> None:
        if self.part.deployment.model.missing:
            try:
                self.part.deployment.pull()
            except (ReflectorError, modal.exception.Error) as error:
                # What the engine lacks then is the answer to every call.
                logger.error("the weights can not be fetched: %s", error)


class StreamingContainer(Container):
    """One whose engine tells parts of its results ahead of them."""

    @modal.method()
    def stream(self, items: Sequence[object], options: object) -> Iterator[Message]:
        """As `Room.stream`."""
        yield from self.room.stream(items, options)
