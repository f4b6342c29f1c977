"""The deployed files, run here: their web apps behind a real server, their classes as containers.

The API's own fixtures are taken over, so that its tests can run over a Modal app unchanged.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from unittest import mock

import modal.exception
import pytest

from tests.api.conftest import (  # noqa: F401  fixtures
    client,
    clip,
    clips,
    gate,
    host,
    pauses,
    quiet,
    snippets,
    text,
    texts,
    translating,
)
from tests.live import KEY, LiveServer
from tests.modal.containers import Container, Containers
from tests.modal.deployments import FOLDER

SCRIPTED = {"REFLECTOR_MODAL_TRANSCRIBER_MODEL": "scripted", "REFLECTOR_URL_ALLOW": "127.0.0.1"}


def dies(_: Container) -> None:
    """What happens to a call whose container does."""
    raise modal.exception.InternalFailure("the container was lost")


@dataclass(frozen=True, slots=True)
class Running:
    """A Modal app: its server, and its containers by the name of their class."""

    server: LiveServer
    containers: Mapping[str, Containers]


@contextmanager
def declared(name: str, environment: Mapping[str, str]) -> Iterator[ModuleType]:
    """The file ``name``, imported in a process that has these variables."""
    spec = importlib.util.spec_from_file_location(f"deployed_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(os.environ, {"REFLECTOR_APIKEY": KEY, **environment}):
        spec.loader.exec_module(module)
        yield module


@contextmanager
def running(
    name: str, environment: Mapping[str, str], limit: int | None = None
) -> Iterator[Running]:
    with declared(name, environment) as module:
        names = [name for name in ("Live", "File", "Engine") if hasattr(module, name)]
        containers = {name: Containers(getattr(module, name), limit) for name in names}
        for each, stand_in in containers.items():
            setattr(module, each, stand_in)
        try:
            with LiveServer.over(module.web.local()) as server:
                yield Running(server, containers)
        finally:
            for stand_in in containers.values():
                stand_in.close()


@pytest.fixture(scope="package")
def transcriber() -> Iterator[Running]:
    """`reflector_transcriber` with the scripted recogniser."""
    with running("reflector_transcriber", SCRIPTED) as found:
        yield found


@pytest.fixture(scope="package")
def scripted(transcriber: Running) -> LiveServer:
    """What the API's tests take to be a server of this machine."""
    return transcriber.server
