"""Pieces of the sample meeting, with the words that are spoken in them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # see tests/conftest.py
    from reflector_gpu.types import Samples

MARGIN = 0.2  # seconds of the recording kept around a turn


@dataclass(frozen=True)
class Spoken:
    """A turn of the meeting: its audio, and each word with its start and end in it."""

    samples: Samples
    words: tuple[tuple[str, float, float], ...]


@pytest.fixture(scope="session")
def turns(standup: Path, speech: Samples) -> list[Spoken]:
    """The meeting, turn by turn."""
    from reflector_gpu.types import SAMPLE_RATE

    known = json.loads(standup.with_suffix(".json").read_text(encoding="utf-8"))
    found = []
    for turn in known["turns"]:
        start, end = turn["start"] - MARGIN, turn["end"] + MARGIN
        words = tuple(
            (word["word"], word["start"] - start, word["end"] - start)
            for word in known["words"]
            if start <= word["start"] and word["end"] <= end
        )
        found.append(Spoken(speech[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)], words))
    return found


def spell(text: str) -> list[str]:
    """The words of ``text`` as the reference writes them."""
    return re.findall(r"[a-z']+", text.lower())
