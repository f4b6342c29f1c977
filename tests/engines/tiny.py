"""The tiny trained models and the recordings they know (tests/fixtures)."""

from __future__ import annotations

import json
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reflector_gpu.engines.recognition import whisper
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.recognition.parakeet import models as parakeet
from reflector_gpu.types import Recognition, Samples, Word

FIXTURES = Path(__file__).parent.parent / "fixtures"
PARAKEET = FIXTURES / "parakeet-tiny"
WHISPER = FIXTURES / "whisper-tiny"
SEGMENTATION = FIXTURES / "segmentation-tiny"
PIPELINE = FIXTURES / "pipeline-tiny"


def models() -> list[RecogniserModel]:
    found = (parakeet.local("parakeet-tiny", PARAKEET), whisper.local("whisper-tiny", WHISPER))
    return [model for model in found if model is not None]


@dataclass(frozen=True)
class Clip:
    """A held-out recording of a few words and their true times."""

    path: Path
    language: str
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def samples(self) -> Samples:
        with wave.open(str(self.path)) as file:
            pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return (pcm / 32768).astype(np.float32)


def clips(language: str) -> list[Clip]:
    return [clip for clip in _all() if clip.language == language]


def _all() -> Iterator[Clip]:
    for name, entry in json.loads((FIXTURES / "speech" / "speech.json").read_text()).items():
        words = tuple(Word(w["word"], w["start"], w["end"]) for w in entry["words"])
        yield Clip(FIXTURES / "speech" / name, entry["language"], words)


def words_of(recognition: Recognition) -> list[Word]:
    return [word for segment in recognition.segments for word in segment.words]


def text_of(recognition: Recognition) -> str:
    return " ".join(segment.text for segment in recognition.segments)


def worst_times(recognition: Recognition, clip: Clip) -> tuple[float, float]:
    """The largest error of a start and of an end, in seconds; the words are right."""
    pairs = list(zip(words_of(recognition), clip.words, strict=True))
    starts = max(abs(heard.start - spoken.start) for heard, spoken in pairs)
    ends = max(abs(heard.end - spoken.end) for heard, spoken in pairs)
    return starts, ends
