"""The parameters of a transcription as people write them, and the checks that they pass.

The fields of the API, the options of the command line and those of the Python functions are all
checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.languages import LONGEST
from reflector_gpu.types import DiarizeOptions, Task, TranscribeOptions

MOST_KNOWN_SPEAKERS = 16
"""Speakers whose voices a request may hold. OpenAI's server takes four."""

_MOST_SPEAKERS = 100  # work and memory grow with what is asked for
_MOST_LANGUAGES = 200  # more than any model knows
_MAX_TEXT = 10_000  # characters that go to the engine with every chunk: no model reads as many
_DETECTED = {"", "auto", "und"}
_BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def listed(value: object) -> object:
    """Split text at its commas. Empty entries are left out."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if isinstance(value, list):
        return [part for part in value if part != ""]
    return () if value is None else value


def not_empty(value: object) -> object:
    """Turn an empty text into None, because HTML forms send one for a field that was left out."""
    return None if value == "" else value


def _spoken(value: object) -> object:
    """Turn ``auto`` and its synonyms into None, so that the language is detected."""
    return None if isinstance(value, str) and value.strip().lower() in _DETECTED else value


def _track(value: object) -> object:
    """Turn a track's number into text, and blank text into None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return (value.strip() or None) if isinstance(value, str) else value


def _bounded(words: tuple[str, ...]) -> tuple[str, ...]:
    if sum(map(len, words)) > _MAX_TEXT:
        message = f"Words should have at most {_MAX_TEXT} characters in all"
        raise PydanticCustomError("words_too_long", message)
    return words


Hotwords: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_bounded)]

SpeakerName: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]

_Count: TypeAlias = Annotated[int | None, BeforeValidator(not_empty)]

_Language: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST)]


class TrackParameters(BaseModel):
    """Which of a file's audio tracks to work on."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    track: Annotated[str | None, BeforeValidator(_track)] = Field(
        None,
        max_length=100,
        description="Of a file with several audio tracks: the number of one, from 0, or the "
        "language that the file gives for it. Left out: the only one in `language`, if that is "
        "told; else the file's default, and `warnings.tracks` names the others.",
        examples=["1", "de"],
    )


class SpeakerParameters(TrackParameters):
    """How many people speak, as far as the client knows; or whether each has a channel."""

    channels: Annotated[Literal["mixed", "separate"] | None, BeforeValidator(not_empty)] = Field(
        None,
        description="`separate`: each channel of the file is a speaker, and is worked on by "
        "itself. Of a file with several tracks these are the channels, unless `track` names one. "
        "Left out, or `mixed`: the channels are mixed.",
        examples=["separate"],
    )

    num_speakers: _Count = Field(
        None, ge=1, le=_MOST_SPEAKERS, description="How many people speak."
    )
    min_speakers: _Count = Field(
        None, ge=1, le=_MOST_SPEAKERS, description="Fewest people who may speak."
    )
    max_speakers: _Count = Field(
        None, ge=1, le=_MOST_SPEAKERS, description="Most people who may speak."
    )

    @property
    def counts(self) -> DiarizeOptions:
        """Raises `InvalidRequest` if they contradict each other."""
        return DiarizeOptions(self.num_speakers, self.min_speakers, self.max_speakers)

    @property
    def separate(self) -> bool:
        """Whether each channel is a speaker.

        Raises:
            InvalidRequest: the request describes the speakers as well.
        """
        if self.channels != "separate":
            return False
        if self.describes_speakers:
            raise InvalidRequest(
                "With 'channels=separate' each channel is a speaker: leave out the number of "
                "speakers, and their names and voices.",
                param="channels",
            )
        return True

    @property
    def describes_speakers(self) -> bool:
        """Whether the request says how many people speak, or how they sound."""
        return self.counts != DiarizeOptions()


class TranscriptionParameters(SpeakerParameters):
    """The parameters of every transcription, wherever the request comes from."""

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
        "an English name. Left out, or `auto`: it is detected, if the model can.",
        examples=["en"],
    )
    languages: Annotated[tuple[_Language, ...], BeforeValidator(listed)] = Field(
        (),
        max_length=_MOST_LANGUAGES,
        description="Without `language`: those that may be spoken. One that the model does not "
        "know does not count, and a model that knows none of them is refused. `auto` takes a model "
        "that knows all of them.",
        examples=[["en", "es"]],
    )
    prompt: Annotated[str | None, BeforeValidator(not_empty)] = Field(
        None,
        max_length=_MAX_TEXT,
        description="Text that the recording might follow: style and spelling.",
    )
    hotwords: Hotwords = Field((), description="Words to expect: a list, or text between commas.")
    temperature: Annotated[float | None, BeforeValidator(not_empty)] = Field(
        None,
        ge=0,
        le=1,
        description="Whisper's randomness: 0, or left out, takes the likeliest words. What looks "
        "wrong is tried again at higher ones.",
    )
    diarize: Annotated[bool | None, BeforeValidator(not_empty)] = Field(
        None,
        description="Words and segments say who speaks: in `verbose_json`, `srt`, `vtt`, and "
        "without `response_format`. Left out: they do so in `diarized_json`, for a model whose "
        "name ends in `-diarize`, and where the request has a number of speakers or their voices.",
    )
    translate_to: Annotated[str | None, BeforeValidator(not_empty)] = Field(
        None,
        max_length=LONGEST,
        description="Translate every segment to this language; subtitles and `text` are in it. Of "
        "a stream, the last events have it.",
    )

    strict: Annotated[bool | None, BeforeValidator(not_empty)] = Field(
        None,
        description="Fail if the model fails on a part of the recording. Left out: the transcript "
        "lacks that part, and `warnings.unheard` says which it is.",
    )

    @classmethod
    def of(cls, **values: object) -> Self:
        """Check ``values``. Those that are None count as not given.

        Raises:
            InvalidRequest: a value does not fit.
        """
        given = {name: value for name, value in values.items() if value is not None}
        with explained():
            return cls.model_validate(given)

    @property
    def expected_words(self) -> tuple[str, ...]:
        """The words that the recogniser is told to expect."""
        return self.hotwords

    def options(self, task: Task = "transcribe") -> TranscribeOptions:
        """The part that concerns the recogniser."""
        return TranscribeOptions(
            language=self.language,
            task=task,
            prompt=self.prompt,
            hotwords=tuple(dict.fromkeys(self.expected_words)),
            temperature=self.temperature,
            languages=() if self.language else self.languages,
        )

    @property
    def speakers(self) -> DiarizeOptions | None:
        """How to tell speakers apart, or None if they need not be.

        Raises:
            InvalidRequest: their numbers contradict each other.
        """
        asked = self.describes_speakers if self.diarize is None else self.diarize
        return self.counts if asked and not self.separate else None

    @property
    def tells_speakers(self) -> bool:
        """Whether the transcript says who speaks."""
        return self.separate or self.speakers is not None

    @property
    def shows_speakers(self) -> bool:
        """Whether the answer can say who speaks."""
        return True

    def with_speakers(self) -> Self:
        """These parameters, with speakers told apart if the answer can show them."""
        if self.diarize is not None or not self.shows_speakers:
            return self
        return self.model_copy(update={"diarize": True})


class RecordingParameters(TranscriptionParameters):
    """The parameters of recordings on this machine, where voices are files as well."""

    voices: Annotated[dict[SpeakerName, bytes], Field(max_length=MOST_KNOWN_SPEAKERS)] = {}
    """Speakers' names, each with the content of a file that holds their voice."""

    @property
    def describes_speakers(self) -> bool:
        return bool(self.voices) or super().describes_speakers


@contextmanager
def explained() -> Iterator[None]:
    """Raise the first problem that pydantic finds as an `InvalidRequest` about its field."""
    try:
        yield
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        what = plain(problem)
        raise InvalidRequest(
            f"{where}: {what}" if where else f"The body does not fit: {what}.",
            param=str(problem["loc"][0]) if where else None,
        ) from None


def plain(problem: ErrorDetails) -> str:
    """What is wrong, without the names of our classes, of Python's types, and of its exceptions."""
    if problem["type"].startswith(("model_", "dict_type")):
        return "Input should be an object"
    if problem["type"] == "tuple_type":
        return "Input should be a list"
    if problem["type"] in _BOUNDS and str(problem["input"]).strip().lower().endswith("nan"):
        return f"Input should be a number, and '{problem['input']}' is none"
    message = problem["msg"].removeprefix("Value error, ").replace(" after validation", "")
    return f"List{rest}" if (rest := message.removeprefix("Tuple")) != message else message
