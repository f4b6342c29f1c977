"""Somebody kills the processes of an engine, and clients do not notice."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.requests.stage import Held, Stage, staged
from tests.api.support import (
    error_of,
    eventually,
    retry_after,
    upload,
    wav,
)

pytestmark = pytest.mark.slow


def meeting(speech: Samples, minutes: int) -> bytes:
    """The sample meeting over and over, ever more quietly: no two chunks are equal."""
    left = minutes * 60 * SAMPLE_RATE
    parts: list[Samples] = []
    while left:
        parts.append(speech[:left] * np.float32(0.99 ** len(parts)))
        left -= len(parts[-1])
    return wav(*parts)


@pytest.mark.parametrize(("workers", "minutes", "kills"), [(1, 30, 20), (2, 4, 3)])
def test_workers_killed_in_the_middle_of_a_long_recording_leave_no_trace(
    speech: Samples, tmp_path: Path, workers: int, minutes: int, kills: int
) -> None:
    recording = meeting(speech, minutes)
    with staged(tmp_path, workers=workers) as stage:
        undisturbed = upload(stage.server, recording)
        before = Held.idle(stage.server)
        killed: list[int] = []
        with ThreadPoolExecutor(1) as threads:
            fields = {"prompt": f"die {kills}"}
            answer = threads.submit(upload, stage.server, recording, data=fields)
            while not answer.done():
                for process in stage.noted("die")[len(killed) :]:
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
                threading.Event().wait(0.01)
        assert len(set(killed)) >= kills
        assert undisturbed.status_code == answer.result().status_code == 200
        assert answer.result().content == undisturbed.content
        before.check_no_more()


def test_a_worker_killed_three_times_at_every_chunk_hears_what_it_would_have_heard(
    calm: Stage, pauses: bytes, nothing_left: None
) -> None:
    undisturbed = upload(calm.server, pauses)
    kills = len(calm.noted("killed"))
    answer = upload(calm.server, pauses, data={"prompt": "killed thrice"})
    assert answer.content == undisturbed.content
    assert len(calm.noted("killed")) - kills >= 3 * 3  # three chunks


def test_readiness_follows_the_worker_and_the_log_tells(
    tmp_path: Path, clip: bytes, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with staged(tmp_path) as stage, ThreadPoolExecutor(1) as threads:
        (first,) = stage.noted("load")
        assert (stage.state, stage.get("/health/ready").status_code) == ("ready", 200)
        with stage.marked("shut"):
            os.kill(first, signal.SIGKILL)
            eventually(lambda: stage.state == "loading")
            refusal = stage.get("/health/ready")
            assert error_of(refusal, 503)["code"] == "engine_loading"
            assert retry_after(refusal) >= 1
            assert stage.get("/health/live").status_code == 200
            eventually(lambda: len(stage.noted("load")) == 2)
            answer = threads.submit(upload, stage.server, clip)
        assert answer.result().json()["text"] == text
        assert (stage.state, stage.get("/health/ready").status_code) == ("ready", 200)
        replacement = stage.noted("load")[1]
    assert f"faulty: worker {first} died while it waited: killed by SIGKILL" in caplog.text
    assert f"faulty: worker {replacement} died" not in caplog.text


def test_a_replacement_killed_while_it_loads_is_replaced_and_no_request_fails(
    calm: Stage, clip: bytes, text: str, caplog: pytest.LogCaptureFixture, nothing_left: None
) -> None:
    loads = len(calm.noted("load"))
    with calm.occupied(clip, text) as first, calm.marked("shut"):
        os.kill(first, signal.SIGKILL)
        (second,) = eventually(lambda: calm.noted("load")[loads:])
        assert calm.state == "loading"
        os.kill(second, signal.SIGKILL)
        eventually(lambda: len(calm.noted("load")) == loads + 2)
    assert f"worker {first} died on 1 items: killed by SIGKILL" in caplog.text
    assert f"worker {second} died while loading: killed by SIGKILL" in caplog.text
