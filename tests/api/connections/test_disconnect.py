"""A client that leaves ends its work and frees what the work held."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from reflector_gpu.audio.spool import Spool
from reflector_gpu.engines.recognition import catalog
from tests.api import engines
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    FROM_URL,
    NOBODY,
    TRANSCRIBE,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    Gate,
    ask_url,
    eventually,
    metric,
    running,
    send_raw,
    upload,
)
from tests.live import KEY, LiveServer
from tests.waiting import PATIENCE_SECONDS


@dataclass
class Watch:
    """The resources that a server holds for its clients."""

    server: LiveServer
    idle_tasks: int
    spools: list[Spool] = field(default_factory=list)

    @property
    def tasks(self) -> int:
        return len(asyncio.all_tasks(_loop(self.server)))

    def check_freed(self, *, files: int) -> None:
        """Wait until permits, files, threads and tasks are gone; ``files`` is how many it had."""
        eventually(lambda: running(self.server, "live") == 0 == running(self.server, "file"))
        assert len(self.spools) == files
        eventually(lambda: all(spool.closed for spool in self.spools))
        eventually(lambda: "decode" not in {thread.name for thread in threading.enumerate()})
        eventually(lambda: self.tasks <= self.idle_tasks)


def _loop(server: LiveServer) -> asyncio.AbstractEventLoop:
    return server._server.servers[0].get_loop()


@pytest.fixture
def watch(scripted: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch(scripted, len(asyncio.all_tasks(_loop(scripted))))
    make = scripted.service.recordings.spool

    def spool() -> Spool:
        watch.spools.append(make())
        return watch.spools[-1]

    monkeypatch.setattr(scripted.service.recordings, "spool", spool)
    return watch


def begin(
    server: LiveServer, path: str, *files: bytes, share: float = 1.0, **data: str
) -> socket.socket:
    """Send files and do not wait for the answer."""
    sent = [("files", content) for content in files]
    with server.client() as client:
        request = client.build_request("POST", path, files=sent, data={"model": "scripted", **data})
    return send_raw(server, request, share=share)


def begin_url(
    server: LiveServer, url: str, *, share: float = 1.0, **fields: object
) -> socket.socket:
    with server.client() as client:
        json = {"audio_file_url": url, **fields}
        request = client.build_request("POST", FROM_URL, json=json)
    return send_raw(server, request, share=share)


def read_until(connection: socket.socket, text: bytes) -> None:
    received = b""
    while text not in received:
        data = connection.recv(10_000)
        assert data, received
        received += data


def test_a_worker_that_starts_quickly_is_freed_from_work_that_nobody_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: bytes, text: str
) -> None:
    faulty = engines.faulty(tmp_path)
    quick = replace(faulty, spec=replace(faulty.spec, quick_restart=True))
    monkeypatch.setitem(catalog.MODELS, "faulty", quick)
    with LiveServer(model="faulty", apikey=KEY, workers=1) as server:
        connection = begin(server, TRANSCRIPTIONS, clip, model="faulty", prompt="wait")
        eventually(lambda: "batch" in (tmp_path / "notes").read_text())
        connection.close()  # and the engine would wait for ever
        assert upload(server, clip).json()["text"] == text


@pytest.mark.usefixtures("translating")
@pytest.mark.parametrize("path", [TRANSCRIPTIONS, TRANSLATIONS, TRANSCRIBE])
def test_while_the_engine_works(
    scripted: LiveServer, watch: Watch, gate: Gate, clip: bytes, text: str, path: str
) -> None:
    line = f'reflector_requests_total{{method="POST",route="{path}",status="499"}}'
    left_before = metric(scripted, line)
    gate.free = 0
    connection = begin(scripted, path, clip)
    eventually(lambda: gate.arrived)
    eventually(lambda: running(scripted, "live") == 1)
    assert not watch.spools[0].closed
    connection.close()
    watch.check_freed(files=1)
    assert gate.cancelled == 1
    eventually(lambda: metric(scripted, line) == left_before + 1)
    gate.open()
    assert upload(scripted, clip).json()["text"] == text


@pytest.mark.parametrize(("batch", "held"), [("true", 3), ("false", 1)])
def test_while_the_engine_works_on_several_files(
    scripted: LiveServer,
    watch: Watch,
    gate: Gate,
    clips: Sequence[bytes],
    batch: str,
    held: int,
) -> None:
    gate.free = 0
    connection = begin(scripted, TRANSCRIPTIONS, *clips[:3], batch=batch)
    eventually(lambda: gate.arrived == held)
    connection.close()
    watch.check_freed(files=3)
    assert gate.cancelled == gate.arrived == held


def test_while_a_recording_has_many_chunks_to_go(
    scripted: LiveServer, watch: Watch, gate: Gate, pauses: bytes
) -> None:
    gate.free = 1
    connection = begin(scripted, TRANSCRIPTIONS, pauses)
    eventually(lambda: gate.arrived == 3)
    connection.close()
    watch.check_freed(files=1)
    assert gate.cancelled == 2


def test_in_the_middle_of_a_stream(
    scripted: LiveServer, watch: Watch, gate: Gate, pauses: bytes
) -> None:
    statuses = f'reflector_requests_total{{method="POST",route="{TRANSCRIPTIONS}",status='
    failed_before = metric(scripted, f'{statuses}"500"}}')
    begun_before = metric(scripted, f'{statuses}"200"}}')
    gate.free = 1
    connection = begin(scripted, TRANSCRIPTIONS, pauses, stream="true")
    read_until(connection, b"transcript.text.delta")
    eventually(lambda: gate.arrived == 3)
    connection.close()
    watch.check_freed(files=1)
    assert gate.cancelled == 2
    eventually(lambda: metric(scripted, f'{statuses}"200"}}') == begun_before + 1)
    assert metric(scripted, f'{statuses}"500"}}') == failed_before


def test_before_a_stream_has_begun(
    scripted: LiveServer, watch: Watch, gate: Gate, clip: bytes
) -> None:
    gate.free = 0
    connection = begin(scripted, TRANSCRIPTIONS, clip, stream="true")
    eventually(lambda: gate.arrived)
    connection.close()
    watch.check_freed(files=1)
    assert gate.cancelled == 1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_in_the_middle_of_an_upload(
    scripted: LiveServer, watch: Watch, gate: Gate, clip: bytes, share: float
) -> None:
    connection = begin(scripted, TRANSCRIPTIONS, clip, share=share)
    eventually(lambda: running(scripted, "live") == 1)
    eventually(lambda: bool(watch.spools) == (share > 0))
    connection.close()
    watch.check_freed(files=int(share > 0))
    assert gate.arrived == 0


def test_in_the_middle_of_a_json_body(scripted: LiveServer, watch: Watch) -> None:
    connection = begin_url(scripted, NOBODY, share=0.5)
    eventually(lambda: running(scripted, "file") == 1)
    connection.close()
    watch.check_freed(files=0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stalls_at", [0.0, 0.001, 0.5])
def test_while_the_download_runs(
    scripted: LiveServer,
    watch: Watch,
    clip: bytes,
    text: str,
    host: AudioHost,
    stream: bool,
    stalls_at: float,
) -> None:
    answer = Answer(clip, pause_at=int(len(clip) * stalls_at))
    connection = begin_url(scripted, host.put("/stalls.wav", answer), stream=stream)
    assert answer.paused.wait(PATIENCE_SECONDS)
    eventually(lambda: running(scripted, "file") == 1)
    connection.close()
    watch.check_freed(files=1)
    assert answer.abandoned.wait(PATIENCE_SECONDS), "the download goes on"
    assert ask_url(scripted, host.put("/fine.wav", Answer(clip))).json()["text"] == text


def test_in_the_middle_of_a_stream_that_still_downloads(
    scripted: LiveServer, watch: Watch, pauses: bytes, host: AudioHost
) -> None:
    answer = Answer(pauses, pause_at=len(pauses) * 9 // 10)
    connection = begin_url(scripted, host.put("/stalls.wav", answer), stream=True)
    read_until(connection, b"transcript.text.delta")
    connection.close()
    watch.check_freed(files=1)
    assert answer.abandoned.wait(PATIENCE_SECONDS)


def test_what_is_finished_is_freed_as_well(
    scripted: LiveServer, watch: Watch, clips: Sequence[bytes], host: AudioHost
) -> None:
    assert upload(scripted, *clips[:2]).status_code == 200
    assert upload(scripted, clips[0], data={"stream": "true"}).status_code == 200
    assert upload(scripted, b"no audio", data={"stream": "true"}).status_code == 400
    assert ask_url(scripted, host.put("/a.wav", Answer(clips[0])), stream=True).status_code == 200
    assert ask_url(scripted, host.put("/b.wav", Answer(clips[0]))).status_code == 200
    assert ask_url(scripted, host.put("/c.wav", Answer(status=404))).status_code == 404
    watch.check_freed(files=7)
