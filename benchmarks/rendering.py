"""Whether a word of a day's transcript takes as long to write as one of an hour's."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Figure
from benchmarks.timing import times_as_fast
from reflector_gpu.formats import reflector
from reflector_gpu.formats.subtitles import srt
from reflector_gpu.types import Segment, Transcript, Word

HOURS = 24
WORDS = 3_000  # of an hour
TARGET = 0.5  # Python's garbage collector has more to look through; a square would give 0.04

Write = Callable[[Transcript], object]


def run() -> list[Figure]:
    return [_figure("JSON", _as_json), _figure("subtitles", srt)]


def _figure(form: str, write: Write) -> Figure:
    hour, day = _talk(WORDS), _talk(WORDS * HOURS)

    def by_the_hour() -> None:
        for _ in range(HOURS):
            write(hour)

    ratio, spread = times_as_fast(lambda: write(day), by_the_hour)
    detail = f"{HOURS * WORDS:,} words, {spread}"
    return Figure(
        f"a day at once / hour by hour, {form}", ratio, f">= {TARGET:g}", ratio >= TARGET, detail
    )


def _as_json(source: Transcript) -> str:
    return reflector.file(source, "day.wav").model_dump_json(exclude_none=True)


def _talk(count: int) -> Transcript:
    """Somebody who says ``count`` words without a pause, twelve to the sentence."""
    words = [
        Word("word." if n % 12 == 11 else "word", n * 0.6, n * 0.6 + 0.5) for n in range(count)
    ]
    return Transcript((Segment.of(words),), "en", count * 0.6)
