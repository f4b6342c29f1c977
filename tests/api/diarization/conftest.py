"""A server that remembers voices, and what people say in the sample meeting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import SAMPLES
from tests.live import KEY, LiveServer

if TYPE_CHECKING:  # see tests/conftest.py
    import httpx

    from reflector_gpu.types import Samples


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speakers")


@pytest.fixture(scope="module")
def remembering(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    from tests.api.diarization.voices import SECRET

    with LiveServer(
        model="scripted",
        apikey=f"{KEY},other",
        speaker_store=store,
        speaker_store_key=SECRET,
        data_dir=tmp_path_factory.mktemp("data"),
    ) as server:
        yield server


@pytest.fixture
def http(remembering: LiveServer) -> Iterator[httpx.Client]:
    """A client of a server that remembers nobody yet."""
    from tests.api.diarization.voices import ROUTE

    with remembering.client() as client:
        for one in client.get(ROUTE).json()["data"]:
            client.delete(f"{ROUTE}/{one['name']}")
        yield client


@pytest.fixture(scope="module")
def halves() -> dict[str, tuple[Samples, Samples]]:
    """What each person of the sample meeting says, in two halves that share nothing."""
    import json
    import wave

    import numpy as np

    from reflector_gpu import pcm
    from reflector_gpu.types import SAMPLE_RATE

    with wave.open(str(SAMPLES / "standup.wav")) as file:
        sound = pcm.decoded(file.readframes(file.getnframes()))
    turns = json.loads((SAMPLES / "standup.json").read_text())["turns"]
    found = {}
    for name in ("Anna", "David", "Henry"):
        own = [
            sound[round(turn["start"] * SAMPLE_RATE) : round(turn["end"] * SAMPLE_RATE)]
            for turn in turns
            if turn["speaker"] == name
        ]
        middle = len(own) // 2
        found[name] = np.concatenate(own[:middle]), np.concatenate(own[middle:])
    return found


@pytest.fixture(scope="module")
def second_halves(halves: dict[str, tuple[Samples, Samples]]) -> bytes:
    """The second halves, one after the other."""
    from reflector_gpu.types import SAMPLE_RATE
    from tests.api.support import silence, wav

    gap, seconds = silence(1), 8 * SAMPLE_RATE
    return wav(*(part for _, half in halves.values() for part in (half[:seconds], gap)))
