"""Calls over WebRTC, with aiortc at the other end: what they hold, and what may not end them."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading

import httpx
import numpy as np
import pytest

from reflector_gpu.types import Priority
from tests.api.realtime.client import COMPLETED, silence
from tests.api.realtime.test_realtime_hostile import messages
from tests.api.support import error_of, eventually
from tests.api.webrtc.peers import (
    PATH,
    Caller,
    answered,
    asked,
    call,
    caller,
    ice,
    needs_address,
    run,
)
from tests.engines.tiny import Clip
from tests.live import KEY, LiveServer
from tests.waiting import PATIENCE_SECONDS

STARTED = "input_audio_buffer.speech_started"

SDP = {"Content-Type": "application/sdp"}

pytestmark = needs_address


async def never_connected(server: LiveServer, offer: str) -> None:
    """A call that is answered, and that the server gives up after a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server._app.state.calls, "_patience", 0.1)
        await answered(server, offer)


def test_a_call_too_many_is_refused_until_one_ends(narrow: LiveServer) -> None:
    async def held() -> httpx.Response:
        async with caller(silence(0)) as first, caller(silence(0)) as second:
            await call(narrow, first)
            await first.wait_for("session.created")
            refused = await asked(narrow, await second.offer())
            await first.connection.close()
            await call(narrow, second)
            await second.wait_for("session.created")
            return refused

    refused = run(held())
    assert error_of(refused, 429)["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) > 0


def test_a_peer_that_never_connects_gives_its_place_up(narrow: LiveServer) -> None:
    async def held() -> None:
        async with caller(silence(0)) as first, caller(silence(0)) as second:
            await never_connected(narrow, await first.offer())
            await call(narrow, second)
            await second.wait_for("session.created")

    run(held())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell of closed ports")
def test_a_peer_that_vanishes_gives_its_place_up(narrow: LiveServer) -> None:
    async def held() -> None:
        async with caller(silence(0)) as first, caller(silence(0)) as second:
            await call(narrow, first)
            await first.wait_for("session.created")
            await first.connection.sctp.transport.transport._connection.close()  # without a word
            await call(narrow, second)
            await second.wait_for("session.created")

    run(held())


def test_no_thread_is_left_of_a_call(narrow: LiveServer) -> None:
    def decoders() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "audio-decoder"]

    async def held() -> None:
        async with caller(silence(0)) as peer:
            await call(narrow, peer)
            await peer.wait_for("session.created")
            await asyncio.to_thread(eventually, decoders)

    run(held())
    eventually(lambda: not decoders())


def test_a_full_server_refuses_calls(offer: str, clip: bytes, small: LiveServer) -> None:
    with small.service.admission.permit(Priority.LIVE, "somebody"), small.client() as asking:
        refused = asking.post(PATH, content=offer, headers=SDP)
    assert error_of(refused, 429)["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) > 0


def test_nothing_is_sent_to_an_address_because_an_offer_names_it(narrow: LiveServer) -> None:
    async def held(port: int, address: str) -> None:
        async with caller(silence(0)) as peer, caller(silence(0)) as second:
            offer = await peer.offer()
            candidate = f"a=candidate:1 1 udp 2130706431 {address} {port} typ host"
            named = offer.replace("a=mid:", f"{candidate}\r\na=mid:")
            assert named.count(candidate) == 2
            await never_connected(narrow, named)
            await call(narrow, second)  # the first is given up by then

    address = ice.get_host_addresses(use_ipv4=True, use_ipv6=False)[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind((address, 0))
        target.setblocking(False)
        run(held(target.getsockname()[1], address))
        with pytest.raises(BlockingIOError):
            target.recv(1)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("v=0", "", "v=0"),
        ("m=audio", "m=video", "application, video"),
        ("webrtc-datachannel", "something", "data channel"),
        ("opus/48000/2", "speex/16000", "Opus"),
        ("a=sendrecv", "a=recvonly", "recvonly"),
        ("a=ice-pwd:", "a=nothing:", "RTCPeerConnection"),
        ("a=setup:actpass", "a=setup:made-up", "RTCPeerConnection"),
        ("a=mid:0", "a=extmap:x y", "RTCPeerConnection"),
        ("UDP/TLS/RTP/SAVPF 96", "UDP/TLS/RTP/SAVPF 999", "RTCPeerConnection"),
        ("m=audio 9 ", "m=", "m="),
    ],
)
def test_an_offer_that_cannot_be_used(
    scripted: LiveServer, offer: str, old: str, new: str, told: str
) -> None:
    assert old in offer
    with scripted.client() as asking:
        refused = asking.post(PATH, content=offer.replace(old, new), headers=SDP)
    error = error_of(refused, 400)
    assert error["param"] == "sdp"
    assert told in error["message"]


@pytest.fixture(scope="module")
def offer() -> str:
    """What a browser offers, before it knows its own addresses."""
    return "\r\n".join(
        [
            "v=0",
            "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            "a=group:BUNDLE 0 1",
            "a=msid-semantic: WMS stream",
            "m=audio 9 UDP/TLS/RTP/SAVPF 96",
            "c=IN IP4 0.0.0.0",
            "a=ice-ufrag:abcd",
            "a=ice-pwd:abcdefghijklmnopqrstuvwx",
            f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}",
            "a=setup:actpass",
            "a=mid:0",
            "a=sendrecv",
            "a=rtcp-mux",
            "a=rtpmap:96 opus/48000/2",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "c=IN IP4 0.0.0.0",
            "a=ice-ufrag:abcd",
            "a=ice-pwd:abcdefghijklmnopqrstuvwx",
            f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}",
            "a=setup:actpass",
            "a=mid:1",
            "a=sctp-port:5000",
            "a=max-message-size:262144",
            "",
        ]
    )


def test_bodies_that_are_no_offer(scripted: LiveServer, offer: str) -> None:
    with scripted.client() as asking:
        assert error_of(asking.post(PATH, json={"sdp": offer}), 415)
        assert error_of(asking.post(PATH, content=b"\xff\xfe", headers=SDP), 400)
        assert error_of(asking.post(PATH, content=offer * 400, headers=SDP), 413)
        no_offer = asking.post(PATH, files={"session": (None, "{}")})
        assert error_of(no_offer, 400)["param"] == "sdp"
        files = {"sdp": (None, offer), "session": (None, '{"audio": {"input": {"format": 7}}}')}
        misfit = asking.post(PATH, files=files)
        assert error_of(misfit, 400)["param"] == "session.audio.input.format"
        files["session"] = (None, '{"audio": {"input": {"transcription": {"model": "nobody"}}}}')
        assert error_of(asking.post(PATH, files=files), 404)["code"] == "model_not_found"


def test_calls_need_the_key(scripted: LiveServer, offer: str) -> None:
    with scripted.client(key=None) as asking:
        error_of(asking.post(PATH, content=offer, headers=SDP), 401)
        error_of(asking.post(f"{PATH}/rtc_0/hangup"), 401)
    with scripted.client() as asking:
        error_of(asking.post(f"{PATH}/rtc_0/hangup"), 404)


def test_without_its_package_the_server_says_what_to_install(
    scripted: LiveServer, offer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "reflector_gpu.webrtc.peer", raising=False)
    monkeypatch.setitem(sys.modules, "aiortc", None)
    with scripted.client() as asking:
        error = error_of(asking.post(PATH, content=offer, headers=SDP), 503)
    assert "pip install 'reflector-gpu[webrtc]'" in error["message"]


def test_nothing_that_a_peer_says_ends_its_call(
    hearing: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def held() -> Caller:
        async with caller(silence(0)) as peer:
            await call(hearing, peer)
            await peer.wait_for("session.created")
            for message in messages(300):
                if len(message) < 50_000:
                    peer.channel.send(message)
            peer.send("conversation.item.retrieve", item_id="x", event_id="last")
            while (await peer.next()).get("error", {}).get("event_id") != "last":
                pass
            return peer

    peer = run(held())
    assert len([event for event in peer.received if event["type"] == "error"]) > 100
    assert not [record for record in caplog.records if record.exc_info]


def test_other_channels_are_closed(hearing: LiveServer) -> None:
    async def held() -> None:
        async with caller(silence(0)) as peer:
            other = peer.connection.createDataChannel("chat")
            closed = asyncio.Event()
            other.on("close", closed.set)
            await call(hearing, peer)
            await peer.wait_for("session.created")
            async with asyncio.timeout(PATIENCE_SECONDS):
                await closed.wait()

    run(held())


def test_what_was_said_is_told_before_the_server_stops(spoken: Clip) -> None:
    async def held() -> Caller:
        async with caller(np.concatenate([silence(0.5), spoken.samples])) as peer:
            with LiveServer(model="scripted", apikey=KEY, workers=1) as server:
                await call(server, peer)
                await peer.wait_for(STARTED)
                server._server.should_exit = True
                await peer.wait_for(COMPLETED)
                await peer.closed.wait()
            return peer

    run(held())
