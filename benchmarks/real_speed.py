"""Whisper base on real speech: the service against faster-whisper, which it is built on.

The weights are those of ``reflector-gpu models pull base``. The recordings are real clips if
``REFLECTOR_BENCH_AUDIO`` names the folder with ``real/references.tsv``, else the sample meeting.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
from faster_whisper import BatchedInferencePipeline, WhisperModel

from benchmarks.audio import heard
from benchmarks.figures import Figure
from benchmarks.server import Server
from benchmarks.streaming import Recording, error_rate, real_recording
from benchmarks.timing import seconds, times_as_fast
from benchmarks.watch import Watch
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.service.worker_pools import available_cores

MODEL = "base"
LONG, UPLOAD, CLIP = 602, 300, 11  # seconds
CLIPS = 16
CLIP_SECONDS = (4, 8, 11, 15)  # one after the other, until there are `CLIPS`
ROUNDS = 3
ALONE = 5  # times that a clip is sent while nothing else runs
BATCH = 8  # windows at once, as faster-whisper's README has it


def run() -> list[Figure]:
    model = MODELS[MODEL]
    folder = model.weights and model.weights.folder
    if folder is None:
        print(f"skipped: {model.installation}", file=sys.stderr)
        return []
    direct = WhisperModel(
        str(folder), compute_type="int8", cpu_threads=available_cores(), local_files_only=True
    )
    with Server(model=MODEL) as server, server.client() as client:
        _ask(client, real_recording(CLIP, 0))  # until then the model may be loading
        with Watch(_worker(server.pid)) as watch:
            figures = [_long(client, direct), _many(client, direct), _beside(client)]
        return [*figures, _memory(watch.peak)]


def _long(client: httpx.Client, direct: WhisperModel) -> Figure:
    recording = real_recording(LONG, 1)
    samples = heard(recording.data)
    batched = BatchedInferencePipeline(direct)
    texts = {"ours": "", "batched": "", "direct": ""}

    def ours() -> None:
        texts["ours"] = _ask(client, recording)

    def in_batches() -> None:
        segments, _ = batched.transcribe(
            samples, language="en", batch_size=BATCH, word_timestamps=True
        )
        texts["batched"] = " ".join(segment.text for segment in segments)

    def plain() -> None:
        segments, _ = direct.transcribe(samples, language="en", word_timestamps=True)
        texts["direct"] = " ".join(segment.text for segment in segments)

    ratio, spread = times_as_fast(ours, in_batches, ROUNDS)
    slower = seconds(plain) / seconds(ours)
    detail = f"{spread}; {slower:.2f} times as fast as without batches"
    if recording.text:
        rates = {name: error_rate([text], [recording]) for name, text in texts.items()}
        detail += "; WER " + ", ".join(f"{name} {rate:.1f} %" for name, rate in rates.items())
    name = f"one file of {LONG} s, times as fast as the batched pipeline"
    return Figure(name, ratio, ">= 1", ratio >= 1, detail)


def _many(client: httpx.Client, direct: WhisperModel) -> Figure:
    lengths = [CLIP_SECONDS[number % len(CLIP_SECONDS)] for number in range(CLIPS)]
    clips = [real_recording(length, 10 + number) for number, length in enumerate(lengths)]
    samples = [heard(clip.data) for clip in clips]

    def together() -> Sequence[str]:
        with ThreadPoolExecutor(CLIPS) as threads:
            return list(threads.map(lambda clip: _ask(client, clip), clips))

    def one_by_one() -> None:
        for one in samples:
            list(direct.transcribe(one, language="en", word_timestamps=True)[0])

    ratio, spread = times_as_fast(together, one_by_one, ROUNDS)
    name = f"{CLIPS} clips at once, times as fast as direct calls one by one"
    return Figure(name, ratio, ">= 1.5", ratio >= 1.5, spread)


def _beside(client: httpx.Client) -> Figure:
    clip, upload = real_recording(CLIP, 2), real_recording(UPLOAD, 3)
    alone = statistics.median(seconds(lambda: _ask(client, clip)) for _ in range(ALONE))
    uploading = threading.Thread(target=_ask, args=(client, upload))
    uploading.start()
    time.sleep(2 * alone)  # until its batches run
    found: list[float] = []
    while uploading.is_alive():
        found.append(seconds(lambda: _ask(client, clip)) / alone)
    found = found[:-1] or found  # the upload may have ended during the last one
    detail = f"worst of {len(found)}, median {statistics.median(found):.2f}, alone {alone:.2f} s"
    name = f"{CLIP} s clip beside an upload of {UPLOAD} s / alone"
    return Figure(name, max(found), "<= 3", max(found) <= 3, detail)


def _memory(peak: int) -> Figure:
    return Figure("peak memory of the worker, GB", peak / 1e9, "<= 1", peak <= 1e9)


def _ask(client: httpx.Client, recording: Recording) -> str:
    answer = client.post(
        "/v1/audio/transcriptions", files={"file": recording.data}, data={"language": "en"}
    )
    text: str = answer.raise_for_status().json()["text"]
    return text


def _worker(server: int) -> int:
    """The process that has the model: the largest of the server's."""
    children = psutil.Process(server).children(recursive=True)
    return max(children, key=lambda process: process.memory_info().rss).pid
