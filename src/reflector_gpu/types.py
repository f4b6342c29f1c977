"""The values that all parts of the package share: plain, frozen, independent of any library.

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
"""``leading``: words have the space before them, so that the joined words are the text."""

Span: TypeAlias = tuple[float, float]
"""Start and end, in seconds."""


class Priority(IntEnum):
    """Whether a person waits (`LIVE`), or the work is a long file (`FILE`). Lower runs first."""

    LIVE = 0
    FILE = 1


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A stretch of speech in a recording, whose ``samples`` begin at ``start`` seconds.

    ``voiced`` has the (start, end) of where somebody speaks, in order and in seconds of the chunk.
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
    """Lengths of a recording's chunks, within what its engine takes.

    ``early_seconds`` are the lengths of the first chunks, so that words appear early. They never
    decrease. A recording whose header says at most ``whole_seconds`` has none. A chunk of full
    length is not cut before ``earliest_cut``, which is a share of its length. While a recording
    arrives about as slowly as it is spoken, chunks may be as short as ``patience`` seconds.
    """

    early_seconds: tuple[float, ...] = ()
    whole_seconds: float = 0.0
    earliest_cut: float = 0.5
    patience: float = float("inf")


PLAIN = Schedule()
"""All chunks as long as the engine can take."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a recogniser writes in one step.

    ``id`` is its own number for the token. ``data`` is the text as UTF-8: a piece of a word with
    the space before it, or even a part of a character. ``logprob`` is the natural logarithm of its
    probability.
    """

    id: int
    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word, without spaces around it.

    A ``glued`` word follows the one before without a space (Chinese, Japanese). ``tokens`` spell
    it, if the recogniser has any.
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
        """The word with the space before it, if there is one. Joined, these are the text."""
        return self.text if self.glued else f" {self.text}"


@dataclass(frozen=True, slots=True)
class SegmentScores:
    """What a recogniser thinks of its own segment, as in openai/whisper.

    ``avg_logprob`` is the mean of its tokens. ``compression_ratio`` is that of the text under zlib,
    and high for a repetitive text. ``no_speech_prob`` is in [0, 1].
    """

    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of words that belong together: a sentence, or the words between two pauses.

    A segment is cut where another speaker begins, and each further part ``continues`` it.
    ``language`` is the spoken one, if it is known. ``speaker_confidence`` is that of its
    `SpeakerTurn`. ``speaker_similarity`` says how alike the voice is to the remembered one.
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
    speaker_confidence: float | None = None
    speaker_similarity: float | None = None

    @property
    def glued(self) -> bool:
        """Whether no space belongs before it."""
        return bool(self.words) and self.words[0].glued

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens of its words."""
        return tuple(token for word in self.words for token in word.tokens)

    @classmethod
    def of(cls, words: Iterable[Word], scores: SegmentScores | None = None) -> Segment:
        """The segment of ``words``, of which there is at least one."""
        kept = tuple(words)
        return cls(kept[0].start, kept[-1].end, join_words(kept), kept, scores=scores)


@dataclass(frozen=True, slots=True)
class Recognition:
    """What an engine recognised in one chunk. Times are relative to the chunk's first sample.

    ``certainty`` is the probability of ``language``, if the engine has detected that.
    """

    segments: tuple[Segment, ...] = ()
    language: str | None = None
    certainty: float = 1.0


@dataclass(frozen=True, slots=True)
class Track:
    """An audio track of a file, as its container describes it. Numbers begin with 0."""

    number: int
    language: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Truncation:
    """A recording whose end is missing: the seconds that are there, and those it had, if known."""

    decoded: float
    expected: float | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """What was found while a recording was decoded.

    The stretches ``damaged`` could not be decoded. If a file has several tracks and the request
    names none, ``taken`` was decoded, and ``left`` are the others.
    """

    damaged: tuple[Span, ...] = ()
    truncated: Truncation | None = None
    taken: Track | None = None
    left: tuple[Track, ...] = ()


SOUND = Condition()
"""There is nothing to say about the recording."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What is said in ``duration`` seconds. Speech in the stretches ``unheard`` gave no words."""

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
    """Options of recognition. They are hashable: chunks with equal ones may share a batch.

    Without a ``language``, it is detected among ``languages``, or among all that the model knows.
    ``voiced`` means that the voice detector is sure that somebody speaks, so that a result without
    words is doubtful. ``live`` means that somebody waits for each word, and that the audio will be
    heard again: an engine may save time at a small cost in accuracy.
    """

    language: str | None = None
    task: Task = "transcribe"
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    temperature: float | None = None
    languages: tuple[str, ...] = ()
    voiced: bool = False
    live: bool = False


@dataclass(frozen=True, slots=True)
class SpeakerTurn:
    """Somebody speaks from ``start`` to ``end``. ``speaker`` counts from 0, as they first speak.

    ``confidence`` is the probability that it is this speaker and none of the others, if known.
    """

    start: float
    end: float
    speaker: int
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class TranslateOptions:
    """Two languages, by a model's own codes. Hashable, as `TranscribeOptions`."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class DiarizeOptions:
    """How many people speak, as far as a client knows it; the engine finds out the rest.

    With ``exclusive``, turns do not overlap, if the engine can tell: of people who speak at once,
    the one who is heard best has the turn.

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
        """The least number of people."""
        return max(self.num_speakers or 1, self.min_speakers or 1)

    @property
    def most(self) -> int | None:
        """The largest number of people, if it is known."""
        told = [n for n in (self.num_speakers, self.max_speakers) if n is not None]
        return min(told, default=None)


Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that a language model asks to call. ``arguments`` should be JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A piece of the tool call ``index`` of an answer. The first has its id and its name."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation with a language model.

    The assistant's may have ``tool_calls``. A tool's is the result of the call ``tool_call_id``.
    """

    role: Role
    content: str
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a language model is to continue.

    The answer ends before the first text of ``stop``, and after ``max_tokens`` at most. If that is
    None, it ends when the model has no more room.
    """

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How the next token is chosen. They are hashable: prompts with equal ones may share a batch.

    ``temperature`` 0 takes the likeliest token. ``top_p`` chooses among the likeliest that have so
    much probability together. None leaves these to the model's server. With an equal ``seed``,
    equal requests get equal answers, if the engine can.
    """

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A language model's answer. It has the finish ``length`` if it was cut off."""

    text: str
    finish: Literal["stop", "length", "tool_calls"]
    prompt_tokens: int
    completion_tokens: int
    tool_calls: tuple[ToolCall, ...] = ()


def join_words(words: Iterable[Word]) -> str:
    """The text that the words spell."""
    return "".join(word.spaced for word in words).strip()
