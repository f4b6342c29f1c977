"""The values that cross rooms: plain, frozen, free of any engine, container or HTTP.

Times are seconds as ``float``; audio is mono ``float32`` at `SAMPLE_RATE` in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from reflector_gpu.errors import InvalidRequest

SAMPLE_RATE = 16_000
"""Samples per second of every waveform inside the service."""

Samples: TypeAlias = npt.NDArray[np.float32]
"""A waveform, ``float32[n]``, mono, `SAMPLE_RATE`, in [-1, 1]."""

Task: TypeAlias = Literal["transcribe", "translate"]
"""``translate`` is speech in any language to English text, as in Whisper."""

WordSpaces: TypeAlias = Literal["leading", "none"]
"""How answers spell words: with the space before each, so that joined they are the text, or bare.
"""


Span: TypeAlias = tuple[float, float]
"""From when to when, in seconds."""


class Priority(IntEnum):
    """Who is waiting: a person (`LIVE`) or a long file (`FILE`). Lower runs first."""

    LIVE = 0
    FILE = 1


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A stretch of speech cut out of a recording: ``samples`` begin ``start`` seconds into it.

    ``voiced`` are the (start, end) in seconds of the chunk of where somebody speaks, in order.
    """

    samples: Samples
    start: float
    voiced: tuple[tuple[float, float], ...] = ()

    @property
    def duration(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def end(self) -> float:
        return self.start + self.duration


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long the chunks of a recording are, beyond what its engine can take.

    ``early_seconds`` are the lengths of the first ones, so that words appear early; they never
    decrease. A recording that says it is at most ``whole_seconds`` long has none. A chunk that is
    as long as it may be is cut behind ``earliest_cut`` of its length, a share.
    """

    early_seconds: tuple[float, ...] = ()
    whole_seconds: float = 0.0
    earliest_cut: float = 0.5


PLAIN = Schedule()
"""All chunks as long as the engine can take."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a recogniser writes in one step: its own number for it, and how likely it found it.

    ``data`` is the text as UTF-8: a piece of a word with the space before it, or no more than a
    part of a character. ``logprob`` is a natural logarithm, at most 0.
    """

    id: int
    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word, without spaces around it.

    ``glued`` ones follow the word before without a space (Chinese, Japanese). ``tokens`` are those
    that spell it, where the recogniser tells them.
    """

    text: str
    start: float
    end: float
    probability: float | None = None
    speaker: str | None = None
    glued: bool = False
    tokens: tuple[Token, ...] = ()

    @property
    def spaced(self) -> str:
        """The word with the space before it, if one belongs there: joined, these are the text."""
        return self.text if self.glued else f" {self.text}"


@dataclass(frozen=True, slots=True)
class SegmentScores:
    """What a recogniser thinks of its own segment; the names are those of openai/whisper.

    ``avg_logprob`` is the mean token log probability, ``compression_ratio`` that of the text
    under zlib (repetition shows as a high one), ``no_speech_prob`` in [0, 1].
    """

    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of words that belongs together: a sentence, or what was said between two pauses.

    Where another speaker begins, a segment is cut: each further part ``continues`` it.
    ``language`` is what is spoken in it, where that is known.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    speaker: str | None = None
    scores: SegmentScores | None = None
    translation: str | None = None
    continues: bool = False
    language: str | None = None

    @property
    def glued(self) -> bool:
        """Whether no space belongs before it."""
        return bool(self.words) and self.words[0].glued

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Those that spell its words."""
        return tuple(token for word in self.words for token in word.tokens)

    @classmethod
    def of(cls, words: Iterable[Word], scores: SegmentScores | None = None) -> Segment:
        """The segment that spans ``words`` (at least one).

        Its ``scores`` are what a recogniser thought of all that it wrote at once.
        """
        kept = tuple(words)
        return cls(kept[0].start, kept[-1].end, join_words(kept), kept, scores=scores)


@dataclass(frozen=True, slots=True)
class Recognition:
    """What an engine heard in one chunk; times are relative to the chunk's first sample.

    ``certainty`` is the probability of its ``language``, if the engine found that out itself.
    """

    segments: tuple[Segment, ...] = ()
    language: str | None = None
    certainty: float = 1.0


@dataclass(frozen=True, slots=True)
class Track:
    """One of the audio tracks of a file, which count from 0: what its container says of it."""

    number: int
    language: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Truncation:
    """A recording of which only so many seconds are there; None: nobody knows how many it had."""

    decoded: float
    expected: float | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """What was noticed of a recording while it was decoded.

    The stretches ``damaged`` could not be. Where nobody told which of several tracks to take,
    ``taken`` is the one, and ``left`` are the others.
    """

    damaged: tuple[Span, ...] = ()
    truncated: Truncation | None = None
    taken: Track | None = None
    left: tuple[Track, ...] = ()


SOUND = Condition()
"""There is nothing to say about the recording."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole recording in words. ``duration`` is that of the audio, in seconds.

    In the stretches ``unheard`` somebody speaks and no words were found.
    """

    segments: tuple[Segment, ...]
    language: str | None
    duration: float
    unheard: tuple[Span, ...] = ()
    condition: Condition = SOUND

    @property
    def text(self) -> str:
        return "".join(
            s.text if s.glued or not i else f" {s.text}" for i, s in enumerate(self.segments)
        )

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def translation(self) -> str | None:
        """The translations of its segments; None if nobody asked for any."""
        found = [s.translation for s in self.segments if s.translation is not None]
        return " ".join(found) if found else None


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """What a client asked of the recogniser. Hashable: equal options may share a batch.

    Without a ``language`` it is found out, among ``languages`` if there are any. ``voiced``: the
    voice detector is sure that somebody speaks, so that silence is to be doubted.
    """

    language: str | None = None
    task: Task = "transcribe"
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    temperature: float | None = None
    languages: tuple[str, ...] = ()
    voiced: bool = False


@dataclass(frozen=True, slots=True)
class SpeakerTurn:
    """Somebody speaks from ``start`` to ``end``. ``speaker`` counts from 0, as they first speak."""

    start: float
    end: float
    speaker: int


@dataclass(frozen=True, slots=True)
class TranslateOptions:
    """From which language to which, by a model's own codes. Hashable, as `TranscribeOptions`."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class DiarizeOptions:
    """What a client knows of how many people speak; where it says nothing, the engine finds out.

    ``exclusive``: of those who speak at once, the one who is heard best has the turn alone, where
    the engine can tell.

    Raises:
        InvalidRequest: a number is less than one, or they contradict each other.
    """

    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    exclusive: bool = False

    def __post_init__(self) -> None:
        for name in ("num_speakers", "min_speakers", "max_speakers"):
            value: int | None = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidRequest(f"'{name}' must be at least 1.", param=name)
        if self.most is not None and self.fewest > self.most:
            raise InvalidRequest(
                "'num_speakers', 'min_speakers' and 'max_speakers' contradict each other.",
                param="num_speakers" if self.num_speakers else "min_speakers",
            )

    @property
    def fewest(self) -> int:
        """At least so many speak."""
        return max(self.num_speakers or 1, self.min_speakers or 1)

    @property
    def most(self) -> int | None:
        """At most so many speak; None: nobody knows."""
        told = [n for n in (self.num_speakers, self.max_speakers) if n is not None]
        return min(told, default=None)


Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that a language model wants called; ``arguments`` are JSON, if it wrote them
    well."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """More of the call number ``index`` of an answer: the first piece has its id and its name."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation with a language model.

    The assistant's may hold ``tool_calls``; a tool's is the result of ``tool_call_id``.
    """

    role: Role
    content: str
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a language model is to go on from.

    The answer ends before the first of ``stop`` that it would hold, and after ``max_tokens`` at
    most; None: when the model has no more room.
    """

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How the next token is chosen. Hashable: equal options may share a batch.

    ``temperature`` 0 takes the likeliest; ``top_p`` chooses among the likeliest that together
    have so much of the probability. None: as the model's server has it. ``seed``: the same
    answer to the same request, where the engine can.
    """

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A language model's answer. ``length``: it was cut off, for want of tokens."""

    text: str
    finish: Literal["stop", "length", "tool_calls"]
    prompt_tokens: int
    completion_tokens: int
    tool_calls: tuple[ToolCall, ...] = ()


def join_words(words: Iterable[Word]) -> str:
    """The text that the words spell."""
    return "".join(word.spaced for word in words).strip()
