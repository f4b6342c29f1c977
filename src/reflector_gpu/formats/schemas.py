"""The JSON bodies that clients get: what /docs shows and what openai-python parses.

A field that is None was not asked for and stays out of the answer: dump with
``model_dump_json(exclude_none=True)``.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from reflector_gpu.types import Task

Start: TypeAlias = Annotated[
    float, Field(description="Where it begins, in seconds, two decimals.", examples=[0.42])
]
End: TypeAlias = Annotated[
    float, Field(description="Where it ends, in seconds, two decimals.", examples=[0.81])
]
Text: TypeAlias = Annotated[
    str, Field(description="Everything that was said.", examples=["Hello world."])
]
SegmentText: TypeAlias = Annotated[
    str, Field(description="What was said in it.", examples=["Hello world."])
]
Translated: TypeAlias = Annotated[
    str | None, Field(description="The same in the language of `translate_to`, if that is set.")
]
Duration: TypeAlias = Annotated[
    float, Field(description="Seconds of audio received, two decimals.", examples=[12.37])
]
Probability: TypeAlias = Annotated[
    float | None,
    Field(
        description="How sure the recogniser is of the word, from 0 to 1, four decimals; absent "
        "where it does not say.",
        examples=[0.9712],
    ),
]
Speaker: TypeAlias = Annotated[
    str,
    Field(description="`A`, `B`, … in order of first appearance, or a known name.", examples=["A"]),
]
Confidence: TypeAlias = Annotated[
    float | None,
    Field(
        description="How probable it is that it is this speaker and none of the others, from 0 to "
        "1; absent where the diarizer does not say.",
        examples=[0.97],
    ),
]

Similarity: TypeAlias = Annotated[
    float | None,
    Field(
        description="For a speaker whom the server remembers: how alike the voices are. 1 is the "
        "same voice.",
        examples=[0.83],
    ),
]

Spelt: TypeAlias = Annotated[
    str,
    Field(
        description="The word with its punctuation and the space before it, if any: joined, the "
        "words are the text. In stream events, and with `REFLECTOR_WORD_SPACES=none`, it is bare.",
        examples=[" Hello"],
    ),
]


class Body(BaseModel):
    model_config = ConfigDict(frozen=True)


class TruncatedFile(Body):
    """How much of a file is there; seconds, two decimals."""

    expected: float | None = Field(
        default=None,
        description="What the file claims to hold. Absent where it does not say.",
        examples=[61.2],
    )
    decoded: float = Field(description="What could be decoded.", examples=[30.1])


class AudioTrack(Body):
    """An audio track, as the file describes it; `track` in a request picks it by its number."""

    number: int = Field(examples=[1])
    language: str | None = Field(default=None, examples=["deu"])
    title: str | None = Field(default=None, examples=["Commentary"])


class TracksOfFile(Body):
    """Which track was heard of a file with several."""

    taken: AudioTrack
    left: tuple[AudioTrack, ...]


class Warnings(Body):
    """Where the transcript may lack something. Times are seconds, two decimals."""

    unheard: tuple[tuple[float, float], ...] | None = Field(
        default=None,
        description="Start and end of stretches in which somebody speaks and no words were found, "
        "or on which the model failed. A single word of a sixth of a second counts.",
        examples=[[[12.4, 14.1]]],
    )
    damaged: tuple[tuple[float, float], ...] | None = Field(
        default=None,
        description="Start and end of stretches that could not be decoded: the file is damaged.",
        examples=[[[30.1, 38.3]]],
    )
    truncated: TruncatedFile | None = Field(
        default=None, description="The file is cut off. Absent if it is not."
    )
    tracks: TracksOfFile | None = Field(
        default=None,
        description="The file has several audio tracks, and the request names none.",
    )


Warned: TypeAlias = Annotated[
    Warnings | None, Field(description="Absent if there is nothing to warn of.")
]


class Logprob(Body):
    """A token of the model, and how likely it found it."""

    token: str = Field(
        description="Its text; where it is no more than a part of a character, `\ufffd`.",
        examples=[" Hello"],
    )
    bytes: tuple[int, ...] = Field(
        description="Its text as UTF-8. Joined, those of all tokens are the text.",
        examples=[[32, 72, 101, 108, 108, 111]],
    )
    logprob: float = Field(
        description="Natural logarithm of its probability, 0 or less.", examples=[-0.0132]
    )


Logprobs: TypeAlias = Annotated[
    tuple[Logprob, ...] | None,
    Field(description="Absent unless `include` asks for `logprobs`."),
]


# Words


class SpokenWord(Body):
    """A word, when it was said, and by whom if that is known.

    No word starts before the one before it has ended.
    """

    word: Spelt
    start: Start
    end: End
    probability: Probability = None
    speaker: Speaker | None = None


class TranscribeWord(Body):
    """A word of /transcribe, which calls it `text`."""

    text: Spelt
    start: Start
    end: End
    probability: Probability = None
    speaker: Speaker | None = None


# Reflector


class DiarizedTurn(Body):
    """Somebody speaks."""

    start: float = Field(description="Seconds, three decimals.", examples=[0.42])
    end: float = Field(description="Seconds, three decimals.", examples=[2.05])
    speaker: int = Field(description="From 0, as they first speak.", examples=[0])
    name: str | None = Field(
        None, description="Of a speaker whom the server remembers.", examples=["Anna Berg"]
    )
    similarity: Similarity = None


class Diarization(Body):
    """Who speaks when, sorted by start."""

    diarization: tuple[DiarizedTurn, ...]
    warnings: Warned = None


class TranslatedSegment(Body):
    """What was said at a stretch, in two languages."""

    start: Start
    end: End
    text: SegmentText
    translation: str = Field(description="The same in the language of `translate_to`.")
    speaker: Speaker | None = None


class ReflectorTranscript(Body):
    """The text and its words: the answer where no `response_format` was asked for."""

    text: Text
    words: tuple[SpokenWord, ...]
    translation: Translated = None
    segments: tuple[TranslatedSegment, ...] | None = Field(
        default=None, description="Absent unless `translate_to` is set."
    )
    logprobs: Logprobs = None
    warnings: Warned = None


class ReflectorFile(ReflectorTranscript):
    """One uploaded file's text and words."""

    filename: str = Field(description="The name that the client gave.", examples=["call.wav"])


class TranscribeTranscript(Body):
    """The answer of /transcribe."""

    text: Text
    words: tuple[TranscribeWord, ...]
    translation: Translated = None
    warnings: Warned = None


class TextTranslation(Body):
    """The answer of /translate."""

    text: dict[str, str] = Field(
        description="The text and its translation, by the codes that the client sent.",
        examples=[{"en": "Thank you.", "fr": "Merci."}],
    )


# OpenAI


class DurationUsage(Body):
    """What the request used: seconds of audio."""

    type: Literal["duration"] = "duration"
    seconds: int = Field(description="Seconds of audio, rounded up.", examples=[13])


class Language(Body):
    """A language that is spoken in the recording."""

    code: str = Field(description="ISO 639 code.", examples=["en"])


class Transcription(Body):
    """`json`: the text alone."""

    text: Text
    translation: Translated = None
    languages: tuple[Language, ...] | None = Field(
        default=None, description="Absent where no language was named or detected."
    )
    logprobs: Logprobs = None
    usage: DurationUsage


class VerboseSegment(Body):
    """A sentence, or what was said between two pauses, of about ten seconds at most.

    The scores are the recogniser's own; one that gives none is taken to be sure of itself. A
    segment that is cut where another speaker begins has them in each of its parts.
    """

    id: int = Field(description="Its number, from 0.", examples=[0])
    seek: int = Field(description="Its start in frames of 10 ms.", examples=[42])
    start: Start
    end: End
    text: SegmentText
    tokens: tuple[int, ...] = Field(
        description="The recogniser's token ids; empty where it has none.", examples=[[]]
    )
    temperature: float = Field(description="Sampling temperature.", examples=[0.0])
    avg_logprob: float = Field(
        description="Mean log probability of the tokens; under -1 is doubtful.", examples=[-0.21]
    )
    compression_ratio: float = Field(
        description="How far the text compresses; over 2.4 it repeats itself.", examples=[1.3]
    )
    no_speech_prob: float = Field(description="How likely nobody spoke.", examples=[0.01])
    language: str | None = Field(
        default=None,
        description="The code of what is spoken in it, where that is known.",
        examples=["en"],
    )
    speaker: Speaker | None = None
    translation: Translated = None


class VerboseTranscription(Body):
    """`verbose_json`: the text with its segments, words, or both, as asked for."""

    task: Task
    language: str = Field(
        description="The language's English name in lower case, else its code, else `unknown`.",
        examples=["english"],
    )
    duration: Duration
    text: Text
    translation: Translated = None
    segments: tuple[VerboseSegment, ...] | None = Field(
        default=None, description="Absent when only `word` granularity was asked for."
    )
    words: tuple[SpokenWord, ...] | None = Field(
        default=None, description="Absent unless `word` granularity was asked for."
    )
    warnings: Warned = None
    usage: DurationUsage


class DiarizedSegment(Body):
    """What one speaker said at a stretch. Streamed, it is an event of the same shape."""

    type: Literal["transcript.text.segment"] = "transcript.text.segment"
    id: str = Field(
        description="Unique within the transcript: `seg_0`, `seg_1`, ... What follows a change of "
        "speaker inside `seg_1` is `seg_1_1`, `seg_1_2`, ...",
        examples=["seg_0"],
    )
    start: Start
    end: End
    text: SegmentText
    speaker: Speaker
    speaker_confidence: Confidence = None
    speaker_similarity: Similarity = None
    translation: Translated = None


class DiarizedTranscription(Body):
    """`diarized_json`: who said what."""

    task: Literal["transcribe"] = "transcribe"
    duration: Duration
    text: Text
    translation: Translated = None
    segments: tuple[DiarizedSegment, ...]
    warnings: Warned = None
    usage: DurationUsage


class Translation(Body):
    """The `json` of /v1/audio/translations: English text."""

    text: Text
    translation: Translated = None
