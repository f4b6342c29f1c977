"""The recording that decoders are given."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def meeting(standup: Path) -> bytes:
    return standup.read_bytes()
