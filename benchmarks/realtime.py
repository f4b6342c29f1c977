"""Words while people speak: how late each is, against fixed chunks and whole turns.

Sessions speak real clips at real time, joined with pauses if ``REFLECTOR_BENCH_AUDIO`` names the
folder with ``real/references.tsv``, else the sample meeting. A word is late by the time from its
end in the audio, as the transcript of the whole file has it, to the event or answer that tells it.

Sessions begin one after the other, half a second apart. Those that the server refuses because it
bears no more are counted, and the other ways get only as many. Word errors are pooled over all
sessions of a model: a few seconds of speech are no proof. It takes less than ten minutes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from http import HTTPStatus

import httpx
import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from benchmarks.audio import heard, pcm, wav
from benchmarks.figures import Figure
from benchmarks.server import KEY, Server
from benchmarks.streaming import FIXTURES, Recording, error_rate, real_recording, tiny_recording
from benchmarks.wer import words
from reflector_gpu.audio.chunk import chunker
from reflector_gpu.audio.vad import VadOptions, VoiceActivity
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.types import SAMPLE_RATE, Samples

MODEL, TINY = "base", "parakeet-tiny"
ROUNDS = {MODEL: ((1, 45), (4, 20), (16, 20)), TINY: ((1, 20), (4, 20), (16, 15))}
"""How many sessions at once, and how many seconds each of them speaks."""

APART = 0.5  # seconds between the beginnings of two sessions
PATIENCE = 300  # seconds in which words of a session may be late
BLOCK = SAMPLE_RATE // 10  # samples that a session sends at once
CHUNK = 2.0  # seconds of the fixed chunks
SILENCE = 0.5  # seconds that end a turn, as sessions have it
UNLIMITED = {"live_requests": "1000", "live_audio_seconds": "100000"}
_TRANSCRIPTION = "conversation.item.input_audio_transcription"


@dataclass(frozen=True, slots=True)
class Told:
    """Words, and the seconds after the beginning of the recording at which they came."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one session spoke, and what a transcript of the whole file has in it."""

    recording: Recording
    samples: Samples
    text: str
    ends: Sequence[tuple[str, float]]
    """Words with their ends in seconds."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one session was told. ``final`` are the texts of its completed turns."""

    told: Sequence[Told]
    final: str

    @property
    def text(self) -> str:
        return " ".join(one.text for one in self.told)


Way = Callable[[Server, Samples], Awaitable[Heard | None]]
"""One way to get words early; None if the server refuses."""


@dataclass(frozen=True, slots=True)
class Round:
    """What was said at once, and what was heard of it in each way."""

    wanted: int
    """The sessions that asked; those of the ``talks`` were not refused."""
    talks: Sequence[Spoken]
    heard: Mapping[str, Sequence[Heard]]


def run() -> list[Figure]:
    found: list[Figure] = []
    for model, settings in _models():
        for figure in _of(model, settings):
            told = f"{figure.name}: {figure.value:.3f}; {figure.detail}"
            print(told, file=sys.stderr, flush=True)  # it takes minutes
            found.append(figure)
    return found


def _models() -> Iterator[tuple[str, Mapping[str, str]]]:
    base = MODELS[MODEL]
    if base.missing:
        print(f"skipped: {base.installation}", file=sys.stderr)
    else:
        yield MODEL, {"model": MODEL}
    paths = json.dumps({TINY: str(FIXTURES / TINY)})
    yield TINY, {"model": TINY, "model_paths": paths}


def _of(model: str, settings: Mapping[str, str]) -> Iterator[Figure]:
    with Server(**settings, **UNLIMITED) as server, server.client() as client:
        rounds: list[Round] = []
        for wanted, seconds in ROUNDS[model]:
            talks = [_spoken(client, model, seconds, number) for number in range(wanted)]
            rounds.append(asyncio.run(_together(server, talks)))
            yield from _lateness(model, rounds[-1])
        yield from _errors(model, rounds)


def _spoken(client: httpx.Client, model: str, seconds: int, number: int) -> Spoken:
    recording = (tiny_recording if model == TINY else real_recording)(seconds, number)
    answer = client.post(
        "/v1/audio/transcriptions",
        files={"file": recording.data},
        data={
            "language": "en",
            "response_format": "verbose_json",
            "timestamp_granularities[]": "word",
        },
    )
    found = answer.raise_for_status().json()
    ends = [(part, float(word["end"])) for word in found["words"] for part in words(word["word"])]
    return Spoken(recording, heard(recording.data), found["text"], ends)


async def _together(server: Server, talks: Sequence[Spoken]) -> Round:
    """What is heard of ``talks``, or of those for which the server has a session."""
    wanted = len(talks)
    found: dict[str, Sequence[Heard]] = {}
    for name, way in WAYS.items():
        heard = await asyncio.gather(*(_in_turn(way, server, n, t) for n, t in enumerate(talks)))
        talks = [talk for talk, one in zip(talks, heard, strict=True) if one]
        found[name] = [one for one in heard if one]
    return Round(wanted, talks, found)


async def _in_turn(way: Way, server: Server, number: int, talk: Spoken) -> Heard | None:
    await asyncio.sleep(number * APART)
    return await way(server, talk.samples)


async def _blocks(samples: Samples) -> AsyncIterator[Samples]:
    """``samples`` at the pace at which they were spoken."""
    clock = asyncio.get_running_loop().time
    began = clock()
    for first in range(0, len(samples), BLOCK):
        block = samples[first : first + BLOCK]
        await asyncio.sleep(began + (first + len(block)) / SAMPLE_RATE - clock())
        yield block


async def in_sessions(server: Server, samples: Samples) -> Heard | None:
    """Over the service's own realtime sessions, whose server finds the turns."""
    try:
        return await _in_session(server, samples)
    except InvalidStatus as refused:
        if refused.response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            raise
        return None


async def _in_session(server: Server, samples: Samples) -> Heard:
    clock = asyncio.get_running_loop().time
    told: list[Told] = []
    final: list[str] = []
    url = server.url.replace("http", "ws") + "/v1/realtime?intent=transcription"
    headers = {"Authorization": f"Bearer {KEY}"}
    async with connect(url, additional_headers=headers, max_size=None, proxy=None) as socket:
        audio = {
            "format": {"type": "audio/pcm", "rate": SAMPLE_RATE},
            "transcription": {"language": "en"},
        }
        await socket.send(
            json.dumps({"type": "session.update", "session": {"audio": {"input": audio}}})
        )
        began = clock()
        turns = 0

        async def listen() -> None:
            nonlocal turns
            async for message in socket:
                event = json.loads(message)
                match event["type"]:
                    case "error":
                        raise RuntimeError(event["error"]["message"])
                    case "input_audio_buffer.speech_started":
                        turns += 1
                    case kind if kind == f"{_TRANSCRIPTION}.delta":
                        told.append(Told(event["delta"], clock() - began))
                    case kind if kind in (
                        f"{_TRANSCRIPTION}.completed",
                        f"{_TRANSCRIPTION}.failed",
                    ):
                        final.append(event.get("transcript", ""))

        listening = asyncio.create_task(listen())
        async for block in _blocks(samples):
            await socket.send(_append(block))
        for _ in range(10):  # a second of silence ends the last turn
            await socket.send(_append(np.zeros(BLOCK, np.float32)))
        await asyncio.sleep(1)  # until the server has seen the last turn
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while len(final) < turns:  # noqa: ASYNC110  a benchmark has time
                    await asyncio.sleep(0.05)
        listening.cancel()
    return Heard(told, " ".join(final))


async def in_chunks(server: Server, samples: Samples) -> Heard:
    """Uploads of two seconds each."""
    length = int(CHUNK * SAMPLE_RATE)

    async def cut() -> AsyncIterator[Samples]:
        waiting = samples[:0]
        async for block in _blocks(samples):
            waiting = np.concatenate([waiting, block])
            if len(waiting) >= length:
                yield waiting
                waiting = samples[:0]
        if len(waiting):
            yield waiting

    return await _uploaded(server, cut())


async def in_turns(server: Server, samples: Samples) -> Heard:
    """An upload of each turn, once it has ended."""
    cutter = chunker(
        VoiceActivity().probabilities, max_seconds=30, max_gap=SILENCE, options=VadOptions()
    )

    async def cut() -> AsyncIterator[Samples]:
        async for block in _blocks(samples):
            for chunk in cutter.push(block):
                yield chunk.samples
        for chunk in cutter.finish():
            yield chunk.samples

    return await _uploaded(server, cut())


SESSIONS_WAY = "sessions"
WAYS: Mapping[str, Way] = {
    SESSIONS_WAY: in_sessions,
    "chunks of 2 s": in_chunks,
    "whole turns": in_turns,
}


async def _uploaded(server: Server, parts: AsyncIterator[Samples]) -> Heard:
    """What is heard in ``parts``, each of which is uploaded as soon as it is there."""
    clock = asyncio.get_running_loop().time
    began = clock()
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=None) as client:

        async def upload(part: Samples) -> Told:
            answer = await client.post(
                "/v1/audio/transcriptions",
                files={"file": await asyncio.to_thread(wav, part)},
                data={"language": "en"},
            )
            return Told(answer.raise_for_status().json()["text"], clock() - began)

        uploads = [asyncio.create_task(upload(part)) async for part in parts]
        told = await asyncio.gather(*uploads)
    return Heard(told, " ".join(one.text for one in told))


def _append(samples: Samples) -> str:
    audio = base64.b64encode(pcm(samples)).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


def late(spoken: Spoken, told: Sequence[Told]) -> list[float]:
    """How late each word is that the whole file's transcript has, too."""
    said = [(word, one.at) for one in told for word in words(one.text)]
    matcher = SequenceMatcher(
        None, [word for word, _ in spoken.ends], [word for word, _ in said], autojunk=False
    )
    return [
        said[block.b + place][1] - spoken.ends[block.a + place][1]
        for block in matcher.get_matching_blocks()
        for place in range(block.size)
    ]


def unstable(told: Sequence[Told], final: str) -> int:
    """How many of the words that were told the final text has not."""
    said = words(" ".join(one.text for one in told))
    matcher = SequenceMatcher(None, words(final), said, autojunk=False)
    return len(said) - sum(block.size for block in matcher.get_matching_blocks())


def _lateness(model: str, one: Round) -> Iterator[Figure]:
    label = f"{model}, {len(one.talks)} of {one.wanted} at once"
    delays = {
        name: sorted(
            delay
            for talk, heard in zip(one.talks, all_heard, strict=True)
            for delay in late(talk, heard.told)
        )
        for name, all_heard in one.heard.items()
    }
    told = "; ".join(
        f"{name} {statistics.median(values):.2f} s, p95 {_p95(values):.2f}"
        for name, values in delays.items()
        if values
    )
    for kind, measure in (("delay", statistics.median), ("p95 of the delay", _p95)):
        ours, *others = (measure(values or [math.inf]) for values in delays.values())
        ratio = ours / min(others)
        yield Figure(f"{label}: {kind} of a word / best other", ratio, "< 1", ratio < 1, told)
    changed = sum(unstable(heard.told, heard.final) for heard in one.heard[SESSIONS_WAY])
    yield Figure(f"{label}: told words that changed", changed, "0", changed == 0)


def _p95(values: Sequence[float]) -> float:
    return values[int(0.95 * len(values))]


def _errors(model: str, rounds: Sequence[Round]) -> Iterator[Figure]:
    talks = [talk for one in rounds for talk in one.talks]
    # Where nobody has written down what is said, it is what the whole file's transcript has.
    recordings = [replace(talk.recording, text=talk.recording.text or talk.text) for talk in talks]
    whole = error_rate([talk.text for talk in talks], recordings)
    rates = {
        name: error_rate([heard.text for one in rounds for heard in one.heard[name]], recordings)
        for name in WAYS
    }
    lost = rates[SESSIONS_WAY] - whole
    told = ", ".join(f"{name} {rate:.1f} %" for name, rate in rates.items())
    count = sum(len(words(recording.text)) for recording in recordings)
    detail = f"{count} words: files {whole:.1f} %, {told}"
    yield Figure(f"{model}: WER points lost", lost, "<= 1", lost <= 1, detail)
