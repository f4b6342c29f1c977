"""The fields of transcription requests, from a form or from JSON, checked in one place."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
)
from pydantic_core import from_json

from reflector_gpu.api.data_url import data_of
from reflector_gpu.api.sent_fields import SentFields
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
from reflector_gpu.service.parameters import (
    MOST_KNOWN_SPEAKERS,
    Hotwords,
    SpeakerName,
    SpeakerParameters,
    TranscriptionParameters,
    listed,
    not_empty,
)
from reflector_gpu.types import DiarizeOptions


def _decoded(value: object) -> object:
    """A form can only send an object as JSON text. Other text, such as ``auto``, stays as it is."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            decoded: object = from_json(value)
        except ValueError:
            return value
        return decoded
    return not_empty(value)


def _granularities(value: object) -> object:
    """A list, which some clients write as ``[word]``."""
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]")
    return listed(value)


def stripped(value: object) -> object:
    """A pasted URL may have white space around it."""
    return not_empty(value.strip()) if isinstance(value, str) else value


def _single(value: object) -> object:
    """A single value is a list of one, even if it has commas. An empty one is an empty list."""
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) else value


class ServerVad(SentFields):
    """OpenAI's knobs of the voice activity detector."""

    type: Literal["server_vad"]
    threshold: Annotated[float | None, BeforeValidator(not_empty)] = Field(
        None, gt=0, lt=1, description="Probability that is speech."
    )
    prefix_padding_ms: Annotated[int | None, BeforeValidator(not_empty)] = Field(
        None, ge=0, le=5000, description="Audio kept on either side of speech."
    )
    silence_duration_ms: Annotated[int | None, BeforeValidator(not_empty)] = Field(
        None, ge=0, le=30_000, description="Silence that ends a chunk."
    )


ChunkingStrategy: TypeAlias = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[ServerVad, Tag("server_vad")],
    Discriminator(lambda value: "server_vad" if isinstance(value, dict | ServerVad) else "auto"),
]
"""The type of the value decides between the two, so that an error is about the one that was
meant."""


class RememberedSpeakerFields(SpeakerParameters):
    """Speakers whose voices the server remembers."""

    known_speakers: Annotated[tuple[SpeakerName, ...], BeforeValidator(listed)] = Field(
        (),
        max_length=1000,
        description="Speakers whose voices the server remembers (/v1/speakers): `all`, or names. "
        "Those who are heard are called by their names, with a similarity.",
        examples=[["all"]],
    )

    @property
    def describes_speakers(self) -> bool:
        return bool(self.known_speakers) or super().describes_speakers


class DiarizeFields(RememberedSpeakerFields):
    """The query of /diarize."""

    audio_file_url: Annotated[str | None, BeforeValidator(stripped)] = Field(
        None, description="Where the audio is, unless it is sent as `file`."
    )
    timestamp: Annotated[float, BeforeValidator(lambda value: value or 0.0)] = Field(
        0.0, ge=-1e10, le=1e10, description="Seconds added to every time."
    )


class KnownSpeakerFields(RememberedSpeakerFields):
    """Speakers whose names and voices the client knows."""

    known_speaker_names: Annotated[tuple[SpeakerName, ...], BeforeValidator(_single)] = Field(
        (),
        max_length=MOST_KNOWN_SPEAKERS,
        description="Names of speakers, who are told apart if their voices are sent too.",
    )
    known_speaker_references: Annotated[tuple[str, ...], BeforeValidator(_single)] = Field(
        (),
        max_length=MOST_KNOWN_SPEAKERS,
        description="Their voices in the order of the names: data URLs of two to ten seconds each.",
    )

    @property
    def describes_speakers(self) -> bool:
        voices = self.known_speaker_names and self.known_speaker_references
        return bool(voices) or super().describes_speakers

    @property
    def voices(self) -> list[tuple[str, bytes]]:
        """Their names, each with a file of the voice.

        Raises:
            InvalidRequest: names and references do not match, or one is not a data URL.
        """
        names, references = self.known_speaker_names, self.known_speaker_references
        if len(names) != len(references) or len(set(names)) < len(names):
            raise InvalidRequest(
                "Each of the known_speaker_references needs a name of its own in "
                f"known_speaker_names: {len(references)} and {len(names)} came.",
                param="known_speaker_names",
            )
        param = "known_speaker_references"
        return [(n, data_of(url, param)) for n, url in zip(names, references, strict=True)]


class SpeakerFields(SentFields):
    """The fields of POST /v1/speakers, besides the clips."""

    name: Annotated[SpeakerName, StringConstraints(min_length=1)] = Field(
        description="What to call the speaker.", pattern=r"^[^\x00-\x1f]*$", examples=["Anna Berg"]
    )


class AudioDiarizeFields(DiarizeFields, KnownSpeakerFields):
    """The form and the query of /v1/audio/diarization."""

    response_format: Annotated[Literal["json", "rttm"] | None, BeforeValidator(not_empty)] = Field(
        None, description="`json`, or `rttm` for NIST's Rich Transcription Time Marked lines."
    )


class TranscriptionFields(KnownSpeakerFields, TranscriptionParameters):
    """What every transcription request may say."""

    keywords: Hotwords = Field((), description="OpenAI's name of `hotwords`; both count.")
    response_format: Annotated[Format | None, BeforeValidator(not_empty)] = Field(
        None, description="Left out: text and words, the form that Reflector reads."
    )
    timestamp_granularities: Annotated[tuple[Granularity, ...], BeforeValidator(_granularities)] = (
        Field(
            DEFAULT_GRANULARITIES,
            description="What `verbose_json` holds: `word`, `segment` or both.",
        )
    )
    stream: Annotated[bool | None, BeforeValidator(not_empty)] = Field(
        None,
        description="Answer as server-sent events while the audio is worked on. With `srt` and "
        "`vtt` every `delta` is the next cue of the file; all of it comes in the end where cues "
        "name speakers or are translated.",
    )
    batch: Annotated[bool | None, BeforeValidator(not_empty)] = Field(
        None, description="Several files: recognise them together (default) or one by one."
    )
    include: Annotated[tuple[Literal["logprobs"], ...], BeforeValidator(listed)] = Field(
        (),
        description="`logprobs`: how likely the model found each token, in `json`, in streams, and "
        "without `response_format`. Parakeet and Whisper know.",
    )
    chunking_strategy: Annotated[ChunkingStrategy | None, BeforeValidator(_decoded)] = Field(
        None, description="`auto`, or the voice activity detector's knobs."
    )

    @property
    def expected_words(self) -> tuple[str, ...]:
        return (*self.hotwords, *self.keywords)

    @property
    def speakers(self) -> DiarizeOptions | None:
        """How to tell speakers apart. None: not at all.

        Raises:
            InvalidRequest: they are asked for in a format that cannot say who speaks.
        """
        asked = super().speakers
        response_format = self.response_format
        if asked and response_format not in (None, *WITH_SPEAKERS):
            raise InvalidRequest(
                f"response_format '{response_format}' cannot say who speaks. Those that can are "
                f"{', '.join(WITH_SPEAKERS)}, and the answer to a transcription without "
                "response_format.",
                param="response_format",
            )
        if response_format is Format.DIARIZED_JSON and not self.separate:
            return self.counts
        return asked

    @property
    def wants_logprobs(self) -> bool:
        """Whether the answer is to say how likely each token is.

        Raises:
            InvalidRequest: it is asked for in a format that cannot say so.
        """
        response_format = self.response_format
        if self.include and response_format not in WITH_LOGPROBS:
            raise InvalidRequest(
                f"response_format '{response_format}' has no logprobs; send 'json' or none at all, "
                "or leave out 'include'.",
                param="include",
            )
        return bool(self.include)

    @property
    def shows_speakers(self) -> bool:
        """Whether the answer can say who speaks."""
        response_format = self.response_format
        return response_format is Format.DIARIZED_JSON or (
            not self.stream and response_format in (None, *WITH_SPEAKERS)
        )

    def vad(self, default: VadOptions) -> VadOptions:
        """The server's ``default`` with the client's changes."""
        asked = self.chunking_strategy
        if not isinstance(asked, ServerVad):
            return default
        padding, silence = asked.prefix_padding_ms, asked.silence_duration_ms
        return VadOptions(
            threshold=default.threshold if asked.threshold is None else asked.threshold,
            padding=default.padding if padding is None else padding / 1000,
            silence=default.silence if silence is None else silence / 1000,
        )


class TranslateFields(SentFields):
    """The fields of /translate, in the query, in a JSON body, or in both."""

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

    audio_file_url: Annotated[str, BeforeValidator(stripped)] = Field(
        min_length=1,
        description="Where the audio is; http or https. The bytes decide what it is.",
        examples=["https://example.com/meeting.mp3?signature=abc"],
    )
    timestamp_offset: Annotated[float, BeforeValidator(lambda value: value or 0.0)] = Field(
        0.0, ge=-1e10, le=1e10, description="Seconds added to every time."
    )
