"""The realtime client of openai-python itself, against the live server."""

from __future__ import annotations

import base64

import numpy as np
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection
from openai.types.realtime import RealtimeTranscriptionSessionCreateRequestParam

from reflector_gpu.realtime.audio_formats import mu_law_decoder
from reflector_gpu.types import Samples
from tests.api.realtime.client import pcm, silence

SESSION: RealtimeTranscriptionSessionCreateRequestParam = {
    "type": "transcription",
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
            "turn_detection": {"type": "server_vad"},
        }
    },
}


def mu_law(samples: Samples) -> bytes:
    """``samples`` at 8 kHz, as G.711 has them."""
    codes = np.arange(256, dtype=np.uint8)
    values = mu_law_decoder()._read(codes.tobytes())
    order = np.argsort(values, kind="stable")
    places = np.searchsorted(values[order], samples[::2]).clip(0, 255)
    return bytes(codes[order][places].tolist())


def transcribed(connection: RealtimeConnection) -> tuple[str, str]:
    """The deltas of the next turn, joined, and its transcript."""
    text = ""
    for event in connection:
        assert event.type != "error", event
        if event.type == "conversation.item.input_audio_transcription.delta":
            text += event.delta or ""
        if event.type == "conversation.item.input_audio_transcription.completed":
            return text, event.transcript
    raise AssertionError("the connection ended")


def test_connect(client: OpenAI, snippets: list[Samples]) -> None:
    query = {"intent": "transcription"}
    with client.realtime.connect(extra_query=query) as connection:
        connection.session.update(session=SESSION)
        for samples in (silence(0.5), snippets[0], silence(1)):
            connection.input_audio_buffer.append(audio=base64.b64encode(mu_law(samples)).decode())
        text, transcript = transcribed(connection)
    assert text == transcript
    assert text


def test_connect_with_a_secret(client: OpenAI, snippets: list[Samples]) -> None:
    session: RealtimeTranscriptionSessionCreateRequestParam = {
        "type": "transcription",
        "audio": {"input": {"turn_detection": None}},
    }
    secret = client.realtime.client_secrets.create(
        session=session, expires_after={"anchor": "created_at", "seconds": 60}
    )
    assert secret.session.type == "transcription"
    page = client.with_options(api_key=secret.value)
    audio = pcm(snippets[0].repeat(3)[::2])  # 24 kHz
    with page.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        connection.input_audio_buffer.append(audio=base64.b64encode(audio).decode())
        connection.input_audio_buffer.commit()
        assert transcribed(connection)[1]
