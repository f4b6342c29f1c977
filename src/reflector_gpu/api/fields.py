"""The fields of transcription requests, from a form or from JSON, checked in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError, from_json

from reflector_gpu.api.data_url import data_of
from reflector_gpu.api.tracks import TrackFields
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.formats.response_format import (
    DEFAULT_GRANULARITIES,
    WITH_LOGPROBS,
    WITH_SPEAKERS,
    Format,
    Granularity,
)
from reflector_gpu.languages import LONGEST
from reflector_gpu.types import DiarizeOptions, Task, TranscribeOptions


def _listed(value: object) -> object:
    """Text between commas is a list as well; empty entries are none."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if isinstance(value, list):
        return [part for part in value if part != ""]
    return () if value is None else value


def _decoded(value: object) -> object:
    """A form can only send an object as JSON text; ``auto`` stays a word."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            decoded: object = from_json(value)
        except ValueError:
            return value
        return decoded
    return _not_empty(value)


def _not_empty(value: object) -> object:
    """HTML forms send what was left out as an empty text."""
    return None if value == "" else value


def _spoken(value: object) -> object:
    """What means that the language is to be found out is the same as none."""
    return None if isinstance(value, str) and value.strip().lower() in _DETECTED else value


def _stripped(value: object) -> object:
    """A URL that was pasted may have white space around it."""
    return _not_empty(value.strip()) if isinstance(value, str) else value


_DETECTED = {"", "auto", "und"}

_MAX_TEXT = 10_000
"""Characters that a client may tell the engine, with every chunk: no model reads as many."""


def _bounded(words: tuple[str, ...]) -> tuple[str, ...]:
    if sum(map(len, words)) > _MAX_TEXT:
        message = f"Words should have at most {_MAX_TEXT} characters in all"
        raise PydanticCustomError("words_too_long", message)
    return words


Hotwords: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_bounded)]


def _single(value: object) -> object:
    """One value stands for a list of one; it may hold commas. An empty one is none."""
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) else value


class ServerVad(BaseModel):
    """OpenAI's knobs of the voice activity detector."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["server_vad"]
    threshold: Annotated[float | None, BeforeValidator(_not_empty)] = Field(
        None, gt=0, lt=1, description="Probability that is speech."
    )
    prefix_padding_ms: Annotated[int | None, BeforeValidator(_not_empty)] = Field(
        None, ge=0, le=5000, description="Audio kept on either side of speech."
    )
    silence_duration_ms: Annotated[int | None, BeforeValidator(_not_empty)] = Field(
        None, ge=0, le=30_000, description="Silence that ends a chunk."
    )


ChunkingStrategy: TypeAlias = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[ServerVad, Tag("server_vad")],
    Discriminator(lambda value: "server_vad" if isinstance(value, dict | ServerVad) else "auto"),
]
"""Told apart by what was sent, so that a problem is reported about the one that was meant."""


_MOST_SPEAKERS = 100  # work and memory grow with what is asked for

Count: TypeAlias = Annotated[int | None, BeforeValidator(_not_empty)]


class SpeakerFields(TrackFields):
    """How many people speak, as far as the client knows."""

    num_speakers: Count = Field(None, ge=1, le=_MOST_SPEAKERS, description="How many people speak.")
    min_speakers: Count = Field(
        None, ge=1, le=_MOST_SPEAKERS, description="Fewest people who may speak."
    )
    max_speakers: Count = Field(
        None, ge=1, le=_MOST_SPEAKERS, description="Most people who may speak."
    )

    @property
    def counts(self) -> DiarizeOptions:
        """Raises `InvalidRequest` if they contradict each other."""
        return DiarizeOptions(self.num_speakers, self.min_speakers, self.max_speakers)


class DiarizeFields(SpeakerFields):
    """The query of /diarize."""

    audio_file_url: Annotated[str | None, BeforeValidator(_stripped)] = Field(
        None, description="Where the audio is, unless it is sent as `file`."
    )
    timestamp: Annotated[float, BeforeValidator(lambda value: value or 0.0)] = Field(
        0.0, ge=-1e10, le=1e10, description="Seconds added to every time."
    )


_MOST_KNOWN = 16  # OpenAI's server takes four

_MOST_LANGUAGES = 200  # more than any model knows

Tongue: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST)]

Name: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]


class KnownSpeakerFields(SpeakerFields):
    """Speakers whose names and voices the client knows."""

    known_speaker_names: Annotated[tuple[Name, ...], BeforeValidator(_single)] = Field(
        (),
        max_length=_MOST_KNOWN,
        description="Names of speakers, who are told apart if their voices are sent too.",
    )
    known_speaker_references: Annotated[tuple[str, ...], BeforeValidator(_single)] = Field(
        (),
        max_length=_MOST_KNOWN,
        description="Their voices in the order of the names: data URLs of two to ten seconds each.",
    )

    @property
    def known_speakers(self) -> list[tuple[str, bytes]]:
        """Names, and the files with their voices.

        Raises:
            InvalidRequest: they do not match, or a reference is not a data URL.
        """
        names, references = self.known_speaker_names, self.known_speaker_references
        if len(names) != len(references) or len(set(names)) < len(names):
            raise InvalidRequest(
                f"There are {len(names)} known_speaker_names for {len(references)} "
                "known_speaker_references; send a name of its own for every reference.",
                param="known_speaker_names",
            )
        param = "known_speaker_references"
        return [(n, data_of(url, param)) for n, url in zip(names, references, strict=True)]


class AudioDiarizeFields(DiarizeFields, KnownSpeakerFields):
    """The form and the query of /v1/audio/diarization."""

    response_format: Annotated[Literal["json", "rttm"] | None, BeforeValidator(_not_empty)] = Field(
        None, description="`json`, or `rttm` for NIST's Rich Transcription Time Marked lines."
    )


class TranscriptionFields(KnownSpeakerFields):
    """What every transcription request may say."""

    model: str | None = Field(
        None,
        description="A name from /v1/models. Left out, or one of OpenAI's such as `whisper-1`: the "
        "configured model, and with `-diarize` its speakers. What the hub calls these models is "
        "known too.",
        examples=["whisper-1"],
    )
    language: Annotated[str | None, BeforeValidator(_spoken)] = Field(
        None,
        max_length=LONGEST,
        description="The spoken language: a code of ISO 639, a tag of BCP 47 such as `pt-BR`, or "
        "an English name. Left out, or `auto`: it is found out, if the model can.",
        examples=["en"],
    )
    languages: Annotated[tuple[Tongue, ...], BeforeValidator(_listed)] = Field(
        (),
        max_length=_MOST_LANGUAGES,
        description="Without `language`: those that may be spoken. One that the model does not "
        "know does not count, and a model that knows none of them is refused. `auto` takes a model "
        "that knows all of them.",
        examples=[["en", "es"]],
    )
    prompt: Annotated[str | None, BeforeValidator(_not_empty)] = Field(
        None,
        max_length=_MAX_TEXT,
        description="Text that the recording might follow: style and spelling.",
    )
    hotwords: Hotwords = Field((), description="Words to expect: a list, or text between commas.")
    keywords: Hotwords = Field((), description="OpenAI's name of `hotwords`; both count.")
    temperature: Annotated[float | None, BeforeValidator(_not_empty)] = Field(
        None, ge=0, le=1, description="0 is deterministic; left out, the engine decides."
    )
    response_format: Annotated[Format | None, BeforeValidator(_not_empty)] = Field(
        None, description="Left out: text and words, the form that Reflector reads."
    )
    timestamp_granularities: Annotated[tuple[Granularity, ...], BeforeValidator(_listed)] = Field(
        DEFAULT_GRANULARITIES, description="What `verbose_json` holds: `word`, `segment` or both."
    )
    stream: Annotated[bool | None, BeforeValidator(_not_empty)] = Field(
        None,
        description="Answer as server-sent events while the audio is worked on. With `srt` and "
        "`vtt` every `delta` is the next cue of the file; all of it comes in the end where cues "
        "name speakers or are translated.",
    )
    batch: Annotated[bool | None, BeforeValidator(_not_empty)] = Field(
        None, description="Several files: recognise them together (default) or one by one."
    )
    include: Annotated[tuple[Literal["logprobs"], ...], BeforeValidator(_listed)] = Field(
        (),
        description="`logprobs`: how likely the model found each token, in `json`, in streams, and "
        "without `response_format`. Parakeet and Whisper tell.",
    )
    chunking_strategy: Annotated[ChunkingStrategy | None, BeforeValidator(_decoded)] = Field(
        None, description="`auto`, or the voice activity detector's knobs."
    )
    diarize: Annotated[bool | None, BeforeValidator(_not_empty)] = Field(
        None,
        description="Words and segments say who speaks: in `verbose_json`, `srt`, `vtt`, and "
        "without `response_format`. Left out: they do so in `diarized_json`, for a model whose "
        "name ends in `-diarize`, and where the request has a number of speakers or their voices.",
    )
    translate_to: Annotated[str | None, BeforeValidator(_not_empty)] = Field(
        None,
        max_length=LONGEST,
        description="Translate every segment to this language; subtitles and `text` are in it. Of "
        "a stream, the last events have it.",
    )

    def options(self, task: Task = "transcribe") -> TranscribeOptions:
        return TranscribeOptions(
            language=self.language,
            task=task,
            prompt=self.prompt,
            hotwords=tuple(dict.fromkeys((*self.hotwords, *self.keywords))),
            temperature=self.temperature,
            languages=() if self.language else self.languages,
        )

    @property
    def speakers(self) -> DiarizeOptions | None:
        """How to tell speakers apart; None: they need not be.

        Raises:
            InvalidRequest: they are asked for in a format that cannot say who speaks.
        """
        asked = self._describes_speakers if self.diarize is None else self.diarize
        form = self.response_format
        if asked and form not in (None, *WITH_SPEAKERS):
            raise InvalidRequest(
                f"response_format '{form}' cannot say who speaks. Those that can are "
                f"{', '.join(WITH_SPEAKERS)}, and the answer to a transcription without "
                "response_format.",
                param="response_format",
            )
        return self.counts if asked or form is Format.DIARIZED_JSON else None

    @property
    def _describes_speakers(self) -> bool:
        """Whether the request says how many speak, or how they sound."""
        voices = self.known_speaker_names and self.known_speaker_references
        return bool(voices) or self.counts != DiarizeOptions()

    @property
    def wants_logprobs(self) -> bool:
        """Whether the answer is to say how likely each token is.

        Raises:
            InvalidRequest: it is asked for in a format that cannot say so.
        """
        form = self.response_format
        if self.include and form not in WITH_LOGPROBS:
            raise InvalidRequest(
                f"response_format '{form}' has no logprobs; send 'json' or none at all, or leave "
                "out 'include'.",
                param="include",
            )
        return bool(self.include)

    @property
    def shows_speakers(self) -> bool:
        """Whether the answer has a place for who says what."""
        form = self.response_format
        return form is Format.DIARIZED_JSON or (not self.stream and form in (None, *WITH_SPEAKERS))

    def with_speakers(self) -> Self:
        """The same of a model that tells speakers apart wherever the answer can show them."""
        if self.diarize is not None or not self.shows_speakers:
            return self
        return self.model_copy(update={"diarize": True})

    def vad(self, default: VadOptions) -> VadOptions:
        """The server's ``default`` with the client's knobs turned."""
        asked = self.chunking_strategy
        if not isinstance(asked, ServerVad):
            return default
        padding, silence = asked.prefix_padding_ms, asked.silence_duration_ms
        return VadOptions(
            threshold=default.threshold if asked.threshold is None else asked.threshold,
            padding=default.padding if padding is None else padding / 1000,
            silence=default.silence if silence is None else silence / 1000,
        )


class TranslateFields(BaseModel):
    """What /translate is told, in the query, in a JSON body, or in both."""

    model_config = ConfigDict(extra="ignore")

    text: str = Field(description="What to translate.", examples=["Thank you very much."])
    source_language: Annotated[str, BeforeValidator(lambda value: value or "en")] = Field(
        "en",
        max_length=LONGEST,
        description="Its language: a code of ISO 639, a tag of BCP 47, or an English name.",
    )
    target_language: Annotated[str, BeforeValidator(lambda value: value or "fr")] = Field(
        "fr", max_length=LONGEST, description="The language to translate to."
    )


class FromUrl(TranscriptionFields):
    """The body of /v1/audio/transcriptions-from-url."""

    audio_file_url: Annotated[str, BeforeValidator(_stripped)] = Field(
        min_length=1,
        description="Where the audio is; http or https. The bytes decide what it is.",
        examples=["https://example.com/meeting.mp3?signature=abc"],
    )
    timestamp_offset: Annotated[float, BeforeValidator(lambda value: value or 0.0)] = Field(
        0.0, ge=-1e10, le=1e10, description="Seconds added to every time."
    )


@contextmanager
def explained() -> Iterator[None]:
    """The first problem that pydantic finds, as an `InvalidRequest` about its field."""
    try:
        yield
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        what = _plain(problem)
        raise InvalidRequest(
            f"{where}: {what}" if where else f"The body does not fit: {what}.",
            param=str(problem["loc"][0]) if where else None,
        ) from None


def _plain(problem: ErrorDetails) -> str:
    """What is wrong, without the names that our classes and Python's exceptions have."""
    if problem["type"].startswith("model_"):
        return "Input should be an object"
    return problem["msg"].removeprefix("Value error, ")
