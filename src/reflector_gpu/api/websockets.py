"""WebSockets before they are open: keys in their subprotocols, and how one is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from reflector_gpu.api.errors import error_response, record_failure
from reflector_gpu.errors import Overloaded, ReflectorError, Unavailable
from reflector_gpu.realtime.server_events import ErrorEvent, Problem

SUBPROTOCOL = "realtime"

_KEY = b"openai-insecure-api-key."
"""A browser can send no header, so the SDKs put the key behind this into a subprotocol."""

_VIOLATION, _TRY_AGAIN = 1008, 1013  # close codes of RFC 6455


def subprotocol_keys(header: bytes) -> Iterator[bytes]:
    """The keys in a ``Sec-WebSocket-Protocol`` header."""
    for name in header.split(b","):
        if name.strip().startswith(_KEY):
            yield name.strip().removeprefix(_KEY)


def accepted_subprotocol(offered: Iterable[str]) -> str | None:
    """What to answer to the subprotocols that a client offers."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def speaks_beta(websocket: WebSocket) -> bool:
    """Whether the client speaks the beta of OpenAI's protocol."""
    offered = websocket.scope["subprotocols"]
    header = websocket.headers.get("openai-beta", "")
    return "openai-beta.realtime-v1" in offered or "realtime=v1" in header


async def refuse(error: ReflectorError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request or an opening WebSocket with ``error``.

    A browser does not show its page the status of a WebSocket that did not open, and SDKs try again
    then. So a client that offers our subprotocol, as they do, gets the error in an event.
    """
    if scope["type"] == "websocket" and accepted_subprotocol(scope.get("subprotocols", ())):
        record_failure(scope, error)
        websocket = WebSocket(scope, receive, send)
        await websocket.accept(SUBPROTOCOL)
        await websocket.send_text(ErrorEvent(error=Problem.of(error)).model_dump_json())
        again = isinstance(error, Overloaded | Unavailable)
        await websocket.close(_TRY_AGAIN if again else _VIOLATION, error.code)
        return
    await error_response(error)(scope, receive, send)
