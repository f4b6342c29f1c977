"""The events that a client sends."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.realtime.configuration import misfit

_LONGEST_ID = 512


class _ClientEvent(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class UpdateSession(_ClientEvent):
    type: Literal["session.update", "transcription_session.update"]
    session: dict[str, Any]


class AppendAudio(_ClientEvent):
    type: Literal["input_audio_buffer.append"]
    audio: str


class CommitAudio(_ClientEvent):
    type: Literal["input_audio_buffer.commit"]


class ClearAudio(_ClientEvent):
    type: Literal["input_audio_buffer.clear"]


class RetrieveItem(_ClientEvent):
    type: Literal["conversation.item.retrieve"]
    item_id: str = Field(max_length=_LONGEST_ID)


class DeleteItem(_ClientEvent):
    type: Literal["conversation.item.delete"]
    item_id: str = Field(max_length=_LONGEST_ID)


class RetrieveSpeakers(_ClientEvent):
    """Ours: asks who said what, by all that has been heard so far."""

    type: Literal["conversation.speakers.retrieve"]


class StopOutput(_ClientEvent):
    """Asks for an end of what this server never begins, so it has nothing to do."""

    type: Literal["response.cancel", "output_audio_buffer.clear"]


_Unanswered: TypeAlias = Literal[
    "response.create", "conversation.item.create", "conversation.item.truncate"
]


class Unsupported(_ClientEvent):
    """Asks for what a session that only transcribes cannot do."""

    type: _Unanswered


ClientEvent: TypeAlias = (
    UpdateSession
    | AppendAudio
    | CommitAudio
    | ClearAudio
    | RetrieveItem
    | DeleteItem
    | RetrieveSpeakers
    | StopOutput
    | Unsupported
)

_ADAPTER: TypeAdapter[ClientEvent] = TypeAdapter(
    Annotated[ClientEvent, Field(discriminator="type")]
)

_TYPES = tuple(_ADAPTER.json_schema()["discriminator"]["mapping"])
_USEFUL = [kind for kind in _TYPES if kind not in get_args(_Unanswered)]


class MalformedEvent(InvalidRequest):
    """What a client sent is no event. ``event_id`` is the client's own, if it gave one."""

    def __init__(self, message: str, param: str | None, event_id: str | None = None) -> None:
        super().__init__(message, param=param)
        self.event_id = event_id


def parsed(text: str | bytes) -> tuple[ClientEvent, str | None]:
    """The event that ``text`` holds, and the id that the client has given it.

    Raises:
        MalformedEvent: there is no such event.
    """
    try:
        sent: object = from_json(text)
    except ValueError as error:
        raise MalformedEvent(f"The event is not JSON ({error}).", None) from None
    if not isinstance(sent, dict):
        raise MalformedEvent("An event must be a JSON object with a 'type'.", None)
    event_id = sent.get("event_id")
    event_id = event_id[:_LONGEST_ID] if isinstance(event_id, str) else None
    try:
        return _ADAPTER.validate_python(sent), event_id
    except ValidationError as error:
        raise _malformed(sent, error, event_id) from None


def _malformed(
    sent: dict[str, object], error: ValidationError, event_id: str | None
) -> MalformedEvent:
    if sent.get("type") not in _TYPES:
        listed = ", ".join(_USEFUL)
        return MalformedEvent(f"There is no such type of event; send one of {listed}.", "type")
    problem = misfit(error)
    # Pydantic puts the type in front of the field.
    kind = f"{sent['type']}."
    param = (problem.param or "").removeprefix(kind)
    return MalformedEvent(problem.message.removeprefix(kind), param, event_id)
