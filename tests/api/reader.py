"""A recogniser that finds the same two sentences in any audio, in the language it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reflector_gpu.engines.recognition import scripted
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import Recognition, Samples, Segment, TranscribeOptions, Word

HEARD = {
    "en": ("Hello everyone.", "I have a question."),
    "fr": ("Bonjour à tous.", "J'ai une question."),
    "es": ("Hola a todos.", "Tengo una pregunta."),
}


class Reader:
    def load(self) -> None:
        """Nothing to load."""

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        """Without a language it detects none, and writes English."""
        return [
            Recognition(tuple(_segments(HEARD[options.language or "en"])), options.language)
            for _ in chunks
        ]

    def close(self) -> None:
        """Nothing to free."""


def _segments(sentences: Sequence[str]) -> Sequence[Segment]:
    words = [sentence.split() for sentence in sentences]
    starts = (0.0, 0.6)
    return [
        Segment.of(
            Word(text, start + 0.1 * place, start + 0.1 * (place + 1))
            for place, text in enumerate(texts)
        )
        for start, texts in zip(starts, words, strict=True)
    ]


READER = replace(
    scripted.MODELS[0],
    name="reader",
    engine="tests.api.reader:Reader",
    spec=replace(scripted.MODELS[0].spec, languages=frozenset(HEARD)),
)
