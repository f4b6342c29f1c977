"""What a client can set of a session, as it is written in events and in answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.realtime.audio_formats import (
    Decoder,
    a_law_decoder,
    mu_law_decoder,
    pcm_decoder,
)
from reflector_gpu.unknown_fields import check_spelling, unknown_fields

OUR_OPTIONS = frozenset({"diarize", "tentative", "translate_to"})
"""Of `Transcription`, beyond OpenAI's."""

LOGPROBS = "item.input_audio_transcription.logprobs"

_MAX_TEXT = 10_000  # characters; as in requests that are not realtime

_UNTURNED = ("gpt-realtime-whisper", "gpt-live-transcribe")
"""Models of OpenAI whose clients end turns themselves, without saying so."""

_BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}

_BETA = {
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
    "turn_detection": "turn_detection",
}
"""Where the flat fields of OpenAI's beta are in ``audio.input``."""


class _Fields(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _cleared(cls, values: Any) -> Any:
        """Let null stand for the default where a field cannot be null."""
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        return {
            name: value
            for name, value in values.items()
            if value is not None
            or name not in fields
            or type(None) in get_args(fields[name].annotation)
        }


class Pcm(_Fields):
    """16-bit samples, little-endian and mono."""

    type: Literal["audio/pcm"]
    rate: Literal[8000, 16000, 24000, 48000] = Field(
        24000, description="Samples a second. OpenAI's server takes 24000 alone."
    )

    def decoder(self) -> Decoder:
        return pcm_decoder(self.rate)


class MuLaw(_Fields):
    """G.711 µ-law at 8 kHz."""

    type: Literal["audio/pcmu"]

    def decoder(self) -> Decoder:
        return mu_law_decoder()


class ALaw(_Fields):
    """G.711 A-law at 8 kHz."""

    type: Literal["audio/pcma"]

    def decoder(self) -> Decoder:
        return a_law_decoder()


class NoiseReduction(_Fields):
    """Accepted and shown. It has no effect: the recognisers are trained on noisy speech."""

    type: Literal["near_field", "far_field"] | None = None
    strength: float | None = None


class Transcription(_Fields):
    """The recogniser of the speech, and its options."""

    model: str | None = Field(
        None, max_length=200, description="A name from /v1/models, or one of OpenAI's."
    )
    language: str | None = Field(None, max_length=100, description="The spoken language.")
    languages: tuple[str, ...] | None = Field(
        None, max_length=200, description="Without `language`: those that may be spoken."
    )
    keywords: tuple[str, ...] | None = Field(None, max_length=1000, description="Words to expect.")
    prompt: str | None = Field(
        None, max_length=_MAX_TEXT, description="Text that the speech might follow."
    )
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None,
        description="How long a word may wait until it is certain; `minimal`: 1 s, `xhigh`: 6 s.",
    )
    tentative: bool | None = Field(
        None, description="Ours: events say which words are likely to follow the deltas."
    )
    diarize: bool | None = Field(
        None, description="Ours: each segment says who speaks, by a letter for each person."
    )
    translate_to: str | None = Field(
        None,
        max_length=100,
        description="Ours: each segment has a translation into this language as well.",
    )

    @model_serializer(mode="wrap")
    def _shown(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without our own options where they are not set: strict clients know nothing of them."""
        shown: dict[str, Any] = handler(self)
        return {k: v for k, v in shown.items() if v is not None or k not in OUR_OPTIONS}


class ServerVad(_Fields):
    """A turn ends with a silence."""

    type: Literal["server_vad"]
    threshold: float = Field(0.5, ge=0, le=1, description="Probability that counts as speech.")
    prefix_padding_ms: int = Field(
        300, ge=0, le=5000, description="Audio before the speech that belongs to the turn."
    )
    silence_duration_ms: int = Field(
        500, ge=0, le=30_000, description="The silence that ends a turn."
    )


class SemanticVad(_Fields):
    """A turn ends with a silence after a whole sentence, or with a long one."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = Field(
        "auto",
        description="The longest silence in a turn: 8, 4 or 2 seconds. `auto` is `medium`.",
    )


def _typed(default: str) -> BeforeValidator:
    """Supplies the ``type`` of an object that has none."""
    return BeforeValidator(
        lambda value: {"type": default, **value} if isinstance(value, dict) else value
    )


AudioFormat: TypeAlias = Annotated[
    Annotated[Pcm | MuLaw | ALaw, Field(discriminator="type")], _typed("audio/pcm")
]
TurnDetection: TypeAlias = Annotated[
    Annotated[ServerVad | SemanticVad, Field(discriminator="type")], _typed("server_vad")
]


class AudioInput(_Fields):
    format: AudioFormat = Pcm.model_validate({"type": "audio/pcm"})
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription | None = Field(
        Transcription.model_validate({}),
        description="Null: turns are found, and nothing is transcribed.",
    )
    turn_detection: TurnDetection | None = Field(
        ServerVad.model_validate({"type": "server_vad"}),
        description="What ends a turn. Null leaves that to the client's commits; it is the default "
        "for `gpt-realtime-whisper` and `gpt-live-transcribe`.",
    )

    @model_validator(mode="after")
    def _turned(self) -> Self:
        """Leave turns to the client where its model implies that, unless the client says
        otherwise."""
        told = self.model_fields_set
        model = self.transcription and self.transcription.model
        if "turn_detection" in told or model not in _UNTURNED:
            return self
        # It does not count as set, so that another model brings the default back.
        return self.model_construct(told, **{**dict(self), "turn_detection": None})


class Audio(_Fields):
    input: AudioInput = AudioInput.model_validate({})


class Configuration(_Fields):
    """The part of a session that its client can set."""

    type: Literal["transcription", "realtime"] = "transcription"
    audio: Audio = Audio()
    include: tuple[Literal["item.input_audio_transcription.logprobs"], ...] | None = None

    @property
    def input(self) -> AudioInput:
        return self.audio.input

    @property
    def logprobs(self) -> bool:
        """Whether the client wants to know how likely each token is."""
        return LOGPROBS in (self.include or ())

    def updated(self, session: Mapping[str, object]) -> Configuration:
        """With the fields of ``session``. One that is null is cleared, others stay as they are.

        Raises:
            InvalidRequest: a value does not fit, or a name looks misspelled.
        """
        check_spelling(unknown_fields(session, _Sent, path="session."))
        given = _merged(self.model_dump(exclude_unset=True), _nested(session))
        try:
            return Configuration.model_validate(given)
        except ValidationError as error:
            raise misfit(error, "session") from None


class _Sent(Configuration):
    """What a client may send, with the flat fields of OpenAI's beta."""

    input_audio_format: str | None = None
    input_audio_transcription: Transcription | None = None
    input_audio_noise_reduction: NoiseReduction | None = None
    turn_detection: TurnDetection | None = None


def beta_format(told: AudioFormat) -> str:
    """What OpenAI's beta calls the format."""
    return next(name for name, kind in _BETA_FORMATS.items() if kind == told.type)


def misfit(error: ValidationError, root: str = "") -> InvalidRequest:
    """The first problem that pydantic found, as an error about its field below ``root``."""
    problem = error.errors(include_url=False)[0]
    place = problem["loc"]
    if len(place) > 2 and place[-2] in _TYPES:  # pydantic names which of several models it is
        place = (*place[:-2], place[-1])
    what = problem["msg"].removeprefix("Value error, ")
    if problem["type"].startswith("model_"):
        what = "Input should be an object"
    if problem["type"] == "union_tag_invalid":
        place = (*place, "type")
        what = f"Input should be one of {problem['ctx']['expected_tags']}"
    param = ".".join(str(part) for part in (root, *place) if part != "") or None
    message = f"{param}: {what}" if param else f"The event does not fit: {what}."
    return InvalidRequest(message, param=param)


_TYPES = ("audio/pcm", "audio/pcmu", "audio/pcma", "server_vad", "semantic_vad")


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``old`` with what ``new`` has. Objects are merged, unless they are of different types."""
    return {**old, **{name: _in_place(old.get(name), value) for name, value in new.items()}}


def _in_place(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict) and _alike(old, new):
        return _merged(old, new)
    return new


def _alike(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return bool(new.get("type", old.get("type")) == old.get("type"))


def _nested(session: Mapping[str, Any]) -> dict[str, Any]:
    """``session`` with the flat fields of OpenAI's beta in their places."""
    flat = {_BETA[name]: value for name, value in session.items() if name in _BETA}
    if (name := session.get("input_audio_format")) is not None:
        flat["format"] = {"type": _BETA_FORMATS.get(name, name) if isinstance(name, str) else name}
    rest = {name: value for name, value in session.items() if name not in _BETA}
    return _merged(rest, {"audio": {"input": flat}}) if flat else rest
