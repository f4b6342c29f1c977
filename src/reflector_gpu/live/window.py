"""The audio that is still heard again and again, and what was heard in it.

A window begins where everything before it is settled, and ends with the newest sample. It is cut
where somebody pauses, so that it never becomes longer than a recogniser can take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from reflector_gpu.live.agreement import agreed, ascending, beyond, complete, sure, voiced
from reflector_gpu.live.speech import Speech
from reflector_gpu.sentences import CLAUSE_ENDS, ends_sentence
from reflector_gpu.types import SAMPLE_RATE, Chunk, Samples, Span, Word

SETTLING_PAUSE = 0.4
"""Seconds of silence behind a word after which one pass suffices: no more audio could change it."""

PATIENCE = 4.0
"""A word so many seconds before the end of a pass is settled, even if passes do not agree on it:
there is as much audio behind it as there will ever be."""

_FOLLOWED = 0.3
"""Seconds of audio behind a word of which the recogniser is sure. It has heard the end of the word,
even if its times are a little wrong."""

_EDGE = 1.5  # seconds before the end of a pass in which words may be cut, if more audio is there
_PHRASE_PAUSE = 2.0  # seconds of silence at which a window is always cut
_KEPT = 0.5  # seconds of silence that are kept before speech
_GAP = 0.2  # seconds between two words, which make a place to cut


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long windows are, in seconds.

    A window that is longer than ``usual`` is cut at the end of a sentence, one that is longer than
    ``long`` between any two words. No pass hears more than ``longest``.
    """

    usual: float = 13.0
    long: float = 17.0
    longest: float = 20.0

    @classmethod
    def within(cls, seconds: float) -> Lengths:
        """The usual lengths, or shorter ones for an engine that takes ``seconds`` at once."""
        usual = cls()
        scale = min(1.0, seconds / usual.longest)
        return cls(usual.usual * scale, usual.long * scale, usual.longest * scale)


@dataclass(frozen=True, slots=True)
class Context:
    """The end of an utterance, heard again with the next one: a few words alone are hard to
    understand. Times are in seconds before the next one begins, and so below zero."""

    samples: Samples
    words: tuple[Word, ...]
    speech: tuple[Span, ...]


class Window:
    """Takes samples and what passes hear in them, and decides which words are settled.

    Positions are in samples from the beginning of the utterance, times in seconds from there.
    """

    def __init__(
        self,
        speech: Speech,
        lengths: Lengths,
        patience: float = PATIENCE,
        context: Context | None = None,
        sure: float | None = None,
    ) -> None:
        """Words that passes do not agree on are settled once ``patience`` seconds follow them.

        The window begins with ``context``, at positions below zero. One pass settles words that are
        more probable than ``sure``.
        """
        self._speech = speech
        self._patience = patience
        self._sure = sure
        self._lengths = lengths
        self._most = round(lengths.longest * SAMPLE_RATE)  # samples of a pass
        self._audio: list[Samples] = []
        self._begin = 0
        self._end = 0
        self._heard_to = 0  # up to where a pass has heard
        self._settled: list[Word] = []  # those in the window
        self._told_to = 0.0  # the end of the last settled word
        self.tentative: tuple[Word, ...] = ()
        """What the last pass heard beyond the settled words."""
        if context:
            self._audio.append(context.samples)
            self._begin = -len(context.samples)
            self._settled += context.words
            self._speech.follow(context.speech)

    def push(self, samples: Samples, probabilities: Samples | None = None) -> None:
        """Take the next samples, and what the detector found in them if somebody has listened."""
        self._audio.append(samples)
        self._end += len(samples)
        self._speech.listen(samples, probabilities)
        silence = self._silence(self._end)
        if not self.open and silence >= _PHRASE_PAUSE:
            self._cut(self._end - round(_KEPT * SAMPLE_RATE))

    @property
    def seconds(self) -> float:
        """The length of the window, and of what waits behind it."""
        return (self._end - self._begin) / SAMPLE_RATE

    @property
    def fresh(self) -> float:
        """Seconds of audio in which somebody may speak, and which no pass has heard."""
        begin = self._speech.after(self._heard_to)
        return 0.0 if begin is None else (self._end - begin) / SAMPLE_RATE

    @property
    def pausing(self) -> bool:
        """Whether a pass would settle words now, because a pause has begun behind them."""
        end = self._speech.end
        if end is None or self._silence(self._end) < SETTLING_PAUSE:
            return False
        return self._heard_to < end + round(SETTLING_PAUSE * SAMPLE_RATE) and (
            bool(self.tentative) or self._heard_to < end
        )

    @property
    def open(self) -> bool:
        """Whether a last pass could settle anything: words are tentative, or speech is unheard."""
        return bool(self.tentative) or (self._speech.end or 0) > self._heard_to

    @property
    def behind(self) -> bool:
        """Whether more audio waits than a pass may have."""
        return self._end - self._begin > self._most

    def context(self, seconds: float) -> Context | None:
        """The last ``seconds`` of speech for the next utterance, from the beginning of a word on;
        None if they have no word."""
        spoken_to = self._speech.end or self._end
        earliest = spoken_to / SAMPLE_RATE - seconds
        count = sum(word.start >= earliest for word in self._settled)
        if not count:
            return None
        words = self._settled[-count:]
        before = self._settled[-count - 1].end if count < len(self._settled) else -inf
        begin = max(self._begin, round(max(before, words[0].start - _GAP) * SAMPLE_RATE))
        spoken = self._speech.spans(begin, self._end)
        end = min(self._end, max(spoken_to, begin) + round(_KEPT * SAMPLE_RATE))
        samples = np.concatenate(self._audio)[begin - self._begin : end - self._begin]
        offset = (begin - end) / SAMPLE_RATE
        return Context(
            samples.copy(),
            tuple(moved(words, -end / SAMPLE_RATE)),
            tuple((a + offset, b + offset) for a, b in spoken),
        )

    def passed(self, chunk: Chunk) -> None:
        """A pass has heard ``chunk``, but what it heard is of no use."""
        self._heard_to = max(self._heard_to, round(chunk.end * SAMPLE_RATE))

    def chunk(self) -> Chunk:
        """What to hear next: the window, or as much of it as a pass may have."""
        self._audio = [np.concatenate(self._audio)] if self._audio else [np.zeros(0, np.float32)]
        begin, end = self._begin, self._end
        if self.behind:
            earliest, latest = begin + self._most * 2 // 3, begin + self._most
            end = self._speech.pause(earliest, latest) or latest
        return Chunk(
            self._audio[0][: end - begin], begin / SAMPLE_RATE, self._speech.spans(begin, end)
        )

    def take(self, heard: Sequence[Word], chunk: Chunk, *, last: bool) -> tuple[Word, ...]:
        """The words that are settled by what a pass ``heard`` in ``chunk``.

        Times of ``heard`` are those of the utterance. The ``last`` pass settles everything in it.
        """
        end = round(chunk.end * SAMPLE_RATE)
        behind = end < self._end
        speech = [(a + chunk.start, b + chunk.start) for a, b in chunk.voiced]
        words = voiced(heard[beyond(self._settled, heard) :], speech)
        words = ascending(words, self._told_to, chunk.end)
        until = self._complete_until(end, behind)
        count = max(agreed(self.tentative, words), complete(words, until))
        if self._sure is not None:
            count += sure(words[count:], chunk.end - _FOLLOWED, self._sure)
        if last and not behind:
            count = len(words)
        told, self.tentative = tuple(words[:count]), tuple(words[count:])
        self._settled += told
        if told:
            self._told_to = told[-1].end
        self._heard_to = max(self._heard_to, end)
        self._shorten(end, behind)
        return told

    def _complete_until(self, end: int, behind: bool) -> float:
        """Up to where one pass suffices, which heard the audio up to ``end``."""
        if self._silence(end) >= SETTLING_PAUSE:
            return inf
        return end / SAMPLE_RATE - (_EDGE if behind else self._patience)

    def _silence(self, end: int) -> float:
        """Seconds of silence before ``end``."""
        spans = self._speech.spans(self._begin, end)
        return (end - self._begin) / SAMPLE_RATE - (spans[-1][1] if spans else 0.0)

    def _shorten(self, end: int, behind: bool) -> None:
        """Cut the window after a pass that heard the audio up to ``end``, if it is time."""
        silence = self._silence(end)
        if not self.tentative and silence >= (_GAP if behind else _PHRASE_PAUSE):
            self._cut(end - round(min(silence / 2, _KEPT) * SAMPLE_RATE))
            return
        length, before = (end - self._begin) / SAMPLE_RATE, self._begin
        if length > self._lengths.usual or behind:
            self._cut_between_words(anywhere=length > self._lengths.long or behind)
        # What is left has no words, or they would be settled by now.
        most = self._lengths.long if not behind else PATIENCE
        wordless = not self._settled or self._begin == before
        if (end - self._begin) / SAMPLE_RATE > most and wordless:
            first = self.tentative[0].start if self.tentative else inf
            self._cut(round(min(first, end / SAMPLE_RATE - _EDGE) * SAMPLE_RATE))

    def _cut_between_words(self, *, anywhere: bool) -> None:
        """Cut behind the last settled sentence, or else behind the last pause between words."""
        words = [*self._settled, *self.tentative[:1]]
        places = range(len(self._settled) - (not self.tentative), 0, -1)
        ends = [n for n in places if ends_sentence(words[n - 1].text, words[n].text)]
        if not ends and anywhere:
            ends = [n for n in places if words[n].start - words[n - 1].end >= _GAP] or [
                n for n in places if words[n - 1].text[-1:] in CLAUSE_ENDS
            ]
        if ends:
            before, after = words[ends[0] - 1], words[ends[0]]
            middle = (before.end + after.start) / 2
            self._cut(round(middle * SAMPLE_RATE), ends[0])
        elif anywhere and self._settled:
            # Speech goes on: the last word is heard again, so that it is not heard in halves.
            kept = self._settled[-1]
            self._cut(round(kept.start * SAMPLE_RATE), len(self._settled) - 1)

    def _cut(self, position: int, count: int | None = None) -> None:
        """Let the window begin at ``position``, behind the first ``count`` of its settled words."""
        position = min(max(position, self._begin), self._end)
        gone = len(self._settled) if count is None else count
        self._settled = self._settled[gone:]
        if position == self._begin:
            return
        whole = np.concatenate(self._audio)
        self._audio = [whole[position - self._begin :].copy()]
        self._begin = position
        self._speech.forget(position)


def moved(words: Sequence[Word], offset: float) -> list[Word]:
    """``words`` of a chunk that begins ``offset`` seconds after the utterance."""
    return [replace(word, start=word.start + offset, end=word.end + offset) for word in words]
