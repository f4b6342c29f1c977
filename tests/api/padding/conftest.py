"""A server that pads, a track and who receives it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.live import KEY, LiveServer

if TYPE_CHECKING:  # see tests/conftest.py
    from tests.api.hosts import Answer, AudioHost
    from tests.api.receivers import Receiver


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    from tests.api.receivers import Receiver

    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="package")
def server() -> Iterator[LiveServer]:
    """One that does not try again."""
    from tests.api.support import bare_server

    with bare_server(apikey=KEY, url_allow="127.0.0.1", url_retries=0) as server:
        yield server


@pytest.fixture(scope="package")
def track() -> bytes:
    """Six seconds of sound."""
    from tests.api.support import encoded
    from tests.audio.decode.test_padding import tone

    return encoded(tone(6), "webm", "libopus")


@pytest.fixture
def slow(track: bytes, host: AudioHost) -> Answer:
    """The track, whose host stops after two thirds."""
    from tests.api.hosts import Answer

    answer = Answer(track, pause_at=len(track) * 2 // 3)
    host.put("/slow.webm", answer)
    return answer
