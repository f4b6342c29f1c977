"""Servers for calls, and a recording that one of them knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.live import KEY, LiveServer

if TYPE_CHECKING:  # see tests/conftest.py
    from tests.engines.tiny import Clip


@pytest.fixture(scope="package")
def spoken() -> Clip:
    from tests.engines.tiny import clips

    return next(clip for clip in clips("en") if "please_share_project" in clip.path.name)


@pytest.fixture(scope="package")
def hearing() -> Iterator[LiveServer]:
    """A server with a small model, which knows some thirty words."""
    from tests.engines.tiny import PARAKEET

    with LiveServer(
        model="parakeet", model_paths={"parakeet": str(PARAKEET)}, apikey=KEY, workers=1
    ) as server:
        yield server


@pytest.fixture(scope="module")
def narrow() -> Iterator[LiveServer]:
    """A server with two keys that takes one call over WebRTC."""
    from tests.api.realtime.client import OTHER_KEY

    keys = f"{KEY},{OTHER_KEY}"
    with LiveServer(model="scripted", apikey=keys, workers=1, webrtc_calls=1) as server:
        yield server
