"""What the tests of recognition share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.tiny import PARAKEET, WHISPER
from tests.live import KEY, LiveServer
from tests.waiting import PROGRAM_SECONDS


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """``auto`` over both tiny models, as the profiles have it over the large ones.

    One knows English only, the other detects what is spoken.
    """
    with LiveServer(
        model="auto",
        auto_models="parakeet,whisper",
        model_paths={"parakeet": str(PARAKEET), "whisper": str(WHISPER)},
        apikey=KEY,
    ) as server:
        for model in server.service.recognisers.defaults:
            server.service.workers.pool(model).wait_ready(timeout=PROGRAM_SECONDS)
        yield server
