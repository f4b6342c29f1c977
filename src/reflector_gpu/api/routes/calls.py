"""Realtime transcription over WebRTC: calls, which clients open by HTTP."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import realtime_openapi, sessions
from reflector_gpu.api.dependencies import AppCalls, AppIntake, AppMetrics, AppService
from reflector_gpu.api.errors import ANY_FAILURE
from reflector_gpu.api.form_values import json_values
from reflector_gpu.api.upload import Form, read_form
from reflector_gpu.audio.spool import IN_MEMORY, Spool
from reflector_gpu.errors import InvalidRequest, UnsupportedMediaType
from reflector_gpu.realtime.conversation import Line
from reflector_gpu.realtime.dialects import Today
from reflector_gpu.stages import telling
from reflector_gpu.types import Priority

router = APIRouter(tags=["realtime"])

logger = logging.getLogger("reflector_gpu.calls")

SDP = "application/sdp"
_MAX_BYTES = 200_000
_FORM = "multipart/form-data"


@router.post("/v1/realtime/calls", status_code=201, openapi_extra=realtime_openapi.calls)
async def open_call(
    request: Request, intake: AppIntake, service: AppService, metrics: AppMetrics, calls: AppCalls
) -> Response:
    """Transcribe what is said while it is spoken: a call over WebRTC.

    The body is the SDP offer of an RTCPeerConnection with an audio track and the data channel
    `oai-events`, and the answer is its SDP answer. Events are those of the WebSocket. `Location`
    has the address of the call.
    """
    client: str = getattr(request.state, "client", "")
    async with intake.admit(request, Priority.LIVE) as context:
        service.recordings.live_load.check()
        intake.check_query(request, ("model",))
        body = await intake.body(context, _MAX_BYTES)
        offer, told = await _parts(request, body)
        configuration = sessions.begun(service, request, request.query_params.get("model"))
        configuration = await sessions.checked(service, client, configuration.updated(told))
        opening = sessions.Opening(service, metrics, request, configuration, Today())

        async def hold(line: Line) -> None:
            began = time.monotonic()
            record: dict[str, str | int | float] = {}
            try:
                with telling(metrics.stage):  # the request that has opened the call is over
                    await opening.hold(line, record)
            finally:
                _log(time.monotonic() - began, record)

        call_id, answer = await calls.open(offer, client, hold)
    location = f"{request.url.path}/{call_id}"
    return Response(answer, 201, {"Location": location}, media_type=SDP)


@router.post(
    "/v1/realtime/calls/{call_id}/hangup",
    responses={"default": ANY_FAILURE},
    openapi_extra=realtime_openapi.HANGUP,
)
async def hang_up(call_id: str, request: Request, calls: AppCalls) -> Response:
    """End a call. What was said last is not transcribed."""
    await calls.hang_up(call_id, getattr(request.state, "client", ""))
    return Response()


async def _parts(request: Request, body: bytes) -> tuple[str, dict[str, object]]:
    """The offer in the ``body``, and what it says of the session."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == SDP:
        return _text(body), {}
    if kind != _FORM:
        raise UnsupportedMediaType(
            f"Send the SDP offer as {SDP}, or in the field 'sdp' of a form ({_FORM}) that may have "
            "a 'session' beside it."
        )
    with await _form(content_type, body) as form:
        offer = form.files[0].spool.in_memory if form.files else None
    if offer is None:
        raise InvalidRequest("The form has no SDP offer; send it as 'sdp'.", param="sdp")
    session = dict(form.fields).get("session")
    return _text(offer), json_values(session.encode()) if session else {}


async def _form(content_type: str, body: bytes) -> Form:
    async def whole() -> AsyncIterator[bytes]:
        yield body

    return await read_form(
        content_type,
        whole(),
        spool=lambda: Spool(IN_MEMORY),
        max_bytes=_MAX_BYTES,
        max_files=1,
        file_fields=("sdp",),
    )


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("The SDP offer is not UTF-8.", param="sdp") from None


def _log(seconds: float, record: Mapping[str, str | int | float]) -> None:
    turns, audio = record.get("turns", 0), record.get("audio", 0.0)
    logger.info("A call of %.1f s has ended: turns=%s audio=%ss", seconds, turns, audio)
