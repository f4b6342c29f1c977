"""The events that a session sends."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from reflector_gpu.errors import (
    InvalidRequest,
    Overloaded,
    ReflectorError,
    TooLarge,
    Unauthorized,
    UnknownModel,
)
from reflector_gpu.formats.schemas import Logprob
from reflector_gpu.realtime.configuration import (
    Configuration,
    NoiseReduction,
    SemanticVad,
    ServerVad,
    Transcription,
    beta_format,
)
from reflector_gpu.realtime.voices import Attributed


def new_id(prefix: str) -> str:
    """An id that nobody can guess."""
    return f"{prefix}_{secrets.token_hex(12)}"


_KINDS: tuple[tuple[type[ReflectorError], str], ...] = (
    (InvalidRequest, "invalid_request_error"),
    (UnknownModel, "invalid_request_error"),
    (TooLarge, "invalid_request_error"),
    (Unauthorized, "authentication_error"),
    (Overloaded, "rate_limit_error"),
)
"""OpenAI's types of errors; all others are the server's."""


class _Body(BaseModel):
    """A part of an event."""

    model_config = ConfigDict(frozen=True)

    sparse: ClassVar[frozenset[str]] = frozenset()
    """Fields that are left out where they are None. Clients do not expect null in them."""

    @model_serializer(mode="wrap")
    def _left_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        return {k: v for k, v in found.items() if v is not None or k not in self.sparse}


class ServerEvent(_Body):
    event_id: str = Field(default_factory=lambda: new_id("event"))


class Session(_Body):
    """A whole session, with everything that is in effect."""

    id: str
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    type: Literal["transcription", "realtime"]
    expires_at: int
    include: tuple[str, ...] | None
    audio: Mapping[str, Any]

    @classmethod
    def of(cls, session_id: str, expires_at: int, configuration: Configuration) -> Session:
        return cls(
            id=session_id,
            type=configuration.type,
            expires_at=expires_at,
            include=configuration.include,
            audio=configuration.audio.model_dump(mode="json"),
        )


class BetaSession(_Body):
    """A whole session in the form of OpenAI's beta."""

    id: str
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    expires_at: int
    input_audio_format: str
    input_audio_transcription: Transcription | None
    input_audio_noise_reduction: NoiseReduction | None
    turn_detection: ServerVad | SemanticVad | None
    include: tuple[str, ...] | None

    @classmethod
    def of(cls, session_id: str, expires_at: int, configuration: Configuration) -> Self:
        told = configuration.input
        return cls(
            id=session_id,
            expires_at=expires_at,
            input_audio_format=beta_format(told.format),
            input_audio_transcription=told.transcription,
            input_audio_noise_reduction=told.noise_reduction,
            turn_detection=told.turn_detection,
            include=configuration.include,
        )


class SessionCreated(ServerEvent):
    type: Literal["session.created"] = "session.created"
    session: Session


class SessionUpdated(ServerEvent):
    type: Literal["session.updated"] = "session.updated"
    session: Session


class BetaSessionCreated(ServerEvent):
    type: Literal["transcription_session.created"] = "transcription_session.created"
    session: BetaSession


class BetaSessionUpdated(ServerEvent):
    type: Literal["transcription_session.updated"] = "transcription_session.updated"
    session: BetaSession


class SpeechStarted(ServerEvent):
    type: Literal["input_audio_buffer.speech_started"] = "input_audio_buffer.speech_started"
    audio_start_ms: int
    item_id: str


class SpeechStopped(ServerEvent):
    type: Literal["input_audio_buffer.speech_stopped"] = "input_audio_buffer.speech_stopped"
    audio_end_ms: int
    item_id: str


class Committed(ServerEvent):
    type: Literal["input_audio_buffer.committed"] = "input_audio_buffer.committed"
    item_id: str
    previous_item_id: str | None


class Cleared(ServerEvent):
    type: Literal["input_audio_buffer.cleared"] = "input_audio_buffer.cleared"


class InputAudio(_Body):
    type: Literal["input_audio"] = "input_audio"
    transcript: str | None = None


class Item(_Body):
    """One turn, as the conversation lists it."""

    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    role: Literal["user"] = "user"
    status: Literal["completed"] = "completed"
    content: tuple[InputAudio]

    @classmethod
    def of(cls, item_id: str, transcript: str | None = None) -> Item:
        return cls(id=item_id, content=(InputAudio(transcript=transcript),))


class ItemAdded(ServerEvent):
    type: Literal["conversation.item.added"] = "conversation.item.added"
    previous_item_id: str | None
    item: Item


class ItemDone(ServerEvent):
    type: Literal["conversation.item.done"] = "conversation.item.done"
    previous_item_id: str | None
    item: Item


class ItemCreated(ServerEvent):
    """What OpenAI's beta sends instead of the two above."""

    type: Literal["conversation.item.created"] = "conversation.item.created"
    previous_item_id: str | None
    item: Item


class ItemRetrieved(ServerEvent):
    type: Literal["conversation.item.retrieved"] = "conversation.item.retrieved"
    item: Item


class ItemDeleted(ServerEvent):
    type: Literal["conversation.item.deleted"] = "conversation.item.deleted"
    item_id: str


class Delta(ServerEvent):
    """Words that follow those sent before, and stay as they are."""

    type: Literal["conversation.item.input_audio_transcription.delta"] = (
        "conversation.item.input_audio_transcription.delta"
    )
    item_id: str
    content_index: Literal[0] = 0
    delta: str
    logprobs: tuple[Logprob, ...] | None = None

    sparse = frozenset({"logprobs"})


class TentativeWords(ServerEvent):
    """The words that are likely to follow the deltas, in place of those sent before. There may be
    none."""

    type: Literal["conversation.item.input_audio_transcription.tentative"] = (
        "conversation.item.input_audio_transcription.tentative"
    )
    item_id: str
    content_index: Literal[0] = 0
    text: str


class SegmentHeard(ServerEvent):
    """A sentence. Its times are seconds from the start of the item's audio."""

    type: Literal["conversation.item.input_audio_transcription.segment"] = (
        "conversation.item.input_audio_transcription.segment"
    )
    id: str = Field(default_factory=lambda: new_id("seg"))
    item_id: str
    content_index: Literal[0] = 0
    start: float
    end: float
    speaker: str
    text: str
    translation: str | None = None

    sparse = frozenset({"translation"})


class Duration(_Body):
    type: Literal["duration"] = "duration"
    seconds: float


class SpokenLanguage(_Body):
    code: str


class Completed(ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.completed"] = (
        "conversation.item.input_audio_transcription.completed"
    )
    item_id: str
    content_index: Literal[0] = 0
    transcript: str
    usage: Duration
    languages: tuple[SpokenLanguage, ...] | None = None
    logprobs: tuple[Logprob, ...] | None = None

    sparse = frozenset({"languages", "logprobs"})


class Problem(_Body):
    """What went wrong, and what to do."""

    type: str
    message: str
    code: str | None = None
    param: str | None = None
    event_id: str | None = None

    sparse = frozenset({"code", "param", "event_id"})

    @classmethod
    def of(cls, error: ReflectorError, event_id: str | None = None) -> Problem:
        """``event_id`` is that of the client's event that is at fault."""
        kind = next((kind for family, kind in _KINDS if isinstance(error, family)), "server_error")
        return cls(
            type=kind,
            message=error.message,
            code=error.code,
            param=error.param,
            event_id=event_id,
        )


class SegmentSpeaker(_Body):
    """Who said a segment that was sent before."""

    id: str
    item_id: str
    speaker: str


class SpeakersRetrieved(ServerEvent):
    """Who said what, by all that was heard in the session so far."""

    type: Literal["conversation.speakers.retrieved"] = "conversation.speakers.retrieved"
    segments: tuple[SegmentSpeaker, ...]

    @classmethod
    def of(cls, found: Iterable[Attributed]) -> Self:
        return cls(
            segments=tuple(
                SegmentSpeaker(id=one.id, item_id=one.item_id, speaker=one.speaker) for one in found
            )
        )


class Failed(ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.failed"] = (
        "conversation.item.input_audio_transcription.failed"
    )
    item_id: str
    content_index: Literal[0] = 0
    error: Problem


class ErrorEvent(ServerEvent):
    type: Literal["error"] = "error"
    error: Problem
