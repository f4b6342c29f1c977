"""pipecat: its OpenAI speech-to-text service, given what its pipeline cuts out as one utterance."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

from tests.clients.server import KEY, Server
from tests.clients.support import ENGLISH, SPANISH, client, text_of


def hear(server: Server, recording: Path, *, prob_metrics: bool = False, **settings: Any) -> Any:
    """The frame that the service pushes on for ``recording``."""
    service = client("pipecat.services.openai.stt").OpenAISTTService
    audio = recording.read_bytes()

    async def run() -> Any:
        stt = service(
            base_url=server.api,
            api_key=KEY,
            include_prob_metrics=prob_metrics,
            settings=service.Settings(**settings),
        )
        return [frame async for frame in stt.run_stt(audio)]

    (frame,) = asyncio.run(run())
    assert type(frame).__name__ == "TranscriptionFrame", frame
    return frame


def test_its_defaults(server: Server) -> None:
    """It asks for ``gpt-transcribe`` in English."""
    assert hear(server, ENGLISH).text == text_of(ENGLISH)


def test_another_language(server: Server) -> None:
    language = client("pipecat.transcriptions.language").Language
    assert hear(server, SPANISH, language=language.ES).text == text_of(SPANISH)


def test_keywords_and_a_prompt(server: Server) -> None:
    frame = hear(server, ENGLISH, keywords=["summary"], prompt="A meeting.", temperature=0.0)
    assert frame.text == text_of(ENGLISH)


def test_probabilities(server: Server) -> None:
    frame = hear(server, ENGLISH, prob_metrics=True)
    assert frame.text == text_of(ENGLISH)
    tokens = frame.result.logprobs
    assert tokens
    assert all(0 < math.exp(token.logprob) <= 1 for token in tokens)
    assert "".join(token.token for token in tokens).strip() == text_of(ENGLISH)


def test_probabilities_of_whisper(server: Server) -> None:
    frame = hear(server, ENGLISH, prob_metrics=True, model="whisper-1")
    assert frame.text == text_of(ENGLISH)
    assert frame.result.segments[0].avg_logprob <= 0
