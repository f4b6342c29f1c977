"""Realtime transcription: OpenAI's protocol over a WebSocket."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from reflector_gpu.api.conversation import Conversation
from reflector_gpu.api.dependencies import AppMetrics, AppService
from reflector_gpu.api.request_record import record_of
from reflector_gpu.api.websockets import accepted_subprotocol, refuse
from reflector_gpu.errors import Overloaded
from reflector_gpu.realtime.configuration import Configuration
from reflector_gpu.realtime.recognition import ServiceSpeech
from reflector_gpu.realtime.session import Session
from reflector_gpu.service import Service
from reflector_gpu.types import Priority

router = APIRouter(tags=["realtime"])


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket, service: AppService, metrics: AppMetrics) -> None:
    """Send words while people speak."""
    client: str = getattr(websocket.state, "client", "")
    try:
        service.admission.check(Priority.LIVE, client)
    except Overloaded as error:
        await refuse(error, websocket.scope, websocket.receive, websocket.send)
        return
    await websocket.accept(accepted_subprotocol(websocket.scope["subprotocols"]))
    conversation = Conversation(websocket, service.settings.request_seconds)
    session = Session(
        ServiceSpeech(service, client, metrics.audio),
        _configuration(service, websocket.query_params.get("model")),
        conversation.send,
        lifetime=conversation.lifetime,
    )
    try:
        await conversation.hold(session)
    finally:
        details = record_of(websocket.scope).details
        details |= {"turns": str(session.turns), "audio": f"{session.seconds:.2f}s"}


def _configuration(service: Service, model: str | None) -> Configuration:
    """What a session begins with. A ``model`` that we do not know is a language model of OpenAI's,
    which some clients name because their sessions with it would transcribe as well."""
    if model is None or not service.recognisers.knows(model):
        return Configuration()
    return Configuration().updated({"audio": {"input": {"transcription": {"model": model}}}})
