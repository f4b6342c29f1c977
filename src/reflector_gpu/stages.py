"""Where the time of a request goes: its stages, for metrics and traces.

The code that serves a request names the listeners (`telling`). What works on it, in any room, says
when a stage is done (`stage`, `tell`), and does not know them. Both have to be in the same context
of ``contextvars``, which tasks inherit and other threads do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal[
    "download",
    "decode",
    "detect_speech",
    "queue",
    "recognise",
    "diarize",
    "translate",
    "complete",
    "endpoint",
    "render",
]
"""What a request goes through. ``queue`` is the wait for a worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A stage that has ended, by the clock of `time.monotonic`.

    Decoding and detection take turns, block by block, so both last equally long. ``busy`` is how
    many of its seconds a stage worked. ``about`` says more, such as which model it was.
    """

    stage: Stage
    began: float
    ended: float
    busy: float
    about: Mapping[str, str | float] = field(default_factory=dict)
    failed: bool = False


Listener: TypeAlias = Callable[[Done], None]

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("stage listeners", default=())


@contextmanager
def telling(*listeners: Listener) -> Iterator[None]:
    """Have ``listeners`` told of the stages in this context, and nobody else."""
    token = _listeners.set(listeners)
    try:
        yield
    finally:
        _listeners.reset(token)


def tell(done: Done) -> None:
    """Tell those who listen that a stage has ended."""
    for listener in _listeners.get():
        listener(done)


@contextmanager
def stage(name: Stage, **about: str | float) -> Iterator[None]:
    """The block is a stage, which works all the time."""
    began = time.monotonic()
    failed = True
    try:
        yield
        failed = False
    finally:
        ended = time.monotonic()
        tell(
            Done(
                stage=name,
                began=began,
                ended=ended,
                busy=ended - began,
                about=about,
                failed=failed,
            )
        )
