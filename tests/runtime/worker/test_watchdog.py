"""A deadline that is kept is never told of, one that passes always, whatever came before it."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from reflector_gpu.errors import EngineFailed
from reflector_gpu.runtime.watchdog import Watchdog
from tests.runtime.clock import Clock
from tests.waiting import PATIENCE_SECONDS, until

LONG = 3600.0


def test_a_deadline_that_passes_is_told_of_once_each_time() -> None:
    bitten = threading.Semaphore(0)
    watchdog = Watchdog(bitten.release)
    for seconds in (0.0, 0.01, LONG, 0.0):
        with watchdog.watching(seconds):
            assert seconds == LONG or bitten.acquire(timeout=PATIENCE_SECONDS)
    watchdog.close()
    watchdog.close()
    assert not bitten.acquire(blocking=False)


def test_work_that_is_done_is_not_bitten_later() -> None:
    """The second deadline comes up while the first would, had it not been kept."""
    bitten: list[int] = []
    looks: list[float] = []
    time = Clock()

    def clock() -> float:
        looks.append(time.now)
        return time.now

    watchdog = Watchdog(lambda: bitten.append(1), clock)
    with watchdog.watching(1.0):
        pass
    with watchdog.watching(LONG):
        time.advance(2.0)
        with watchdog._changed:
            watchdog._changed.notify()  # as if the second had passed in which it sleeps
        until(lambda: time.now in looks)
    watchdog.close()
    assert bitten == []


def test_one_that_is_closed_holds_nobody() -> None:
    class Owner:
        def __init__(self) -> None:
            self.watchdog = Watchdog(self.expired)

        def expired(self) -> None: ...

    gc.disable()
    try:
        owner = Owner()
        gone = weakref.ref(owner)
        owner.watchdog.close()
        del owner
        assert gone() is None
    finally:
        gc.enable()


def test_no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(EngineFailed, match="no thread left"):
        Watchdog(lambda: None)
