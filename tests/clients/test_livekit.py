"""LiveKit agents: the speech-to-text of its OpenAI plugin, by utterances and as a stream."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.clients.server import KEY, Server
from tests.clients.support import ENGLISH, SPANISH, client, pcm_of, text_of

TEXT = text_of(ENGLISH)


def hear(server: Server, recording: Path, **wishes: Any) -> Any:
    """The first alternative of what the plugin makes of ``recording``."""
    rtc = client("livekit.rtc")
    plugin = client("livekit.plugins.openai")
    data, rate = pcm_of(recording)
    frame = rtc.AudioFrame(data, rate, 1, len(data) // 2)

    async def recognize() -> Any:
        stt = plugin.STT(base_url=server.api, api_key=KEY, **wishes)
        try:
            return await stt.recognize([frame])
        finally:
            await stt.aclose()

    return asyncio.run(recognize()).alternatives[0]


@pytest.mark.parametrize("model", ["gpt-4o-mini-transcribe", "gpt-4o-transcribe", "whisper-1"])
def test_its_models(server: Server, model: str) -> None:
    said = hear(server, ENGLISH, model=model)
    assert (said.text, said.language) == (TEXT, "en")


def test_its_default_model(server: Server) -> None:
    assert hear(server, ENGLISH).text == TEXT


def test_keywords_and_several_languages(server: Server) -> None:
    said = hear(server, SPANISH, model="gpt-transcribe", language=["en", "es"], keywords=["equipo"])
    assert (said.text, said.language) == (text_of(SPANISH), "es")


def test_a_language_that_it_finds_out(server: Server) -> None:
    said = hear(server, SPANISH, model="gpt-4o-mini-transcribe", detect_language=True)
    assert (said.text, said.language) == (text_of(SPANISH), "es")


def overhear(server: Server, recording: Path, **wishes: Any) -> list[Any]:
    """The events of a stream that is given ``recording``, up to the transcript."""
    aiohttp = client("aiohttp")
    rtc = client("livekit.rtc")
    plugin = client("livekit.plugins.openai")
    data, rate = pcm_of(recording)
    data += bytes(2 * rate)  # a second of silence

    async def listen() -> list[Any]:
        found: list[Any] = []
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            stt = plugin.STT(base_url=server.api, api_key=KEY, use_realtime=True, **wishes)
            stt._session = session
            stream = stt.stream()
            stream.push_frame(rtc.AudioFrame(data, rate, 1, len(data) // 2))
            async for event in stream:
                found.append(event)
                if event.type == "final_transcript":
                    break
            await stream.aclose()
            await stt.aclose()
        return found

    return asyncio.run(listen())


@pytest.mark.parametrize("model", ["gpt-4o-mini-transcribe", "gpt-transcribe", "whisper-1"])
def test_a_stream(server: Server, model: str) -> None:
    events = overhear(server, ENGLISH, model=model)
    assert [event.type for event in events[:1]] == ["start_of_speech"]
    assert "end_of_speech" in [event.type for event in events]
    said = events[-1].alternatives[0]
    assert (said.text, said.language) == (TEXT, "en")


def test_a_stream_of_a_model_that_leaves_turns_to_its_client(server: Server) -> None:
    client("livekit.local_inference")
    said = overhear(server, ENGLISH, model="gpt-realtime-whisper")[-1].alternatives[0]
    assert said.text == TEXT
