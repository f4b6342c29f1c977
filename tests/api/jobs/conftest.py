"""A server that keeps jobs, for the tests of each file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live import KEY, LiveServer

if TYPE_CHECKING:  # see tests/conftest.py
    import httpx


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[LiveServer]:
    from tests.api.jobs.asking import OTHER

    with LiveServer(
        model="scripted",
        apikey=f"{KEY},{OTHER}",
        data_dir=data,
        url_allow="127.0.0.1",
        url_retries=0,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client
