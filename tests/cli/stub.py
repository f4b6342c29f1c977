"""A server that answers what it is told to: for what a real one does only on bad days."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reflector_gpu.formats import openai
from reflector_gpu.formats.stream_events import StreamEvent
from reflector_gpu.types import Segment, Transcript, Word
from tests.loopback import Loopback, Quiet

SPOKEN = Transcript(
    (
        Segment.of(
            [Word("Hello", 0.5, 0.9), Word("you", 1.0, 1.2, speaker="A"), Word("you", 1.3, 2)]
        ),
        Segment.of([Word("今", 3.0, 3.2), Word("日", 3.2, 3.5, glued=True), Word("ok", 4.0, 4.5)]),
        Segment.of([Word("語", 4.6, 4.8, glued=True), Word("hm", 4.8, 4.9)]),
        Segment(5.0, 6.0, "a\u2028b"),
    ),
    "ja",
    7.0,
)


TOLD_APART = Transcript(
    (
        replace(Segment.of([Word("OK", 0.5, 0.9), Word("?", 0.9, 1.0, glued=True)]), speaker="A"),
        replace(Segment.of([Word("Yes", 1.5, 1.9)]), speaker="B"),
    ),
    "en",
    2.0,
)


def stream(transcript: Transcript = SPOKEN) -> str:
    """The events of ``transcript``, as a server sends them."""
    first, *others = transcript.segments
    events: list[StreamEvent] = [openai.delta(first)]
    events += [openai.next_delta(segment) for segment in others]
    if first.speaker:
        events += openai.segment_events(transcript.segments)
    events.append(openai.done(transcript))
    sent = [openai.server_sent(event) for event in events]
    return ": still working\n\n".join([*sent, openai.STREAM_END])


@dataclass(frozen=True)
class Reply:
    body: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class StubServer(Loopback):
    """Gives ``replies`` in turn; after the last it stays silent until the block ends.

    ``silent`` is set once a client waits for nothing. ``asked`` are the requests' paths, headers
    and bodies.
    """

    def __init__(self, replies: Sequence[Reply] = ()) -> None:
        self.asked: list[tuple[str, Mapping[str, str], bytes]] = []
        self.silent = threading.Event()
        self._ended = threading.Event()
        self._replies = iter(replies)
        super().__init__(self._handler())

    def let_go(self) -> None:
        self._ended.set()

    def _handler(self) -> type[Quiet]:
        stub = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def _answer(self, body: bytes) -> None:
                stub.asked.append((self.path, dict(self.headers), body))
                reply = next(stub._replies, None)
                if reply is None:
                    stub.silent.set()
                    stub._ended.wait()
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Connection": "close"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body.encode())

        return Handler
