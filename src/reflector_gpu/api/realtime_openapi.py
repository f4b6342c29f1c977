"""The OpenAPI description of realtime sessions, their client secrets and their calls."""

from __future__ import annotations

from pydantic import JsonValue

from reflector_gpu.api.openapi_parts import (
    ERRORS,
    Extra,
    answers,
    failures,
    inlined,
    json_in,
    later,
)
from reflector_gpu.api.realtime_fields import (
    BetaSessionAnswer,
    BetaSessionFields,
    ClientSecretAnswer,
    ClientSecretFields,
)
from reflector_gpu.realtime.configuration import Configuration

_SECRET_ERRORS = {
    **{status: ERRORS[status] for status in ("401", "429")},
    "400": "A field cannot be used",
    "404": "Unknown model",
}

_PARAMETERS: list[JsonValue] = [
    {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": "string"},
    }
    for name, description in {
        "intent": "`transcription`, or left out: this server does nothing else.",
        "model": "The model of `session.audio.input.transcription.model`.",
        "call_id": "The id of a WebRTC call to take part in, in place of a new session: its "
        "events come here, too, and it takes events from here.",
    }.items()
]


@later
def realtime() -> Extra:
    return {
        "parameters": [*_PARAMETERS],
        "responses": {
            "101": {
                "description": "The WebSocket is open, and `session.created` is its first message",
                "content": {"application/json": {"schema": inlined(Configuration)}},
            },
            **failures(
                {
                    "400": "No WebSocket was asked for",
                    **{status: ERRORS[status] for status in ("401", "429")},
                    "403": "A page of another origin asks without a key",
                    "404": "There is no such call",
                }
            ),
        },
    }


@later
def client_secrets() -> Extra:
    return {
        "requestBody": json_in(ClientSecretFields),
        "responses": answers(ClientSecretAnswer, example=None, errors=_SECRET_ERRORS),
    }


@later
def beta_sessions() -> Extra:
    return {
        "requestBody": json_in(BetaSessionFields),
        "responses": answers(BetaSessionAnswer, example=None, errors=_SECRET_ERRORS),
    }


_SDP: Extra = {"schema": {"type": "string"}, "example": "v=0\r\no=- ..."}


@later
def calls() -> Extra:
    return {
        "parameters": [*_PARAMETERS],
        "requestBody": {
            "required": True,
            "content": {
                "application/sdp": _SDP,
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "sdp": {"type": "string", "description": "The offer."},
                            "session": inlined(Configuration),
                        },
                        "required": ["sdp"],
                    },
                    "encoding": {
                        "sdp": {"contentType": "application/sdp"},
                        "session": {"contentType": "application/json"},
                    },
                },
            },
        },
        "responses": {
            "201": {
                "description": "The SDP answer",
                "content": {"application/sdp": _SDP},
                "headers": {
                    "Location": {
                        "description": "The address of the call",
                        "schema": {"type": "string"},
                    }
                },
            },
            **failures(
                {
                    **{status: ERRORS[status] for status in ("401", "404", "413", "429")},
                    "400": "The offer or a field cannot be used",
                    "415": "The body is neither SDP nor a form",
                    "503": "The server takes no calls, or its model still loads; see Retry-After",
                }
            ),
        },
    }


HANGUP: Extra = {"responses": {"200": {"description": "The call has ended"}}}
