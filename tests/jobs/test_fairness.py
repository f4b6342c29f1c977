"""Jobs do not keep people waiting who want their answer now."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from reflector_gpu.types import SAMPLE_RATE, Priority, Samples, TranscribeOptions
from tests.api.support import TRANSCRIPTIONS, Gate, eventually
from tests.jobs.counted import HELD, noted, quiet
from tests.jobs.test_killed import recording
from tests.live import LiveServer

LIVE = 3  # people


class Queued(Gate):
    """Counts the chunks that wait for a worker by the class of their request."""

    def __init__(self, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(server, monkeypatch)
        self.count: Counter[Priority] = Counter()

    async def _pass(self, item: Samples, group: TranscribeOptions, **rest: Any) -> object:
        self.count[rest["priority"]] += 1
        return await super()._pass(item, group, **rest)


def completed(http: httpx.Client, job: str) -> None:
    eventually(lambda: http.get(f"/v1/jobs/{job}").json()["status"] == "completed")


def test_live_requests_pass_jobs_that_came_first(
    tmp_path: Path, speech: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker, which is busy with the first of many chunks of two jobs when they come."""
    sentence = {"file": ("live.wav", recording(speech[: 2 * SAMPLE_RATE], 1))}
    meeting = {"file": ("talk.wav", recording(speech, 1))}
    with LiveServer(**quiet(tmp_path, monkeypatch)) as server, server.client(None) as http:
        queued = Queued(server, monkeypatch)
        http.post(TRANSCRIPTIONS, files=sentence).raise_for_status()
        live = set(noted(tmp_path))
        held = tmp_path / HELD
        held.touch()
        queued.count.clear()
        before = len(noted(tmp_path))
        jobs = [http.post("/v1/jobs", files=meeting).json()["id"] for _ in range(2)]
        eventually(lambda: queued.count[Priority.FILE] >= 4)  # more than the worker can have
        answers: list[httpx.Response] = []

        def ask() -> None:
            with server.client(None) as client:
                answers.append(client.post(TRANSCRIPTIONS, files=sentence))

        threads = [threading.Thread(target=ask) for _ in range(LIVE)]
        for thread in threads:
            thread.start()
        eventually(lambda: queued.count[Priority.LIVE] == LIVE)
        held.unlink()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * LIVE
        for job in jobs:
            completed(http, job)
    order = noted(tmp_path)[before:]
    last = max(number for number, chunk in enumerate(order) if chunk in live)
    assert last <= LIVE + 2  # besides the chunk that was there, and one that takes its turn
    assert len(order) > 4 * LIVE
