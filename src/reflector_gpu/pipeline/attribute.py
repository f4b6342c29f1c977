"""Speakers onto words: each word goes to the turn that holds most of it.

Recogniser and diarizer disagree about where a word begins and ends, and so a word at the edge of
a turn may fall to the wrong side. A sentence is therefore not split for one stray word: it goes
with the words beside it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby

from reflector_gpu.types import Segment, SpeakerTurn, Word

PAUSE = 0.6
"""Seconds of silence that end a sentence which has no full stop."""

_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "।", "؟")
_CLOSING = "\"'”’»)]}"


def attribute(
    segments: Iterable[Segment],
    turns: Sequence[SpeakerTurn],
    names: Mapping[int, str] | None = None,
) -> Iterator[Segment]:
    """``segments`` cut where the speaker changes; each part and its words say whose they are.

    ``names`` are the speakers', by their numbers; who has none is called by the `label`.

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
            number = found.speaker(segment.start, segment.end)
            yield replace(segment, speaker=called.get(number) or label(number))
            continue
        words: list[Word] = []
        for sentence in _sentences(segment.words):
            speakers = [found.speaker(word.start, word.end) for word in sentence]
            for word, number in zip(sentence, _without_strays(speakers), strict=True):
                words.append(replace(word, speaker=called.get(number) or label(number)))
        for speaker, spoken in groupby(words, key=lambda word: word.speaker):
            yield replace(Segment.of(spoken, segment.scores), speaker=speaker)


def label(speaker: int) -> str:
    """``A`` for 0, ``B`` for 1, … ``Z``, ``AA``, ``AB``: as OpenAI names them, without end."""
    letters = ""
    number = speaker + 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


class _Turns:
    """Who speaks at a time, found without looking at every turn."""

    def __init__(self, turns: Sequence[SpeakerTurn]) -> None:
        self._turns = turns
        self._starts = [turn.start for turn in turns]
        # Whichever ended last so far: its end never decreases, and so tells where to look.
        self._latest = list(accumulate(turns, _later))

    def speaker(self, start: float, end: float) -> int:
        """Of the turn that holds most of the time, or is nearest to it; of equals the first."""
        first = bisect_left(self._latest, start, key=lambda turn: turn.end)
        last = max(first, bisect_left(self._starts, end))
        near = [*self._latest[max(0, first - 1) : first], *self._turns[first : last + 1]]
        best = max(near, key=lambda turn: min(turn.end, end) - max(turn.start, start))
        return best.speaker


def _later(one: SpeakerTurn, other: SpeakerTurn) -> SpeakerTurn:
    return other if other.end > one.end else one


def _sentences(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """``words`` up to a full stop or a pause."""
    begin = 0
    for i, word in enumerate(words, 1):
        stops = word.text.rstrip(_CLOSING).endswith(_SENTENCE_ENDS)
        if i == len(words) or stops or words[i].start - word.end >= PAUSE:
            yield words[begin:i]
            begin = i


def _without_strays(speakers: Sequence[int]) -> Iterator[int]:
    """The speakers of a sentence's words; one word alone goes with those before it, or after."""
    runs = [(speaker, len(list(run))) for speaker, run in groupby(speakers)]
    for i, (speaker, count) in enumerate(runs):
        beside = [*runs[max(0, i - 1) : i], *runs[i + 1 : i + 2]]
        firm = [other for other, length in beside if length > 1]
        yield from [firm[0] if count == 1 and firm else speaker] * count
