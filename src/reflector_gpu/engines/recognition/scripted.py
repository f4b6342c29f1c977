"""A stand-in for a recogniser, whose words are a hash of the audio.

It is for tests, and for people who write clients: equal audio gives equal words on every machine,
and any change of the audio shows. It takes hardly any time, so it also serves to measure the
service itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from reflector_gpu.engines.outcomes import each
from reflector_gpu.engines.recognition.base import RecogniserModel, RecogniserSpec, checked
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import (
    SAMPLE_RATE,
    Recognition,
    Samples,
    Segment,
    Token,
    TranscribeOptions,
    Word,
)

LANGUAGES = frozenset({"en", "fr", "de", "es"})

SPEC = RecogniserSpec(
    languages=LANGUAGES,
    max_chunk_seconds=30.0,
    max_gap_seconds=2.0,
    max_batch=16,
    translates=True,
    logprobs=True,
)

MODELS = (
    RecogniserModel(
        "scripted",
        "reflector_gpu.engines.recognition.scripted:ScriptedRecogniser",
        SPEC,
        "No recogniser: deterministic words for tests and client development",
        "MIT",
    ),
)

WORD_SECONDS = 0.4
"""The length of a word's slot. The word takes the first three quarters of it."""

VOCABULARY = (
    "amber birch cedar delta ember fjord grove heron iris jade kelp lotus maple north olive pearl "
    "quartz river sable thyme umber violet willow xenon yarrow zephyr alpine breeze coral dune"
).split()


class ScriptedRecogniser:
    def load(self) -> None:
        """Nothing to load."""

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        return each(lambda samples: _recognition(samples, options.language or "en"), chunks)

    def close(self) -> None:
        """Nothing to free."""


def _recognition(samples: Samples, language: str) -> Recognition:
    pcm = np.round(checked(samples) * 32767).astype(np.int16)
    digest = hashlib.sha256(pcm.tobytes()).digest()
    count = int(len(samples) / SAMPLE_RATE / WORD_SECONDS)
    words = [_word(i, (digest[i % len(digest)] + i) % len(VOCABULARY)) for i in range(count)]
    return Recognition((Segment.of(words),) if words else (), language)


def _word(slot: int, entry: int) -> Word:
    text = VOCABULARY[entry]
    return Word(
        text,
        slot * WORD_SECONDS,
        (slot + 0.75) * WORD_SECONDS,
        probability=1.0,
        tokens=(Token(entry, f" {text}".encode(), 0.0),),
    )
