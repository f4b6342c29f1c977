"""A request leaves nothing behind: no open file, and no object that holds what a client sent."""

from __future__ import annotations

import gc
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.spool import Spool
from reflector_gpu.engines.diarization.base import PcmRecording
from reflector_gpu.errors import EngineFailed
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.runtime import admission
from reflector_gpu.runtime.queue import Job
from reflector_gpu.types import SAMPLE_RATE, Chunk, Recognition, Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    FROM_URL,
    NOBODY,
    TRANSCRIBE,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    Gate,
    eventually,
    running,
    send_raw,
    wav,
)
from tests.live import KEY, LiveServer

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")

KEPT = (Spool, Recorder, PcmRecording, Chunk, Part, Recognition, Job, admission.RecordingTally)
"""What holds the audio of a client, or its words."""


@dataclass
class Leftovers:
    """What a server holds of its clients."""

    server: LiveServer
    parent: Path

    @property
    def files(self) -> list[str]:
        """Open files in the server's folder, its workers' included."""
        us = psutil.Process()
        return [
            target
            for process in (us, *us.children(recursive=True))
            for target in _open_files(process.pid)
            if target.endswith(" (deleted)") and target.startswith(f"{self.parent}/")
        ]

    @contextmanager
    def none(self) -> Iterator[None]:
        """See that what comes into being inside the block is gone after it, garbage or not."""
        gc.freeze()  # `_held` does not look at what is there already, which is a million objects
        gc.disable()
        try:
            yield
            for kind in ("live", "file"):
                eventually(lambda kind=kind: running(self.server, kind) == 0)  # type: ignore[misc]  # a default in a lambda
            eventually(lambda: not self.files)
            eventually(lambda: not _held())
            (folder,) = self.parent.iterdir()
            assert not list(folder.iterdir())
        finally:
            gc.enable()
            gc.unfreeze()


def _open_files(pid: int) -> Iterator[str]:
    with suppress(OSError):  # the process has just ended
        for number in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # the file has just been closed
                yield str(number.readlink())


def _held() -> list[object]:
    return [one for one in gc.get_objects() if isinstance(one, KEPT)]


@pytest.fixture(scope="module")
def leftovers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leftovers]:
    folder = tmp_path_factory.mktemp("spool")
    with LiveServer(
        model="scripted", apikey=KEY, url_allow="127.0.0.1", url_retries=0, spool_dir=folder
    ) as server:
        yield Leftovers(server, folder)


@pytest.fixture(scope="module")
def meeting(speech: Samples) -> bytes:
    """Too much to stay in memory."""
    return wav(speech[: 15 * SAMPLE_RATE])


def post(
    server: LiveServer, route: str, meeting: bytes, data: Mapping[str, str] | None = None
) -> httpx.Response:
    name = "audio_file" if route in ("/asr", "/detect-language") else "file"
    with server.client() as client:
        return client.post(route, files={name: meeting}, data=data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("route", "data"),
    [
        (TRANSCRIPTIONS, {}),
        (TRANSCRIPTIONS, {"stream": "true"}),
        (TRANSCRIPTIONS, {"diarize": "true"}),
        (TRANSCRIPTIONS, {"diarize": "true", "stream": "true"}),
        (TRANSCRIBE, {}),
        ("/asr", {}),
        ("/detect-language", {}),
        ("/diarize", {}),
        ("/v1/audio/diarization", {}),
    ],
)
def test_after_an_upload(
    leftovers: Leftovers, meeting: bytes, route: str, data: dict[str, str]
) -> None:
    with leftovers.none():
        assert post(leftovers.server, route, meeting, data).status_code == 200


@pytest.mark.parametrize("diarize", [False, True])
def test_after_a_recording_by_url(
    leftovers: Leftovers, meeting: bytes, host: AudioHost, diarize: bool
) -> None:
    url = host.put("/meeting.wav", Answer(meeting))
    with leftovers.none(), leftovers.server.client() as client:
        body = {"audio_file_url": url, "diarize": diarize}
        assert client.post(FROM_URL, json=body).status_code == 200


@pytest.mark.parametrize("route", [TRANSCRIPTIONS, TRANSLATIONS, "/diarize"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_after_audio_that_cannot_be_used(
    leftovers: Leftovers, meeting: bytes, route: str, share: float
) -> None:
    bad = meeting[: int(share * len(meeting))] or bytes(100_000)
    with leftovers.none():
        data = {"temperature": "9", "num_speakers": "-1"} if share else {}
        assert post(leftovers.server, route, bad, data).status_code == 400


@pytest.mark.slow
@pytest.mark.parametrize("route", [FROM_URL, "/diarize", "/pad"])
def test_after_a_download_that_fails(leftovers: Leftovers, host: AudioHost, route: str) -> None:
    cut = host.put("/cut.wav", Answer(bytes(200_000), cut_at=100_000))
    with leftovers.server.client() as client:
        for url in (NOBODY, cut):
            with leftovers.none():
                fields = {"audio_file_url": url, "track_url": url}
                if route == "/pad":
                    fields |= {"output_url": NOBODY, "start_time_seconds": "1"}
                if route == "/diarize":
                    response = client.post(route, params={"audio_file_url": url})
                else:
                    response = client.post(route, json=fields)
                assert response.status_code >= 400


def test_after_a_receiver_that_takes_nothing(
    leftovers: Leftovers, host: AudioHost, meeting: bytes
) -> None:
    url = host.put("/meeting.wav", Answer(meeting))
    fields = {"track_url": url, "output_url": NOBODY, "start_time_seconds": 1}
    with leftovers.none(), leftovers.server.client() as client:
        assert client.post("/pad", json=fields).status_code == 502


@pytest.mark.parametrize("stream", ["true", "false"])
def test_after_an_engine_that_fails(
    leftovers: Leftovers, meeting: bytes, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    """Meanwhile there are files, or this test could see none."""
    gate = Gate(leftovers.server, monkeypatch)
    gate.free = 0
    with leftovers.none():
        with leftovers.server.client() as client:
            data = {"stream": stream, "diarize": "true"}
            request = client.build_request(
                "POST", TRANSCRIPTIONS, files={"file": meeting}, data=data
            )
        with send_raw(leftovers.server, request) as connection:
            eventually(lambda: gate.arrived)
            eventually(lambda: leftovers.files)
            gate.open(EngineFailed("It broke."))
            connection.recv(100)


def test_after_a_client_that_leaves(
    leftovers: Leftovers, meeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(leftovers.server, monkeypatch)
    gate.free = 0
    with leftovers.none():
        with leftovers.server.client() as client:
            request = client.build_request("POST", TRANSCRIPTIONS, files={"file": meeting})
        with send_raw(leftovers.server, request):
            eventually(lambda: gate.arrived)
        eventually(lambda: gate.cancelled)


# The folder


def test_a_server_has_a_folder_of_its_own_and_removes_it(tmp_path: Path, clip: bytes) -> None:
    with LiveServer(model="scripted", apikey=KEY, spool_dir=tmp_path) as server:
        (folder,) = tmp_path.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert post(server, TRANSCRIPTIONS, clip).status_code == 200
    assert not list(tmp_path.iterdir())
