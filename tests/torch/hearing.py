"""Recognitions in a form that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from reflector_gpu.engines.recognition.base import Recogniser
from reflector_gpu.types import Recognition, Samples, TranscribeOptions
from tests.engines.tiny import words_of

Heard: TypeAlias = list[tuple[str, float, float, tuple[int, ...]]]
"""The words of a chunk: text, start, end, the numbers of the tokens."""


def hear(
    engine: Recogniser, batch: Sequence[Samples], *, hotwords: tuple[str, ...] = ()
) -> list[Heard]:
    results = engine.transcribe(batch, TranscribeOptions(language="en", hotwords=hotwords))
    assert len(results) == len(batch)
    return [heard(result) for result in results]


def heard(result: object) -> Heard:
    assert isinstance(result, Recognition), result
    return [
        (word.text, word.start, word.end, tuple(token.id for token in word.tokens))
        for word in words_of(result)
    ]
