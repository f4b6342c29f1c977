"""Processes that are killed every few seconds, and whether anybody's words change over it.

Whisper tiny.en hears 333 seconds of real speech again and again, until its worker and the decoders
have been killed 47 times, whether they were starting, waiting or in the middle of something. The
recordings are those of `real_speed`.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from contextlib import suppress

import httpx
import psutil

from benchmarks.figures import Figure
from benchmarks.server import Server
from benchmarks.streaming import Recording, real_recording
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.formats.audio_warnings import WARNINGS_HEADER

MODEL = "tiny.en"
SECONDS = 333
KILLS = 47
INTERVAL = 8.0


class Killer:
    """A thread that kills all processes but a server's own at intervals, `KILLS` times."""

    def __init__(self, server: int) -> None:
        self.kills = 0
        self._server = psutil.Process(server)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work)

    @property
    def done(self) -> bool:
        return self.kills == KILLS

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        while not self.done and not self._stopped.wait(INTERVAL):
            for process in self._server.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if "resource_tracker" not in " ".join(process.cmdline()):
                        process.kill()
            self.kills += 1


def run() -> list[Figure]:
    model = MODELS[MODEL]
    if model.missing:
        print(f"skipped: {model.installation}", file=sys.stderr)
        return []
    recording = real_recording(SECONDS, 1)
    disturbed: list[float] = []
    changed = failed = lost = 0
    with Server(model=MODEL) as server, server.client() as client:
        undisturbed, alone = _heard(client, recording)
        with Killer(server.pid) as killer:
            while not killer.done:
                answer, took = _heard(client, recording)
                disturbed.append(took)
                if answer.status_code != 200:
                    failed += 1
                    print(f"failed: {answer.status_code} {answer.text}", file=sys.stderr)
                lost += WARNINGS_HEADER in answer.headers
                changed += answer.content != undisturbed.content
    times = f"{statistics.median(disturbed):.0f} s each, {alone:.0f} s undisturbed"
    kills = f"{killer.kills} kills, one every {INTERVAL:g} s"
    detail = f"{kills}; {times}; {failed} failed, {lost} lack a part"
    share = (len(disturbed) - changed) / len(disturbed)
    return [
        Figure(
            f"same answer with killed processes, of {len(disturbed)} times {SECONDS} s",
            share,
            ">= 1",
            share == 1,
            detail,
        )
    ]


def _heard(client: httpx.Client, recording: Recording) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = client.post(
        "/v1/audio/transcriptions",
        files={"file": recording.data},
        data={"response_format": "verbose_json", "language": "en"},
    )
    return answer, time.monotonic() - began
