"""Voices of the sample meeting, for servers that remember them."""

from __future__ import annotations

import importlib.util

import httpx
import pytest

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import wav

ROUTE, DIARIZATION = "/v1/speakers", "/v1/audio/diarization"
ENCRYPTS = importlib.util.find_spec("cryptography") is not None
SECRET = "a secret of the operator" if ENCRYPTS else None
encrypted = pytest.mark.skipif(not ENCRYPTS, reason="cryptography is not installed")

Halves = dict[str, tuple[Samples, Samples]]


def remember(http: httpx.Client, name: str, *clips: Samples) -> httpx.Response:
    files = [("files", (f"{n}.wav", wav(clip))) for n, clip in enumerate(clips)]
    return http.post(ROUTE, data={"name": name}, files=files)


def clip(halves: Halves, name: str) -> Samples:
    return halves[name][0][: 8 * SAMPLE_RATE]


def speakers(http: httpx.Client, meeting: bytes, **fields: object) -> dict[str, float | None]:
    answer = http.post(DIARIZATION, files={"file": meeting}, data=fields)
    assert answer.status_code == 200, answer.text
    return {one["speaker"]: one.get("similarity") for one in answer.json()["segments"]}
