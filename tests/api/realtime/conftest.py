"""Servers for calls, and a recording that one of them knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.realtime.client import OTHER_KEY
from tests.engines.tiny import PARAKEET, Clip, clips
from tests.live import KEY, LiveServer


@pytest.fixture(scope="package")
def spoken() -> Clip:
    return next(clip for clip in clips("en") if "please_share_project" in clip.path.name)


@pytest.fixture(scope="package")
def hearing() -> Iterator[LiveServer]:
    """A server with a small model, which knows some thirty words."""
    with LiveServer(
        model="parakeet", model_paths={"parakeet": str(PARAKEET)}, apikey=KEY, workers=1
    ) as server:
        yield server


@pytest.fixture(scope="module")
def narrow() -> Iterator[LiveServer]:
    """A server with two keys that takes one call over WebRTC."""
    keys = f"{KEY},{OTHER_KEY}"
    with LiveServer(model="scripted", apikey=keys, workers=1, webrtc_calls=1) as server:
        yield server
