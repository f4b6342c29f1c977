"""A server that speaks vLLM's form of the OpenAI API, as well or as badly as it is told to."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.loopback import Loopback, Quiet

KEY = "upstream-key"
MODEL = "org/some-model"


@dataclass
class Reply:
    """The answer to one request: ``pieces`` as a stream, or ``body`` with its ``status``."""

    pieces: Sequence[str | Mapping[str, object]] = ("Hello", " there", ".")
    """Text, or whole deltas."""
    finish: str | None = "stop"
    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks_after: int | None = None
    """The connection breaks after so many pieces."""
    instead: str | None = None
    """An event in the place of the last piece."""
    holds: bool = False
    """Nothing but the first piece comes until the client leaves."""


class Stub(Loopback):
    """Listens inside the ``with`` block. Gives ``replies`` in turn, then good ones."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked: list[dict[str, Any]] = []
        """The bodies of all requests."""
        self.keys: list[str | None] = []
        self.left = threading.Event()
        """A client left while it was made to wait."""
        self._closing = threading.Event()
        super().__init__(self._handler())

    @property
    def url(self) -> str:
        return f"{super().url}/v1"

    def let_go(self) -> None:
        self._closing.set()

    def _handler(self) -> type[Quiet]:
        stub = self

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stub.asked.append({**json.loads(body), "path": self.path})
                stub.keys.append(self.headers.get("Authorization"))
                reply = stub.replies.pop(0) if stub.replies else Reply()
                with suppress(ConnectionError):
                    if reply.body is not None or reply.status != 200:
                        self._refuse(reply)
                    else:
                        self._stream(reply)

            def _refuse(self, reply: Reply) -> None:
                body = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(body.encode())))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def _stream(self, reply: Reply) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream; charset=utf-8")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self._say({"role": "assistant", "content": ""})
                for number, piece in enumerate(reply.pieces):
                    if number == reply.breaks_after:
                        self.close_connection = True
                        self.connection.shutdown(socket.SHUT_RDWR)
                        return
                    if reply.holds and number == 1:
                        self._wait()
                    if reply.instead is not None and number == len(reply.pieces) - 1:
                        self._chunk(f"data: {reply.instead}\n\n")
                        break
                    self._say({"content": piece} if isinstance(piece, str) else piece)
                if reply.finish and reply.instead is None:
                    self._say({"content": ""}, reply.finish)
                    count = len(reply.pieces)
                    self._event(
                        [],
                        usage={
                            "prompt_tokens": 7,
                            "total_tokens": 7 + count,
                            "completion_tokens": count,
                        },
                    )
                self._chunk("data: [DONE]\n\n")
                self.wfile.write(b"0\r\n\r\n")

            def _say(self, delta: Mapping[str, object], finish: str | None = None) -> None:
                choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
                self._event([choice])

            def _event(self, choices: list[object], **others: object) -> None:
                event = {
                    "id": "chatcmpl-1",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": MODEL,
                    "choices": choices,
                    **others,
                }
                self._chunk(f"data: {json.dumps(event)}\n\n")

            def _chunk(self, text: str) -> None:
                """In two HTTP chunks: readers must not count on whole events."""
                data = text.encode()
                middle = len(data) // 2
                for part in (data[:middle], data[middle:]):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()

            def _wait(self) -> None:
                while not stub._closing.wait(0.01):
                    readable, _, _ = select.select([self.connection], [], [], 0)
                    if readable and not self.connection.recv(1, socket.MSG_PEEK):
                        stub.left.set()
                        raise ConnectionResetError

        return Handler
