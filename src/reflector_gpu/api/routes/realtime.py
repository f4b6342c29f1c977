"""Realtime transcription: OpenAI's protocol over a WebSocket, and its client secrets."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter, Request, WebSocket
from pydantic import BaseModel
from starlette.responses import Response

from reflector_gpu.api import realtime_openapi, responses, route_fields, sessions
from reflector_gpu.api.access import NAMED_KEY
from reflector_gpu.api.dependencies import (
    AppCalls,
    AppClientSecrets,
    AppIntake,
    AppMetrics,
    AppService,
)
from reflector_gpu.api.form_values import json_values
from reflector_gpu.api.realtime_fields import BetaSecret, BetaSessionAnswer, ClientSecretAnswer
from reflector_gpu.api.request_record import record_of
from reflector_gpu.api.websocket_line import WebSocketLine
from reflector_gpu.api.websockets import accepted_subprotocol, refuse, speaks_beta
from reflector_gpu.errors import InvalidRequest, Overloaded, ReflectorError
from reflector_gpu.realtime.client_secrets import ClientSecret, ClientSecrets
from reflector_gpu.realtime.configuration import Configuration
from reflector_gpu.realtime.dialects import Beta, Today
from reflector_gpu.realtime.server_events import BetaSession, new_id
from reflector_gpu.realtime.server_events import Session as ShownSession
from reflector_gpu.service import Service
from reflector_gpu.store.keys import ApiKey
from reflector_gpu.types import Priority
from reflector_gpu.webrtc.calls import Calls

router = APIRouter(tags=["realtime"])

_MAX_JSON_BYTES = 100_000


@router.get("/v1/realtime", status_code=101, openapi_extra=realtime_openapi.realtime)
async def explain_realtime() -> None:
    """Transcribe what is said while it is spoken: a WebSocket in OpenAI's Realtime protocol.

    Send 16-bit PCM at 24 kHz as `input_audio_buffer.append`; deltas come while somebody speaks, and
    the transcript of each turn when it has ended. The settings of `session.update` that have an
    effect are those below. Beyond OpenAI's, `format` takes PCM at 8, 16 and 48 kHz.
    """
    raise InvalidRequest("/v1/realtime is a WebSocket: send the headers that open one.")


@router.websocket("/v1/realtime")
async def realtime(
    websocket: WebSocket, service: AppService, metrics: AppMetrics, calls: AppCalls
) -> None:
    """Send words while somebody speaks."""
    client: str = getattr(websocket.state, "client", "")
    if call_id := websocket.query_params.get("call_id"):
        await _join(websocket, calls, call_id, client)
        return
    try:
        sessions.check_room(service, client)
    except Overloaded as error:
        await refuse(error, websocket.scope, websocket.receive, websocket.send)
        return
    await websocket.accept(accepted_subprotocol(websocket.scope["subprotocols"]))
    configuration = sessions.begun(service, websocket, websocket.query_params.get("model"))
    dialect = Beta() if speaks_beta(websocket) else Today()
    opening = sessions.Opening(service, metrics, websocket, configuration, dialect)
    await opening.hold(WebSocketLine(websocket), record_of(websocket.scope).details)


async def _join(websocket: WebSocket, calls: Calls, call_id: str, client: str) -> None:
    """Take part in a call that the client has opened over WebRTC."""
    with ExitStack() as held:
        try:
            line = calls.line(call_id, client)
            held.enter_context(line.place())
        except ReflectorError as error:
            await refuse(error, websocket.scope, websocket.receive, websocket.send)
            return
        await websocket.accept(accepted_subprotocol(websocket.scope["subprotocols"]))
        await line.join(WebSocketLine(websocket))


@router.post("/v1/realtime/client_secrets", openapi_extra=realtime_openapi.client_secrets)
async def create_client_secret(
    request: Request, intake: AppIntake, service: AppService, known: AppClientSecrets
) -> Response:
    """Make a key that a web page may hold: it opens realtime sessions, for a few minutes."""
    async with intake.admit(request, Priority.LIVE) as context:
        intake.check_query(request)
        values = json_values(await intake.body(context, _MAX_JSON_BYTES) or b"{}")
        fields = intake.fields(request, route_fields.CLIENT_SECRETS, values)
        secret = await _secret(request, service, known, fields.session or {}, fields.seconds)
    shown = ShownSession.of(new_id("sess"), _ends(service), secret.configuration)
    return _with_nulls(
        ClientSecretAnswer(value=secret.value, expires_at=secret.expires_at, session=shown)
    )


@router.post("/v1/realtime/transcription_sessions", openapi_extra=realtime_openapi.beta_sessions)
async def create_transcription_session(
    request: Request, intake: AppIntake, service: AppService, known: AppClientSecrets
) -> Response:
    """Make a client secret as OpenAI's beta did."""
    async with intake.admit(request, Priority.LIVE) as context:
        intake.check_query(request)
        values = json_values(await intake.body(context, _MAX_JSON_BYTES) or b"{}")
        fields = intake.fields(request, route_fields.BETA_SESSIONS, values)
        told = fields.model_dump(exclude_unset=True, exclude={"client_secret", "modalities"})
        secret = await _secret(request, service, known, told, fields.seconds)
    shown = BetaSession.of(new_id("sess"), _ends(service), secret.configuration)
    made = BetaSecret(value=secret.value, expires_at=secret.expires_at)
    return _with_nulls(BetaSessionAnswer(**dict(shown), client_secret=made))


def _with_nulls(answer: BaseModel) -> Response:
    """``answer`` as the events of a session show it: no ``turn_detection`` is null, not absent."""
    return Response(answer.model_dump_json(), media_type=responses.JSON)


async def _secret(
    request: Request,
    service: Service,
    known: ClientSecrets,
    session: dict[str, Any],
    seconds: int,
) -> ClientSecret:
    """A secret of the client, whose sessions begin with the configuration that it sent."""
    client: str = getattr(request.state, "client", "")
    configuration = await sessions.checked(service, client, Configuration().updated(session))
    key: ApiKey | None = getattr(request.state, NAMED_KEY, None)
    return known.create(client, configuration, seconds, key.id if key else None)


def _ends(service: Service) -> int:
    """When a session ends that begins now."""
    return int(time.time() + service.settings.request_seconds)
