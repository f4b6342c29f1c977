"""Who opens, joins and ends a call over WebRTC."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI
from websockets.exceptions import InvalidStatus

from tests.api.realtime.client import COMPLETED, DELTA, OTHER_KEY, SEGMENT, Client, silence
from tests.api.support import eventually, metric
from tests.api.webrtc.peers import (
    PATH,
    Caller,
    call,
    caller,
    client,
    hung_up,
    needs_address,
    run,
)
from tests.engines.tiny import Clip
from tests.live import KEY, LiveServer

STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"

COMMITTED = "input_audio_buffer.committed"

pytestmark = needs_address


def test_a_peer_is_told_what_it_says(hearing: LiveServer, spoken: Clip) -> None:
    async def session() -> Caller:
        async with caller(np.concatenate([silence(0.5), spoken.samples])) as peer:
            location = await call(hearing, peer)
            assert location.startswith(f"{PATH}/rtc_")
            await peer.wait_for(COMPLETED)
            return peer

    peer = run(session())
    order = ["session.created", STARTED, STOPPED, COMMITTED, SEGMENT, COMPLETED]
    assert [name for name in peer.types() if name in order] == order
    deltas = [event["delta"] for event in peer.received if event["type"] == DELTA]
    completed = peer.received[-1]
    assert completed["transcript"] == "".join(deltas) == spoken.text
    eventually(lambda: metric(hearing, "reflector_realtime_sessions") == 0)


def test_openais_client_opens_and_ends_a_call(hearing: LiveServer, spoken: Clip) -> None:
    session: Any = {
        "type": "transcription",
        "audio": {"input": {"turn_detection": None, "transcription": {"language": "en"}}},
    }

    async def held() -> Caller:
        async with (
            AsyncOpenAI(base_url=f"{hearing.url}/v1", api_key=KEY, max_retries=0) as openai,
            caller(spoken.samples) as peer,
        ):
            answered = await openai.realtime.calls.create(sdp=await peer.offer(), session=session)
            call_id = answered.response.headers["location"].rsplit("/", 1)[1]
            await peer.accept(answered.text)
            created = await peer.wait_for("session.created")
            assert created["session"]["audio"]["input"]["turn_detection"] is None
            await peer.wait_for(DELTA)
            peer.send("input_audio_buffer.commit")
            await peer.wait_for(COMPLETED)
            await openai.realtime.calls.hangup(call_id)
            await peer.closed.wait()
            return peer

    peer = run(held())
    assert STARTED not in peer.types()
    eventually(lambda: metric(hearing, "reflector_realtime_sessions") == 0)


def test_a_server_takes_part_in_the_call_of_its_page(hearing: LiveServer, spoken: Clip) -> None:
    async def held() -> tuple[Caller, list[Any]]:
        async with (
            AsyncOpenAI(base_url=f"{hearing.url}/v1", api_key=KEY, max_retries=0) as openai,
            caller(spoken.samples) as peer,
        ):
            location = await call(hearing, peer)
            await peer.wait_for("session.created")
            async with openai.realtime.connect(call_id=location.rsplit("/", 1)[1]) as joined:
                await joined.session.update(
                    session={"type": "transcription", "audio": {"input": {"turn_detection": None}}}
                )
                await peer.wait_for(DELTA)
                await joined.input_audio_buffer.commit()
                await peer.wait_for(COMPLETED)
                assert await hung_up(hearing, location) == 200
                heard = [event async for event in joined]  # until the call has ended
            return peer, heard

    peer, heard = run(held())
    assert [event.type for event in heard] == peer.types()
    assert heard[-1].transcript == peer.received[-1]["transcript"] != ""


def test_a_call_that_is_not_ones_own_cannot_be_joined(narrow: LiveServer) -> None:
    async def held() -> list[int]:
        async with caller(silence(0)) as peer:
            call_id = (await call(narrow, peer)).rsplit("/", 1)[1]
            return [
                await asyncio.to_thread(refused_status, narrow, wanted, key)
                for wanted, key in ((call_id, OTHER_KEY), ("rtc_none", KEY))
            ]

    def refused_status(server: LiveServer, call_id: str, key: str) -> int:
        with pytest.raises(InvalidStatus) as refused:
            Client(server, f"/v1/realtime?call_id={call_id}", key=key)
        return refused.value.response.status_code

    assert run(held()) == [404, 404]


def test_who_joins_a_call_and_leaves_does_not_end_it(narrow: LiveServer) -> None:
    async def held() -> None:
        async with caller(silence(0)) as peer:
            call_id = (await call(narrow, peer)).rsplit("/", 1)[1]
            await peer.wait_for("session.created")

            def joined() -> str:
                with Client(narrow, f"/v1/realtime?call_id={call_id}") as client:
                    created = client.wait_for("session.created")
                    return str(created["session"]["id"])

            found = [await asyncio.to_thread(joined) for _ in range(2)]
            peer.send("session.update", session={})
            updated = await peer.wait_for("session.updated")
            assert found == [updated["session"]["id"]] * 2

    run(held())


def test_a_client_secret_opens_a_call(hearing: LiveServer) -> None:
    async def opened() -> str:
        async with client(hearing) as asking, caller(silence(0)) as peer:
            body = {"session": {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}}
            made = await asking.post("/v1/realtime/client_secrets", json=body)
            location = await call(hearing, peer, key=made.json()["value"])
            created = await peer.wait_for("session.created")
            assert await hung_up(hearing, location, made.json()["value"]) == 200
            return str(created["session"]["audio"]["input"]["turn_detection"]["type"])

    assert run(opened()) == "semantic_vad"


def test_a_call_is_its_owners_alone(narrow: LiveServer) -> None:
    async def held() -> list[int]:
        async with caller(silence(0)) as peer:
            location = await call(narrow, peer)
            return [await hung_up(narrow, location, key) for key in (OTHER_KEY, KEY, KEY)]

    assert run(held()) == [404, 200, 404]
