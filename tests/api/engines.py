"""Engines that misbehave, and models made of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from reflector_gpu.engines import scripted
from reflector_gpu.engines.base import Model
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import Recognition, Samples, TranscribeOptions


class Slow:
    """Loads until somebody has written to a named pipe."""

    def __init__(self, pipe: str) -> None:
        self._pipe = Path(pipe)

    def load(self) -> None:
        self._pipe.read_bytes()

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        return [Recognition() for _ in chunks]

    def close(self) -> None:
        """Nothing to free."""


class Broken(Slow):
    """Never loads."""

    def load(self) -> None:
        raise RuntimeError("the weights are corrupt")


class Deadly(Slow):
    """Takes its process with it whatever it hears."""

    def load(self) -> None:
        """Nothing to load."""

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        os._exit(1)


def model(name: str, pipe: str = "") -> Model:
    """The engine ``name`` of this module under its own name, in lower case."""
    engine = f"{__name__}:{name}"
    return Model(name.lower(), engine, scripted.SPEC, "For tests", "MIT", arguments={"pipe": pipe})


ABSENT = Model(
    "absent", "nowhere:Engine", scripted.SPEC, "For tests", "MIT", packages=("no_such_package",)
)
"""Known, but not installed: a server with this default starts no worker at all."""
