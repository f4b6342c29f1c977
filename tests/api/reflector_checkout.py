"""Runs one processor of Reflector itself, by the Python of its own environment.

``python reflector_checkout.py STEP JSON`` prints the result as JSON. `tests.api.reflector` calls it
with the settings, as variables, and the path to the processors that a checkout has.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from reflector.processors import (
    AudioDiarizationAutoProcessor,
    AudioFile,
    AudioTranscriptAutoProcessor,
    FileDiarizationAutoProcessor,
    FileTranscriptAutoProcessor,
    Pipeline,
    TranscriptDiarizationAssemblerProcessor,
    TranscriptTranslatorAutoProcessor,
)
from reflector.processors.audio_padding_modal import AudioPaddingModalProcessor
from reflector.processors.file_diarization import FileDiarizationInput
from reflector.processors.file_transcript import FileTranscriptInput
from reflector.processors.transcript_diarization_assembler import (
    TranscriptDiarizationAssemblerInput,
)
from reflector.processors.types import (
    AudioDiarizationInput,
    TitleSummaryWithId,
    Transcript,
    Word,
)


async def emitted(processor: Any, given: object, **prefs: str) -> Any:
    """What the processor makes of ``given`` in a pipeline with these preferences."""
    results: list[Any] = []

    async def keep(result: object) -> None:
        results.append(result)

    pipeline = Pipeline(processor)
    for name, value in prefs.items():
        pipeline.set_pref(f"audio:{name}", value)
    processor.on(keep)
    await pipeline.push(given)
    await pipeline.flush()
    (result,) = results
    return result


def segments(transcript: Any) -> list[list[object]]:
    return [[segment.speaker, segment.text] for segment in transcript.as_segments()]


async def live(path: str, language: str) -> str:
    audio = AudioFile(
        fd=io.BytesIO(Path(path).read_bytes()),  # noqa: ASYNC240  # nothing else runs here
        name="chunk.wav",
        sample_rate=16_000,
        channels=1,
        sample_width=2,
    )
    transcript = await emitted(AudioTranscriptAutoProcessor(), audio, source_language=language)
    return str(transcript.text)


async def meeting(url: str, language: str) -> list[list[object]]:
    """As the pipeline for files does: words, speakers, and the two put together."""
    transcript, turns = await asyncio.gather(
        emitted(FileTranscriptAutoProcessor(), FileTranscriptInput(url, language)),
        emitted(FileDiarizationAutoProcessor(), FileDiarizationInput(audio_url=url)),
    )
    both = TranscriptDiarizationAssemblerInput(transcript, turns.diarization)
    return segments(await emitted(TranscriptDiarizationAssemblerProcessor(), both))


async def topics(url: str, words: list[list[Any]]) -> list[list[object]]:
    """As the live pipeline does in the end: speakers for the words of its topics."""
    transcript = Transcript(words=[Word(text=t, start=s, end=e) for t, s, e in words])
    topic = TitleSummaryWithId(
        id="1", title="", summary="", timestamp=0, duration=0, transcript=transcript
    )
    given = AudioDiarizationInput(audio_url=url, topics=[topic])
    result = await emitted(AudioDiarizationAutoProcessor(), given)
    return segments(result.transcript)


async def translate(text: str, source: str, target: str) -> str | None:
    words = [Word(text=text, start=0, end=1)]
    transcript = await emitted(
        TranscriptTranslatorAutoProcessor(),
        Transcript(words=words),
        source_language=source,
        target_language=target,
    )
    translation: str | None = transcript.translation
    return translation


async def pad(track_url: str, output_url: str, seconds: float) -> int:
    done = await AudioPaddingModalProcessor().pad_track(track_url, output_url, seconds, 3)
    return int(done.size)


STEPS: dict[str, Callable[..., Awaitable[object]]] = {
    "live": live,
    "meeting": meeting,
    "topics": topics,
    "translate": translate,
    "pad": pad,
}


async def main(step: str, given: str) -> None:
    sys.stdout.write(f"\n{json.dumps(await STEPS[step](**json.loads(given)))}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
