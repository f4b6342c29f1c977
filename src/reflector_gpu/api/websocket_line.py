"""An open WebSocket as the line of a realtime conversation."""

from __future__ import annotations

from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from reflector_gpu.api.websocket_connection import signals_of


class WebSocketLine:
    """Fulfils `reflector_gpu.realtime.conversation.Line`."""

    def __init__(self, websocket: WebSocket) -> None:
        signals = signals_of(websocket.scope)
        self.stopping = signals.stopping
        self.gone = signals.gone
        self._websocket = websocket

    async def receive(self) -> str | bytes | None:
        """The client's next event; None once it has left."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        data: bytes | None = message.get("bytes")
        return data if text is None else text

    async def send(self, text: str) -> None:
        """Send an event, unless the client has left."""
        with suppress(WebSocketDisconnect, RuntimeError):  # a RuntimeError once that is known
            await self._websocket.send_text(text)

    async def close(self, code: int, reason: str) -> None:
        """Close the WebSocket, unless it is closed."""
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._websocket.close(code, reason)
