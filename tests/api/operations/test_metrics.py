"""Metrics: real values after real work."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from reflector_gpu import __version__
from reflector_gpu.types import Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.realtime.client import SIXTEEN, Client, silence
from tests.api.support import (
    TRANSCRIPTIONS,
    Gate,
    ask_url,
    does_everything,
    eventually,
    metric,
    upload,
)
from tests.live import LiveServer


@pytest.fixture(scope="module")
def started(
    data: Path,
) -> Iterator[tuple[LiveServer, BaseProcess]]:
    others = set(active_children())
    with does_everything(data) as server:
        [worker] = set(active_children()) - others
        yield server, worker


@pytest.fixture(scope="module")
def server(started: tuple[LiveServer, BaseProcess]) -> LiveServer:
    """A server that does everything, with one worker for each model."""
    return started[0]


@pytest.fixture(scope="module")
def worker(started: tuple[LiveServer, BaseProcess]) -> BaseProcess:
    """The process of its recogniser."""
    return started[1]


def _values(server: LiveServer) -> dict[str, float]:
    """Everything that the server exposes, by the beginning of its line."""
    with server.client() as client:
        text = client.get("/metrics").text
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def _increase(server: LiveServer, before: dict[str, float], line: str) -> float:
    return metric(server, line) - before.get(line, 0.0)


def _families(server: LiveServer) -> dict[str, Metric]:
    with server.client() as client:
        text = client.get("/metrics").text
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_metrics_are_prometheus_text(scripted: LiveServer, clip: bytes) -> None:
    assert upload(scripted, clip).status_code == 200
    with scripted.client() as client:
        response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    families = _families(scripted)
    assert {
        "reflector_requests": "counter",
        "reflector_request_duration_seconds": "histogram",
        "reflector_audio_seconds": "counter",
        "reflector_requests_running": "gauge",
        "reflector_chunks_waiting": "gauge",
        "reflector_workers_ready": "gauge",
        "process_resident_memory_bytes": "gauge",
    }.items() <= {name: family.type for name, family in families.items()}.items()
    assert all(family.documentation for family in families.values())
    eventually(lambda: metric(scripted, 'reflector_workers_ready{model="scripted"}') == 2)
    assert metric(scripted, 'reflector_workers{model="scripted"}') == 2
    eventually(lambda: metric(scripted, 'reflector_chunks_waiting{model="scripted"}') == 0)
    assert metric(scripted, f'reflector_build_info{{version="{__version__}"}}') == 1


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's prometheus is not installed")
def test_promtool_finds_nothing_to_criticise(server: LiveServer, clip: bytes) -> None:
    upload(server, clip)
    with server.client() as client:
        text = client.get("/metrics").text
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _requests(route: str, status: int, method: str = "POST") -> str:
    labels = f'method="{method}",route="{route}",status="{status}"'
    return f"reflector_requests_total{{{labels}}}"


def test_requests_are_counted_by_route_and_status(server: LiveServer, clip: bytes) -> None:
    lines = [_requests(TRANSCRIPTIONS, 200), _requests(TRANSCRIPTIONS, 400)]
    lines.append(f'reflector_request_duration_seconds_count{{route="{TRANSCRIPTIONS}"}}')
    before = [metric(server, line) for line in lines]
    upload(server, clip)
    upload(server, b"no audio")
    expected = [a + more for a, more in zip(before, [1, 1, 2], strict=True)]
    eventually(lambda: [metric(server, line) for line in lines] == expected)


def test_a_path_that_a_client_makes_up_is_no_label(server: LiveServer) -> None:
    line = _requests("unmatched", 404, "GET")
    before = metric(server, line)
    with server.client() as client:
        client.get("/made/up")
        client.get("/v1/models/made-up")
        text = client.get("/metrics").text
    assert "made" not in text
    eventually(lambda: metric(server, line) == before + 1)
    assert metric(server, _requests("/v1/models/{name:path}", 404, "GET")) >= 1


def test_a_key_that_is_wrong_is_counted(server: LiveServer) -> None:
    asked = {"/v1/models": "/v1/models", "/v1/models/a/b": "/v1/models/{name:path}"}
    asked |= {"/made/up": "unmatched", "/health/x": "unmatched"}
    lines = [_requests(label, 401, "GET") for label in asked.values()]
    before = [metric(server, line) for line in lines]
    with server.client(key="wrong") as client:
        for path in asked:
            assert client.get(path).status_code == 401
    expected = [a + lines.count(line) for a, line in zip(before, lines, strict=True)]
    eventually(lambda: [metric(server, line) for line in lines] == expected)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/docs", 200), ("GET", "/openapi.json", 200), ("DELETE", "/v1/models", 405)],
)
def test_every_route_has_its_label(server: LiveServer, method: str, path: str, status: int) -> None:
    line = _requests(path, status, method)
    before = metric(server, line)
    with server.client() as client:
        assert client.request(method, path).status_code == status
    eventually(lambda: metric(server, line) == before + 1)


@pytest.mark.parametrize("fields", [{}, {"stream": "true"}])
def test_audio_is_counted_in_seconds(
    server: LiveServer, clip: bytes, fields: dict[str, str]
) -> None:
    line = 'reflector_audio_seconds_total{model="scripted"}'
    before = metric(server, line)
    upload(server, clip, data=fields)
    seconds = (len(clip) - 44) / 32_000
    assert eventually(lambda: metric(server, line) - before) == pytest.approx(seconds, abs=0.01)


# What the work takes


def test_every_stage_of_a_request_is_timed(
    server: LiveServer, clip: bytes, host: AudioHost
) -> None:
    before = _values(server)
    url = host.put("/metrics.wav", Answer(clip))
    fields = {"diarize": True, "translate_to": "fr"}
    assert ask_url(server, url, **fields).status_code == 200
    stages = (
        "download decode detect_speech queue recognise diarize translate render"  # in this order
    ).split()
    for stage in stages:
        lines = (
            f'reflector_stage_duration_seconds_{what}{{stage="{stage}"}}'
            for what in ("count", "sum")
        )
        count, seconds = (_increase(server, before, line) for line in lines)
        assert count >= 1, stage
        assert 0 < seconds < 30, stage


def test_a_recording_tells_how_fast_it_was(server: LiveServer, clip: bytes) -> None:
    before = _values(server)
    assert upload(server, clip).status_code == 200
    labels = '{model="scripted"}'
    assert _increase(server, before, f"reflector_rtfx_count{labels}") == 1
    assert _increase(server, before, f"reflector_rtfx_sum{labels}") > 0
    assert _increase(server, before, f"reflector_batch_size_sum{labels}") == 1
    fill = _increase(server, before, f"reflector_batch_fill_ratio_sum{labels}")
    assert fill == pytest.approx(1 / 16)  # which is what the scripted model takes
    assert _increase(server, before, f"reflector_batch_duration_seconds_count{labels}") == 1
    waits = 'reflector_queue_wait_seconds_count{class="live",model="scripted"}'
    assert _increase(server, before, waits) == 1
    assert metric(server, f"reflector_model_load_duration_seconds_count{labels}") >= 1


def test_only_streams_tell_when_their_first_words_came(server: LiveServer, pauses: bytes) -> None:
    line = f'reflector_time_to_first_word_seconds_count{{route="{TRANSCRIPTIONS}"}}'
    before = _values(server)
    upload(server, pauses)
    assert _increase(server, before, line) == 0
    upload(server, pauses, data={"stream": "true"})
    assert _increase(server, before, line) == 1


def test_the_state_of_a_model_is_one_of_five(server: LiveServer) -> None:
    line = 'reflector_model_state{model="scripted",state="%s"}'
    eventually(lambda: metric(server, line % "ready") == 1)
    states = ("loading", "idle", "failed", "closed")
    assert [metric(server, line % state) for state in states] == [0, 0, 0, 0]


def test_a_worker_that_dies_is_counted_and_its_model_loads_again(
    server: LiveServer, worker: BaseProcess, clip: bytes
) -> None:
    before = _values(server)
    labels = '{model="scripted"}'
    assert before[f"reflector_worker_restarts_total{labels}"] == 0
    worker.kill()
    eventually(lambda: _increase(server, before, f"reflector_worker_restarts_total{labels}") == 1)
    assert upload(server, clip).status_code == 200
    loads = f"reflector_model_load_duration_seconds_count{labels}"
    assert _increase(server, before, loads) == 1


# Sessions and jobs


def test_a_realtime_session_is_open_and_tells_how_late_its_words_are(
    server: LiveServer, snippets: list[Samples]
) -> None:
    before = _values(server)
    with Client(server, format=SIXTEEN) as client:
        eventually(lambda: metric(server, "reflector_realtime_sessions") == 1)
        client.speak(silence(1))
        client.speak(snippets[0])
        client.speak(silence(1))
        words = client.completed()["transcript"].split()
    eventually(lambda: metric(server, "reflector_realtime_sessions") == 0)
    line = 'reflector_realtime_word_delay_seconds_%s{model="scripted"}'
    assert _increase(server, before, line % "count") == len(words) > 0
    assert 0 <= _increase(server, before, line % "sum") < 60


def test_jobs_are_counted_while_they_wait_and_when_they_end(
    server: LiveServer, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _values(server)
    gate = Gate(server, monkeypatch)
    gate.free = 0
    ended = 'reflector_jobs_ended_total{kind="transcription",status="%s"}'
    with server.client() as client:
        jobs = [
            client.post("/v1/jobs", files={"file": ("a.wav", audio)}).json()["id"]
            for audio in (clip, clip, clip, b"no audio")
        ]
        eventually(lambda: metric(server, 'reflector_jobs{status="running"}') == 2)
        assert metric(server, 'reflector_jobs{status="queued"}') == 2
        client.post(f"/v1/jobs/{jobs[2]}/cancel")
        gate.open()
        eventually(lambda: _increase(server, before, ended % "completed") == 2)
        eventually(lambda: _increase(server, before, ended % "failed") == 1)
    assert _increase(server, before, ended % "cancelled") == 1
    assert metric(server, 'reflector_jobs{status="queued"}') == 0
    stages = 'reflector_stage_duration_seconds_count{stage="recognise"}'
    assert _increase(server, before, stages) == 2
    assert _increase(server, before, 'reflector_rtfx_count{model="scripted"}') == 2


# What clients can make of it


def test_labels_have_no_value_that_a_client_has_made_up(server: LiveServer, clip: bytes) -> None:
    with server.client() as client:
        client.headers["X-Request-ID"] = "made-up-1"
        client.request("MADEUP", "/made-up-2")
        client.post(TRANSCRIPTIONS, files={"file": clip}, data={"model": "made-up-3"})
        client.post("/v1/jobs", files={"file": clip}, data={"kind": "made-up-4"})
    assert not re.findall("made-?up", "\n".join(_values(server)), re.IGNORECASE)
