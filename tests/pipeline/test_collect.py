"""Parts as one transcript."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from reflector_gpu.pipeline.transcription import Part, collect
from reflector_gpu.types import Segment, Transcript


def part(text: str, language: str | None) -> Part:
    return Part((Segment(0, 1, text),) if text else (), 1.0, language)


def collected(*parts: Part) -> Transcript:
    async def one_by_one() -> AsyncGenerator[Part, None]:
        for each in parts:
            yield each

    return asyncio.run(collect(one_by_one()))


LAST = Part((), 4.0, duration=4.0)


def test_segments_and_duration_of_all_parts() -> None:
    transcript = collected(part("Hello", "en"), part("", None), part("there", "en"), LAST)
    assert [segment.text for segment in transcript.segments] == ["Hello", "there"]
    assert (transcript.text, transcript.duration) == ("Hello there", 4.0)


@pytest.mark.parametrize(
    ("parts", "language"),
    [
        ([], None),
        ([part("", None)], None),
        ([part("", "de")], "de"),
        ([part("", "de"), part("Hello", "en"), part("Bonjour à tous", "fr")], "fr"),
        ([part("Hi", "en"), part("Hello you", None)], "en"),
    ],
)
def test_the_language_of_the_whole_is_that_of_most_of_it(
    parts: list[Part], language: str | None
) -> None:
    assert collected(*parts, LAST).language == language
