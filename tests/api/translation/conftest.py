"""A server that translates."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import LiveServer


@pytest.fixture(scope="package")
def server() -> Iterator[LiveServer]:
    from tests.api.translation.tiny import serving

    with serving(translate_characters=20_000) as server:
        yield server
