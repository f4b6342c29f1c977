"""Realtime sessions whose clients send nonsense, too much, or nothing, or that vanish."""

from __future__ import annotations

import base64
import json
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode

from reflector_gpu.api import websocket_connection
from reflector_gpu.types import Samples
from tests.api.realtime.client import COMPLETED, SIXTEEN, Client, pcm, silence
from tests.api.support import Gate, error_of, eventually, running
from tests.live import KEY, LiveServer

TYPES = (
    "session.update",
    "transcription_session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.retrieve",
    "conversation.item.delete",
    "conversation.item.create",
    "response.create",
    "response.cancel",
    "made.up",
)
FIELDS = ("event_id", "session", "audio", "item_id", "type", "input", "turn_detection", "format")
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    10**400,
    float("nan"),
    "",
    "\x00",
    "\ud800",
    "server_vad",
    "audio/pcm",
    "AAAA",
    "A",
    "=" * 50,
    base64.b64encode(b"\x01" * 999).decode(),
    [],
    {},
    [[[]]],
)
RAW = (
    "",
    "null",
    "[]",
    "1",
    '"text"',
    "{",
    "\x00",
    '{"type": "session.update"',
    "[" * 100_000,
    '{"a":' * 5_000,
    '{"type": ' + "9" * 10_000 + "}",
    '{"type": "input_audio_buffer.append", "audio": "' + "A" * 100_001 + '"}',
)


def value(dice: random.Random, depth: int = 0) -> Any:
    if depth < 3 and dice.random() < 0.4:
        return {dice.choice(FIELDS): value(dice, depth + 1) for _ in range(dice.randint(0, 4))}
    return dice.choice(VALUES)


def messages(count: int) -> Iterator[str | bytes]:
    """Malformed events, and some that are well formed and make no sense."""
    dice = random.Random(20)
    for number in range(count):
        if number % 20 == 0:
            yield dice.choice(RAW)
            continue
        event = {"type": dice.choice(TYPES), **{dice.choice(FIELDS): value(dice) for _ in range(3)}}
        if dice.random() < 0.8:
            event["type"] = dice.choice(TYPES)
        text = json.dumps(event)
        cut = dice.random() < 0.1
        text = text[: dice.randrange(len(text))] if cut else text
        yield text.encode() if dice.random() < 0.2 else text


def test_nothing_that_a_client_says_ends_its_session(
    scripted: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(scripted) as client:
        for number, message in enumerate(messages(1000), 1):
            client.socket.send(message)
            if number % 50 == 0:  # read what was answered, which is no more than the socket holds
                client.send("conversation.item.retrieve", item_id="x", event_id=f"n{number}")
                while client.next().get("error", {}).get("event_id") != f"n{number}":
                    pass
        client.send("session.update", session={"audio": {"input": {"format": SIXTEEN}}})
        while client.next()["type"] != "session.updated":
            pass
    errors = [event for event in client.received if event["type"] == "error"]
    assert len(errors) > 500
    for event in errors:
        assert event["error"]["message"]
        assert None not in event["error"].values()
        assert "reflector_gpu" not in json.dumps(event)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("opcode", "data", "code"),
    [
        (Opcode.TEXT, b"\xff\xfe", 1007),
        (Opcode.CONT, b"", 1002),
        (Opcode.PING, b"a" * 126, 1002),
    ],
    ids=["no text", "a continuation of nothing", "a long ping"],
)
def test_frames_that_are_none_end_the_session_politely(
    scripted: LiveServer, opcode: Opcode, data: bytes, code: int
) -> None:
    with Client(scripted) as client:
        client.socket.socket.sendall(frame(opcode, data))
        assert closed_with(client) == code


def test_a_message_that_is_too_long_ends_the_session(scripted: LiveServer) -> None:
    with Client(scripted) as client:
        client.socket.socket.sendall(b"\x81\xff" + struct.pack("!Q", 2**40) + b"mask")
        assert closed_with(client) == 1009


def test_a_message_in_ever_more_frames_ends_the_session(scripted: LiveServer) -> None:
    with Client(scripted) as client:
        frames = frame(Opcode.TEXT, b"", fin=False) + 10_001 * frame(Opcode.CONT, b"", fin=False)
        client.socket.socket.sendall(frames)
        assert closed_with(client) == 1009


def test_long_messages_of_many_clients_do_not_fill_the_memory(
    scripted: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_connection, "MOST_UNFINISHED", 5_000_000)
    with Client(scripted) as first, Client(scripted) as second:
        begun = b"\x81\xff" + struct.pack("!Q", 4_000_000) + bytes(4)
        first.socket.socket.sendall(begun + bytes(3_000_000))
        eventually(lambda: 3_000_000 in [getattr(one, "unfinished", 0) for one in scripted.open])
        second.socket.socket.sendall(begun + bytes(3_000_000))
        assert closed_with(second) == 1013
        first.socket.socket.sendall(bytes(1_000_000))  # what is no event is an error, and no end
        first.next()
        assert first.next()["type"] == "error"


def test_a_head_that_is_too_long_for_a_websocket_is_refused(scripted: LiveServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        Client(scripted, headers={"X-Long": "a" * 20_000})
    assert refused.value.response.status_code == 431


def test_a_request_that_is_no_websocket_is_told_so(scripted: LiveServer) -> None:
    with scripted.client() as client:
        assert "WebSocket" in error_of(client.get("/v1/realtime"), 400)["message"]


def test_as_much_audio_as_a_message_may_hold(scripted: LiveServer) -> None:
    with Client(scripted, turn_detection=None) as client:
        client.append(bytes(15 * 1024 * 1024))  # five and a half minutes
        client.send("input_audio_buffer.commit")
        assert client.completed()["transcript"] == ""


@pytest.mark.slow
def test_a_page_of_another_origin_needs_a_key() -> None:
    with LiveServer(model="scripted") as server:
        host = server.url.removeprefix("http://")
        for origin, allowed in ((f"http://{host}", True), ("https://evil.example", False)):
            if allowed:
                Client(server, key=None, headers={"Origin": origin}).socket.close()
                continue
            with pytest.raises(InvalidStatus) as refused:
                Client(server, key=None, headers={"Origin": origin})
            assert refused.value.response.status_code == 403
    with LiveServer(model="scripted", apikey=KEY) as server:
        Client(server, headers={"Origin": "https://evil.example"}).socket.close()


def test_no_more_connections_than_there_may_be(scripted: LiveServer) -> None:
    with (
        LiveServer(model="scripted", apikey=KEY, connections=2) as server,
        Client(server),
        Client(server) as second,
    ):
        eventually(lambda: server.connections == 2)
        with pytest.raises(InvalidStatus) as refused:
            Client(server)
        assert refused.value.response.status_code == 503
        second.update()  # nobody is thrown out


def test_a_client_that_vanishes_while_it_is_behind_frees_everything(
    scripted: LiveServer, gate: Gate, snippets: list[Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has sent more than is taken in at once, so nobody reads from it when it goes.

    The first look that the server then takes at the connection frees everything, if it did not hear
    of the end before, though the engine is not done with anything.
    """
    gate.free = 0
    looks: list[bool] = []

    def look(connection: socket.socket) -> bool:
        looks.append(hung_up(connection))
        return looks[-1]

    hung_up = websocket_connection.hung_up
    monkeypatch.setattr(websocket_connection, "hung_up", look)
    client = Client(scripted, format=SIXTEEN, turn_detection=None)
    spoken = pcm(snippets[0])

    def flood() -> None:
        with suppress(ConnectionClosed):
            while True:
                client.append(spoken)
                client.send("input_audio_buffer.commit")

    flooding = threading.Thread(target=flood)
    flooding.start()
    eventually(lambda: gate.arrived and running(scripted, "live"))
    eventually(lambda: any(getattr(one, "read_paused", False) for one in scripted.open))
    seen = len(looks)
    client.socket.socket.shutdown(socket.SHUT_RDWR)
    client.socket.socket.close()
    eventually(lambda: not running(scripted, "live"))
    flooding.join()
    assert looks[seen:].count(True) <= 1
    assert looks[seen:].count(False) <= 1  # it may have begun before
    assert gate.cancelled


def test_many_turns_come_in_order(scripted: LiveServer, snippets: list[Samples]) -> None:
    with Client(scripted, format=SIXTEEN, turn_detection=None) as client:
        for number in range(30):
            client.speak(snippets[number % 4] if number % 3 else silence(0.5))
            client.send("input_audio_buffer.commit")
        found = [client.completed() for _ in range(30)]
    committed = [
        event["item_id"]
        for event in client.received
        if event["type"] == "input_audio_buffer.committed"
    ]
    assert [event["item_id"] for event in found] == committed
    assert [bool(event["transcript"]) for event in found] == [bool(n % 3) for n in range(30)]
    assert client.types().count(COMPLETED) == 30


def closed_with(client: Client) -> int | None:
    """The code with which the server closes the session."""
    try:
        while True:
            client.next()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    """A frame as clients send it, even if there may be none such."""
    length = len(data)
    head = bytes([(0x80 if fin else 0) | opcode])
    head += bytes([0x80 | length]) if length < 126 else b"\xfe" + struct.pack("!H", length)
    return head + bytes(4) + data
