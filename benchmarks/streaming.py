"""What early words cost: a streamed answer against a plain one to the same upload.

Models of one's own in ``REFLECTOR_MODEL_PATHS`` are measured besides the tiny ones of the tests;
they hear real clips joined with pauses, if ``REFLECTOR_BENCH_AUDIO`` names the folder with
``real/references.tsv``, else the sample meeting.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.audio import PAUSE, meeting, read, sentences, utterances, wav
from benchmarks.figures import Figure
from benchmarks.recordings import VARIABLE
from benchmarks.server import Server
from benchmarks.wer import errors, words
from reflector_gpu.types import SAMPLE_RATE, Samples

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
TINY = {name: str(FIXTURES / name) for name in ("whisper-tiny", "parakeet-tiny")}
LIMIT = 1.1
LENGTHS = ((60, 5), (600, 2))
"""Seconds of a recording, and how many of that length."""

ROOM_NOISE = 1e-3
SHORTEST_PAUSE, LONGEST_PAUSE = 0.3, 1.2  # seconds, between two clips
LONGEST_CLIP = 20.0
SENTENCES_APART = 5  # between the first ones of two recordings of the tiny models


@dataclass(frozen=True, slots=True)
class Recording:
    data: bytes
    text: str = ""
    """What is said, if that is known."""


@dataclass(frozen=True, slots=True)
class Run:
    """One answer: its seconds, those of the CPU, those until the first words, and its text."""

    seconds: float
    cpu: float
    first_word: float
    text: str


def run() -> list[Figure]:
    own: dict[str, str] = json.loads(os.environ.get("REFLECTOR_MODEL_PATHS", "{}"))
    found: list[Figure] = []
    for name, folder in {**TINY, **own}.items():
        source = tiny_recording if name in TINY else real_recording
        with (
            Server(model=name, model_paths=json.dumps({name: folder})) as server,
            server.client() as client,
        ):
            _plain(server, client, Recording(wav(utterances()[: 5 * SAMPLE_RATE])))
            for seconds, count in LENGTHS:
                recordings = [source(seconds, number) for number in range(count)]
                found.extend(_figures(name, seconds, server, client, recordings))
    return found


def _figures(
    name: str,
    seconds: int,
    server: Server,
    client: httpx.Client,
    recordings: Sequence[Recording],
) -> Iterator[Figure]:
    pairs: list[tuple[Run, Run]] = []
    for number, recording in enumerate(recordings):
        if number % 2:
            streamed = _streamed(server, client, recording)
            pairs.append((_plain(server, client, recording), streamed))
        else:
            plain = _plain(server, client, recording)
            pairs.append((plain, _streamed(server, client, recording)))
    ratios = [streamed.seconds / plain.seconds for plain, streamed in pairs]
    by_cpu = statistics.median(streamed.cpu / plain.cpu for plain, streamed in pairs)
    ratio = statistics.median(ratios)
    detail = (
        f"{len(pairs)} recordings, {min(ratios):.2f} to {max(ratios):.2f}, CPU time {by_cpu:.2f}; "
        f"first words after {_median(pairs, lambda one: one[1].first_word):.2f} s, "
        f"plain after {_median(pairs, lambda one: one[0].seconds):.2f} s"
    )
    yield Figure(
        f"{name}: streamed / plain, {seconds} s", ratio, f"<= {LIMIT}", ratio <= LIMIT, detail
    )
    if all(recording.text for recording in recordings):
        rates = [error_rate([pair[kind].text for pair in pairs], recordings) for kind in (0, 1)]
        lost = rates[1] - rates[0]
        told = f"streamed {rates[1]:.1f} %, plain {rates[0]:.1f} %"
        yield Figure(
            f"{name}: WER points lost by streaming, {seconds} s", lost, "<= 1", lost <= 1, told
        )


def _median(pairs: Sequence[tuple[Run, Run]], of: Callable[[tuple[Run, Run]], float]) -> float:
    return statistics.median(map(of, pairs))


def error_rate(texts: Sequence[str], recordings: Sequence[Recording]) -> float:
    references = [words(recording.text) for recording in recordings]
    wrong = sum(errors(said, words(heard)) for said, heard in zip(references, texts, strict=True))
    return 100 * wrong / sum(map(len, references))


def tiny_recording(seconds: int, number: int) -> Recording:
    """Sentences that the tiny models understand, over and over, whole ones only.

    Each number begins with another sentence.
    """
    known = sentences()
    parts: list[Samples] = []
    said: list[str] = []
    left = seconds * SAMPLE_RATE
    for place in itertools.count(number * SENTENCES_APART):
        clip, text = known[place % len(known)]
        if len(clip) + len(PAUSE) > left:
            break
        parts += [clip, PAUSE]
        said.append(text)
        left -= len(clip) + len(PAUSE)
    parts.append(np.zeros(left, np.float32))
    return Recording(wav(np.concatenate(parts)), " ".join(said))


def real_recording(seconds: int, number: int) -> Recording:
    """Clips in an order of their own, joined with pauses over a little noise, whole ones only."""
    if VARIABLE not in os.environ:
        spoken = np.roll(meeting(), number * 7 * SAMPLE_RATE)
        return Recording(wav(np.resize(spoken, seconds * SAMPLE_RATE)))
    folder = Path(os.environ[VARIABLE]) / "real"
    with (folder / "references.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    clips = [
        row
        for row in rows
        if row["language"] == "en"
        and row["file"].startswith("libri_")
        and float(row["seconds"]) < LONGEST_CLIP
    ]
    dice = np.random.default_rng(number)
    parts: list[Samples] = []
    said: list[str] = []
    left = seconds * SAMPLE_RATE
    while True:
        for place in dice.permutation(len(clips)):
            pause = int(dice.uniform(SHORTEST_PAUSE, LONGEST_PAUSE) * SAMPLE_RATE)
            clip = read(folder / clips[place]["file"])
            if len(clip) + pause > left:
                noise = dice.normal(0, ROOM_NOISE, left).astype(np.float32)
                return Recording(wav(np.concatenate([*parts, noise])), " ".join(said))
            parts += [clip, dice.normal(0, ROOM_NOISE, pause).astype(np.float32)]
            said.append(clips[place]["text"])
            left -= len(clip) + pause


def _plain(server: Server, client: httpx.Client, recording: Recording) -> Run:
    before, began = _cpu(server.pid), time.perf_counter()
    answer = client.post("/v1/audio/transcriptions", files={"file": recording.data})
    text: str = answer.raise_for_status().json()["text"]
    seconds = time.perf_counter() - began
    return Run(seconds, _cpu(server.pid) - before, seconds, text)


def _streamed(server: Server, client: httpx.Client, recording: Recording) -> Run:
    before, began = _cpu(server.pid), time.perf_counter()
    first: float | None = None
    text = ""
    with client.stream(
        "POST",
        "/v1/audio/transcriptions",
        files={"file": recording.data},
        data={"stream": "true"},
    ) as answer:
        for line in answer.raise_for_status().iter_lines():
            if "transcript.text.delta" in line and first is None:
                first = time.perf_counter() - began
            if "transcript.text.done" in line:
                text = json.loads(line.removeprefix("data: "))["text"]
    seconds = time.perf_counter() - began
    return Run(seconds, _cpu(server.pid) - before, seconds if first is None else first, text)


def _cpu(pid: int) -> float:
    """Seconds of a server and its workers so far."""
    service = psutil.Process(pid)
    times = (each.cpu_times() for each in (service, *service.children(recursive=True)))
    return sum(float(each.user + each.system) for each in times)
