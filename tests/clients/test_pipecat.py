"""pipecat: its OpenAI speech-to-text services, one given utterances, the other a stream."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

from tests.clients.server import KEY, Server
from tests.clients.support import ENGLISH, SPANISH, client, pcm_of, text_of


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


def overhear(server: Server, recording: Path, *, commits: bool, **wishes: Any) -> list[Any]:
    """The frames that the realtime service pushes on for ``recording``, up to the transcript.

    ``commits``: the pipeline says where the speech ends, as one with its own voice detector does.
    """
    frames = client("pipecat.frames.frames")
    pipeline = client("pipecat.pipeline.pipeline")
    workers = client("pipecat.pipeline.worker")
    runners = client("pipecat.workers.runner")
    processor = client("pipecat.processors.frame_processor").FrameProcessor
    audio, rate = pcm_of(recording)
    audio += bytes(2 * rate)  # a second of silence
    found: list[Any] = []
    heard = asyncio.Event()

    class Sink(processor):  # type: ignore[misc,valid-type]  # known once it is installed
        async def process_frame(self, frame: Any, direction: Any) -> None:
            await super().process_frame(frame, direction)
            found.append(frame)
            if isinstance(frame, frames.TranscriptionFrame | frames.ErrorFrame):
                heard.set()
            await self.push_frame(frame, direction)

    async def run() -> list[Any]:
        service = client("pipecat.services.openai.stt").OpenAIRealtimeSTTService(
            api_key=KEY, base_url=f"{server.api.replace('http', 'ws')}/realtime", **wishes
        )
        worker = workers.PipelineWorker(
            pipeline.Pipeline([service, Sink()]),
            cancel_on_idle_timeout=False,
            enable_rtvi=False,
            params=workers.PipelineParams(audio_in_sample_rate=rate),
        )

        async def speak() -> None:
            while not service._session_ready:  # noqa: ASYNC110  it has no event for that
                await asyncio.sleep(0.01)
            for at in range(0, len(audio), 3200):
                piece = audio[at : at + 3200]
                await worker.queue_frame(
                    frames.InputAudioRawFrame(audio=piece, sample_rate=rate, num_channels=1)
                )
            if commits:
                await worker.queue_frame(frames.VADUserStoppedSpeakingFrame())
            await heard.wait()
            await worker.queue_frame(frames.EndFrame())

        runner = runners.WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        async with asyncio.timeout(60):
            await asyncio.gather(runner.run(), speak())
        return found

    return asyncio.run(run())


def kinds(found: list[Any]) -> set[str]:
    return {type(frame).__name__ for frame in found}


def text_in(found: list[Any]) -> str:
    (frame,) = (one for one in found if type(one).__name__ == "TranscriptionFrame")
    return str(frame.text)


def test_a_stream_of_its_defaults(server: Server) -> None:
    """It asks for ``gpt-realtime-whisper``, and says itself where a turn ends."""
    found = overhear(server, ENGLISH, commits=True)
    assert "ErrorFrame" not in kinds(found)
    assert text_in(found) == text_of(ENGLISH)


def test_a_stream_whose_turns_the_server_ends(server: Server) -> None:
    settings = client("pipecat.services.openai.stt").OpenAIRealtimeSTTService.Settings
    found = overhear(
        server,
        ENGLISH,
        commits=False,
        turn_detection={"type": "server_vad"},
        settings=settings(model="gpt-transcribe", noise_reduction="near_field"),
    )
    assert "ErrorFrame" not in kinds(found)
    assert text_in(found) == text_of(ENGLISH)
