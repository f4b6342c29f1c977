"""Waiting for what another thread or process will do, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 60.0
"""Only ever reached by a test that fails; the machines that run these are shared."""

PROGRAM_SECONDS = 300.0
"""The same for a program, or for a server's answer: engines may be loaded, or hours decoded."""


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Return once ``condition()`` is true; fail if it never becomes so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not after {seconds:g} seconds: {condition}")
        time.sleep(0.005)
