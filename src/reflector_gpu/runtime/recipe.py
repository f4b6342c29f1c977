"""How an engine is built in the process that it runs in."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Engine(Protocol):
    """The part of every engine that the runtime needs."""

    def load(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build an engine in another process: picklable, imports nothing until built.

    ``engine`` is ``module:Class``, called with ``arguments``; ``method`` is its batch method,
    ``method(items, options) -> one result or error per item``; one that ``streams`` is given a
    `Progress` as well, and one that ``prepares`` is called by `Preparing.prepare` instead.
    ``memory`` is the number of float32 values of shared memory that a batch may need.
    ``environment`` are the variables that the process has in addition to ours, such as how many
    threads to use and which GPU. If there are several ``lanes``, so many threads may call the
    engine at once, with one item each.
    """

    engine: str
    method: str
    memory: int = 0
    arguments: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    streams: bool = False
    lanes: int = 1
    prepares: bool = False

    def build(self) -> Engine:
        module, _, name = self.engine.partition(":")
        engine: Engine = getattr(importlib.import_module(module), name)(**self.arguments)
        return engine
