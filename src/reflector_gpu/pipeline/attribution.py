"""Speakers onto words: each word goes to the turn that holds most of it.

Recogniser and diarizer disagree about where a word begins and ends, and so a word at the edge of a
turn may fall to the wrong side. A sentence is therefore not split for one stray word: it goes with
the words beside it, unless its turn holds all of it and there is silence around it, as with a "yes"
that somebody throws in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from statistics import fmean

from reflector_gpu.sentences import sentences
from reflector_gpu.types import Segment, SpeakerTurn, Word

BREATH = 0.3
"""Seconds of silence on both sides of a word that stands apart, the ends of a sentence aside."""


def attribute(
    segments: Iterable[Segment],
    turns: Sequence[SpeakerTurn],
    names: Mapping[int, str] | None = None,
) -> Iterator[Segment]:
    """``segments`` cut where the speaker changes; each part and its words name their speaker.

    ``names`` are the speakers' names, by number; a speaker without one gets its `label`. Parts keep
    the scores of their segment, which a recogniser gave to the whole.

    ``turns`` are sorted by start and may overlap. With no turns at all nothing is changed; a
    word outside all of them goes to the nearest. The words themselves, their order and their
    times stay as they are.
    """
    if not turns:
        yield from segments
        return
    found, called = _Turns(turns), names or {}
    for segment in segments:
        if not segment.words:
            turn = found.turn(segment.start, segment.end)
            speaker = called.get(turn.speaker) or label(turn.speaker)
            yield replace(segment, speaker=speaker, speaker_confidence=turn.confidence)
            continue
        told: list[tuple[Word, float | None]] = []
        for sentence in sentences(segment.words):
            theirs = [found.turn(word.start, word.end) for word in sentence]
            numbers = _without_strays(sentence, theirs)
            for word, turn, number in zip(sentence, theirs, numbers, strict=True):
                named = replace(word, speaker=called.get(number) or label(number))
                told.append((named, turn.confidence if turn.speaker == number else None))
        runs = groupby(told, key=lambda pair: pair[0].speaker)
        for cuts, (name, run) in enumerate(runs):
            words, sure = zip(*run, strict=True)
            yield replace(
                Segment.of(words, segment.scores),
                speaker=name,
                continues=cuts > 0,
                language=segment.language,
                speaker_confidence=_mean([one for one in sure if one is not None]),
            )


def label(speaker: int) -> str:
    """``A`` for 0, ``B`` for 1, … ``Z``, ``AA``, ``AB``: as OpenAI names them, without end."""
    letters = ""
    number = speaker + 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 3) if values else None


class _Turns:
    """Who speaks at a time, found without looking at every turn."""

    def __init__(self, turns: Sequence[SpeakerTurn]) -> None:
        self._turns = turns
        self._starts = [turn.start for turn in turns]
        # The turn that ended last so far: these ends never decrease, so they can be searched.
        self._latest = list(accumulate(turns, _later))

    def turn(self, start: float, end: float) -> SpeakerTurn:
        """The one that holds most of the time, or is nearest to it; of equals the first."""
        first = bisect_left(self._latest, start, key=lambda turn: turn.end)
        last = max(first, bisect_left(self._starts, end))
        near = [*self._latest[max(0, first - 1) : first], *self._turns[first : last + 1]]
        return max(near, key=lambda turn: min(turn.end, end) - max(turn.start, start))


def _later(one: SpeakerTurn, other: SpeakerTurn) -> SpeakerTurn:
    return other if other.end > one.end else one


def _without_strays(words: Sequence[Word], turns: Sequence[SpeakerTurn]) -> Iterator[int]:
    """The speakers of a sentence's words; one word alone goes with those before it, or after."""
    runs = [(speaker, len(list(run))) for speaker, run in groupby(turn.speaker for turn in turns)]
    at = 0
    for i, (speaker, count) in enumerate(runs):
        beside = [*runs[max(0, i - 1) : i], *runs[i + 1 : i + 2]]
        firm = [other for other, length in beside if length > 1]
        stray = count == 1 and firm and not _apart(words, at, turns[at])
        yield from [firm[0] if stray else speaker] * count
        at += count


def _apart(words: Sequence[Word], index: int, turn: SpeakerTurn) -> bool:
    """Whether the word has silence around it, as far as its sentence goes, and all of it is in
    its turn."""
    word = words[index]
    before = word.start - words[index - 1].end if index else BREATH
    after = words[index + 1].start - word.end if index + 1 < len(words) else BREATH
    held = turn.start <= word.start and word.end <= turn.end
    return held and min(before, after) >= BREATH
