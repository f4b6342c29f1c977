"""Servers over an engine that misbehaves to order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # see tests/conftest.py
    from reflector_gpu.types import Samples
    from tests.api.requests.stage import Bench, Stage
    from tests.live import LiveServer


@pytest.fixture(scope="package")
def calm(tmp_path_factory: pytest.TempPathFactory, clip: bytes) -> Iterator[Stage]:
    from tests.api.requests.stage import staged
    from tests.api.support import upload

    with staged(tmp_path_factory.mktemp("calm"), url_retries=1) as stage:
        assert upload(stage.server, clip).status_code == 200
        yield stage


@pytest.fixture
def hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage that gives up an engine that hangs at once, and one that is slow never."""
    from reflector_gpu.runtime import worker
    from reflector_gpu.runtime.watchdog import Watchdog
    from tests.api.requests.stage import HangClock, staged

    monkeypatch.setattr(worker, "Watchdog", partial(Watchdog, clock=HangClock(tmp_path)))
    with staged(tmp_path, hasty=True) as stage:
        yield stage


@pytest.fixture
def nothing_left(calm: Stage) -> Iterator[None]:
    from tests.api.requests.stage import Held
    from tests.api.support import eventually

    before = Held.idle(calm.server)
    yield
    before.check_no_more()
    eventually(lambda: calm.state == "ready")


@pytest.fixture(scope="module")
def bench(
    scripted: LiveServer, snippets: list[Samples], clips: list[bytes], texts: list[str]
) -> Bench:
    import numpy as np

    from tests.api.requests.stage import Bench
    from tests.api.support import upload, wav

    poison = wav(snippets[3] * np.float32(0.99 / np.abs(snippets[3]).max()))
    long_clip = wav(*snippets[:3])
    return Bench(clips, texts, poison, long_clip, upload(scripted, long_clip).json()["text"])
