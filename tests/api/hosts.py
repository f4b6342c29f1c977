"""An audio host on loopback that can stall, break off and misbehave."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.loopback import Loopback, Quiet

_PIECE = 1 << 16


@dataclass
class Answer:
    """What a path gives: all of ``body``, or its first ``pause_at`` bytes until `resume`."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_at: int | None = None
    cut_at: int | None = None
    """The connection breaks here."""
    cuts: list[int] = field(default_factory=list)
    """Or here, once each, before all goes well."""
    paused: threading.Event = field(default_factory=threading.Event)
    resumed: threading.Event = field(default_factory=threading.Event)
    abandoned: threading.Event = field(default_factory=threading.Event)
    """The client left while the answer was paused."""


class AudioHost(Loopback):
    """Listens inside the ``with`` block. `asked` are the targets of all requests.

    What has an ``ETag`` can be asked for from some byte on; `ranges` are those that were. It takes
    whatever is put to it, and keeps nothing.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self._answers: dict[str, Answer] = {}
        super().__init__(self._handler())

    def put(self, target: str, answer: Answer) -> str:
        """The URL of ``target``, whose path gives ``answer`` from now on."""
        self._answers[urlsplit(target).path] = answer
        return f"{self.url}{target}"

    def let_go(self) -> None:
        for answer in self._answers.values():
            answer.resumed.set()

    def _handler(self) -> type[Quiet]:
        host = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                answer = host._answers.get(urlsplit(self.path).path, Answer(status=404))
                with suppress(ConnectionError):
                    self._send(answer)

            def do_PUT(self) -> None:
                left = int(self.headers.get("Content-Length", 0))
                while left > 0 and (piece := self.rfile.read(min(left, _PIECE))):
                    left -= len(piece)
                self.send_response(200)
                self.end_headers()

            def _send(self, answer: Answer) -> None:
                first, size = 0, len(answer.body)
                headers = {"Content-Length": str(size), **answer.headers}
                wanted = self.headers.get("Range")
                if wanted and "ETag" in headers:
                    host.ranges.append(wanted)
                    first = int(wanted.removeprefix("bytes=").removesuffix("-"))
                    headers["Content-Length"] = str(size - first)
                    headers["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
                self.send_response(206 if first else answer.status)
                for name, value in headers.items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                cut = answer.cuts.pop(0) if answer.cuts else answer.cut_at
                if answer.pause_at is None:
                    self.wfile.write(answer.body[first:cut])
                    return
                self.wfile.write(answer.body[first : answer.pause_at])
                answer.paused.set()
                while not answer.resumed.wait(0.01):
                    if _has_left(self.connection):
                        answer.abandoned.set()
                        return
                self.wfile.write(answer.body[answer.pause_at : cut])

        return Handler


def _has_left(connection: socket.socket) -> bool:
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and not connection.recv(1, socket.MSG_PEEK)
