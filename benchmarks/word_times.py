"""Where words are said, by forced alignments, and how far off the times of a transcript are."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from benchmarks.systems import Word

_NOT_SPOKEN = re.compile(r"<.*>|\[.*\]|")
_VARIANT = re.compile(r"\(\d+\)$")  # how a word was pronounced, as in "leisure(2)"
_SHORT_TEXTGRID = re.compile(r'"((?:[^"]|"")*)"|(-?\d+(?:\.\d+)?)|<exists>')


@dataclass(frozen=True, slots=True)
class Errors:
    """Seconds between where words begin and end and where they were said to."""

    starts: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()
    spoken: int = 0
    """All words of the alignments, heard or not."""

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.starts + other.starts, self.ends + other.ends, self.spoken + other.spoken
        )


def alignment(path: Path) -> list[Word]:
    """The words of the forced alignment beside a recording, in order; empty if there is none."""
    for suffix, parse in ((".ctm", _ctm), (".TextGrid", _textgrid), (".json", _sense)):
        for named in (path.with_suffix(suffix), path.with_name(f"ami_{path.stem}{suffix}")):
            if named.exists():
                words = (w for w in parse(named.read_text(encoding="utf-8")) if _spoken(w))
                return sorted(words, key=lambda word: word.start)
    return []


def errors(spoken: Sequence[Word], heard: Sequence[Word]) -> Errors:
    """For the words that both have in the same order; others have no time to compare."""
    matcher = SequenceMatcher(
        None,
        [_bare(word.text) for word in spoken],
        [_bare(word.text) for word in heard],
        autojunk=False,
    )
    pairs = [
        (spoken[ours + n], heard[theirs + n])
        for ours, theirs, length in matcher.get_matching_blocks()
        for n in range(length)
    ]
    return Errors(
        tuple(abs(one.start - other.start) for one, other in pairs),
        tuple(abs(one.end - other.end) for one, other in pairs),
        len(spoken),
    )


def mean_and_p95(seconds: Sequence[float]) -> tuple[float, float]:
    if len(seconds) < 2:
        return (sum(seconds), sum(seconds))
    return statistics.mean(seconds), statistics.quantiles(seconds, n=20)[-1]


def _spoken(word: Word) -> bool:
    return not _NOT_SPOKEN.fullmatch(word.text)


def _bare(text: str) -> str:
    return text.casefold().strip(" .,;:!?\"'-\u2026\u201c\u201d")


def _ctm(text: str) -> Iterator[Word]:
    """Lines of recording, speaker, start, length, word."""
    for line in text.splitlines():
        _, _, start, length, word = line.split(maxsplit=4)
        yield Word(word, float(start), float(start) + float(length))


def _sense(text: str) -> Iterator[Word]:
    """SenseVoice's JSON: ``b`` start, ``d`` length, ``t`` word; one object or one a line."""
    for line in filter(None, text.splitlines()):
        for word in json.loads(line)["w"]:
            yield Word(_VARIANT.sub("", word["t"]), word["b"], word["b"] + word["d"])


def _textgrid(text: str) -> Iterator[Word]:
    """The tier "words" of Praat's short format: start, end, label of each interval."""
    tokens = iter(_tokens(text))
    for token in tokens:
        if token == "IntervalTier" and next(tokens) == "words":
            _, _, count = (float(next(tokens)) for _ in range(3))
            for _ in range(int(count)):
                start, end, label = next(tokens), next(tokens), next(tokens)
                yield Word(label, float(start), float(end))
            return


def _tokens(text: str) -> Iterable[str]:
    for found in _SHORT_TEXTGRID.finditer(text):
        label, number = found.groups()
        if label is not None or number is not None:
            yield label if number is None else number
