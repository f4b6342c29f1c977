"""A server that keeps jobs, for the tests of each file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.jobs.asking import OTHER
from tests.live import KEY, LiveServer


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[LiveServer]:
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
