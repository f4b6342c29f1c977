"""Where the server puts files: a host on loopback that takes them, or refuses in some way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.loopback import Loopback, Quiet

_PIECE = 65_536


@dataclass
class Reception:
    """What a path does with what is put to it.

    ``chunked`` is the status for bodies of unknown length, and ``status`` for others; from 300 on
    the answer comes before the body is read, and an ``abrupt`` receiver does not read it at all.
    ``cut_at`` so many bytes the connection is closed without an answer, once, and with ``silent``
    no answer ever comes.
    """

    status: int = 200
    chunked: int | None = None
    said: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    silent: bool = False
    abrupt: bool = False
    begun: threading.Event = field(default_factory=threading.Event)
    """The first byte of a body is here."""
    left: threading.Event = field(default_factory=threading.Event)
    """The sender broke off in the middle of a body."""


@dataclass(frozen=True)
class Put:
    """A request that came, and what of its body was read."""

    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding") == "chunked"


class Receiver(Loopback):
    """Listens inside the ``with`` block. ``puts`` are all requests whose answers are decided."""

    def __init__(self) -> None:
        self.puts: list[Put] = []
        self._receptions: dict[str, Reception] = {}
        self._closed = threading.Event()
        super().__init__(self._handler())

    def at(self, target: str, reception: Reception) -> str:
        """The URL of ``target``, whose path has this ``reception`` from now on."""
        self._receptions[urlsplit(target).path] = reception
        return f"{self.url}{target}"

    def got(self, path: str) -> list[Put]:
        """What was put to ``path``, in order."""
        return [put for put in self.puts if urlsplit(put.target).path == path]

    def let_go(self) -> None:
        self._closed.set()

    def _handler(self) -> type[Quiet]:
        receiver = self

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                reception = receiver._receptions[urlsplit(self.path).path]
                body = bytearray()
                with suppress(ConnectionError):
                    self._receive(reception, body)
                self.close_connection = True

            def _receive(self, reception: Reception, body: bytearray) -> None:
                chunked = self.headers.get("Transfer-Encoding") == "chunked"
                status = reception.status
                if chunked and reception.chunked is not None:
                    status = reception.chunked
                if status < 300:
                    try:
                        for piece in self._chunks() if chunked else self._pieces():
                            body += piece
                            reception.begun.set()
                            if reception.cut_at is not None and len(body) >= reception.cut_at:
                                reception.cut_at = None
                                self._note(body)
                                return
                    except (ConnectionError, EOFError):
                        reception.left.set()
                        return
                self._note(body)
                if reception.silent:
                    reception.begun.set()
                    receiver._closed.wait()
                    return
                self.send_response(status)
                for name, value in reception.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reception.said)))
                self.end_headers()
                self.wfile.write(reception.said)
                if status >= 300 and not reception.abrupt:
                    self.connection.shutdown(socket.SHUT_WR)
                    while self.rfile.read1(_PIECE):
                        pass

            def _note(self, body: bytearray) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.puts.append(Put(self.path, headers, bytes(body)))

            def _pieces(self) -> Iterator[bytes]:
                left = int(self.headers["Content-Length"])
                while left:
                    yield (piece := self._read(min(left, _PIECE)))
                    left -= len(piece)

            def _chunks(self) -> Iterator[bytes]:
                while size := int(self._line(), 16):
                    yield self._read(size)
                    self._line()
                self._line()

            def _line(self) -> bytes:
                line = self.rfile.readline()
                if not line:
                    raise EOFError
                return line

            def _read(self, size: int) -> bytes:
                data = self.rfile.read(size)
                if len(data) < size:
                    raise EOFError
                return data

        return Handler
