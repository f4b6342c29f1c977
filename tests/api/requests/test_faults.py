"""What goes wrong behind the API, and how little of it clients are told.

Engines crash, hang and answer nonsense, somebody kills their processes, the disk is full, audio
hosts hang up: other requests do not notice, and nothing is left over.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from reflector_gpu.engines.recognition import catalog
from reflector_gpu.formats.audio_warnings import WARNINGS_HEADER
from reflector_gpu.runtime import worker
from reflector_gpu.runtime.watchdog import Watchdog
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api import engines
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    TRANSCRIBE,
    TRANSCRIPTIONS,
    ask_url,
    check_words,
    error_of,
    eventually,
    retry_after,
    silence,
    upload,
    wav,
)
from tests.disks import small_disk
from tests.live import KEY, LiveServer

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Stage:
    """A server over the engine that misbehaves to order, and what that engine notes."""

    server: LiveServer
    folder: Path

    def noted(self, what: str) -> list[int]:
        """The processes that noted ``what``, one for each time."""
        lines = (self.folder / "notes").read_text().splitlines()
        return [int(line.rpartition(" ")[2]) for line in lines if line.startswith(what)]

    def get(self, path: str) -> httpx.Response:
        with self.server.client() as client:
            return client.get(path)

    @property
    def state(self) -> str:
        return str(self.get("/v1/models/faulty").json()["state"])

    @contextmanager
    def marked(self, name: str) -> Iterator[None]:
        """With the file ``name`` for the engine to see."""
        (self.folder / name).touch()
        try:
            yield
        finally:
            (self.folder / name).unlink()

    @contextmanager
    def occupied(self, recording: bytes, text: str) -> Iterator[int]:
        """While the only worker is at ``recording``, which is answered when the block ends.

        Gives the worker's process.
        """
        before = len(self.noted("batch"))
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(upload, self.server, recording, data={"prompt": "wait"})
            try:
                yield eventually(lambda: self.noted("batch")[before:])[0]
            finally:
                with self.marked("go"):
                    answered = answer.result()
        assert answered.json()["text"] == text

    def waits(self, chunks: int) -> None:
        """Until so many have to wait for the worker."""
        pool = self.server.service.workers.pool(self.server.service.recognisers.default)
        eventually(lambda: pool.waiting == chunks)


@contextmanager
def staged(folder: Path, *, hasty: bool = False, **settings: object) -> Iterator[Stage]:
    """With ``hasty``, a batch may take `engines.HASTE_SECONDS`."""
    given = {"model": "faulty", "apikey": KEY, "url_allow": "127.0.0.1", "workers": 1, **settings}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.MODELS, "faulty", engines.faulty(folder, hasty=hasty))
        with LiveServer(wait=True, **given) as server:
            yield Stage(server, folder)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, clip: bytes) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("calm"), url_retries=1) as stage:
        assert upload(stage.server, clip).status_code == 200
        yield stage


class _Clock:
    """Stands still, however slow the machine is, but runs while the process of an engine hangs."""

    def __init__(self, folder: Path) -> None:
        self._notes = folder / "notes"
        self._notes.touch()
        self._now = 0.0

    def __call__(self) -> float:
        if self._hangs():
            self._now += 2 * engines.HASTE_SECONDS
        return self._now

    def _hangs(self) -> bool:
        if not (lines := self._notes.read_text().splitlines()):
            return False
        what, _, process = lines[-1].rpartition(" ")
        with suppress(psutil.NoSuchProcess):
            return what == "hang" or psutil.Process(int(process)).status() == psutil.STATUS_STOPPED
        return False


@pytest.fixture
def hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage that gives up an engine that hangs at once, and one that is slow never."""
    monkeypatch.setattr(worker, "Watchdog", partial(Watchdog, clock=_Clock(tmp_path)))
    with staged(tmp_path, hasty=True) as stage:
        yield stage


@dataclass(frozen=True)
class Held:
    """What this process holds: open files, threads, children."""

    files: int
    threads: Counter[str]
    children: int

    @classmethod
    def now(cls) -> Held:
        names = (thread.name for thread in threading.enumerate())
        threads = Counter(name for name in names if not name.startswith("asyncio_"))  # a pool's
        files = len(list(Path("/dev/fd").iterdir()))
        return cls(files, threads, len(psutil.Process().children()))

    @classmethod
    def idle(cls, server: LiveServer) -> Held:
        """Once nobody is connected and nothing is decoded any more."""
        eventually(lambda: not server._server.server_state.connections)
        eventually(lambda: not cls.now().threads["decode"])
        return cls.now()

    def check_no_more(self) -> None:
        """Wait until there is nothing beyond this."""

        def freed() -> bool:
            now = Held.now()
            less = now.files <= self.files and now.children <= self.children
            return less and now.threads <= self.threads

        eventually(freed)


@pytest.fixture
def nothing_left(calm: Stage) -> Iterator[None]:
    before = Held.idle(calm.server)
    yield
    before.check_no_more()
    eventually(lambda: calm.state == "ready")


# Killed


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


# Engines that misbehave


CAUSES = {
    "segfault": "killed by SIGSEGV",
    "abort": "killed by SIGABRT",
    "killed for its memory": "killed by SIGKILL",
    "hang": "it hung and was killed",
}


def check_poisoned(error: dict[str, Any]) -> None:
    assert (error["type"], error["code"]) == ("server_error", "engine_failed")
    assert "secret" not in error["message"]


@dataclass(frozen=True)
class Bench:
    """Recordings of a chunk each, all of them wholesome but for ``poison``."""

    clips: Sequence[bytes]
    texts: Sequence[str]
    poison: bytes
    long_clip: bytes
    long_text: str

    def heard(self, stage: Stage, how: str, *requests: Sequence[bytes]) -> list[httpx.Response]:
        """The answers to ``requests``, whose files are all worked on in one batch."""
        with ThreadPoolExecutor() as threads:
            with stage.occupied(self.long_clip, self.long_text):
                fields = {"prompt": how}
                answers = [
                    threads.submit(upload, stage.server, *files, data=fields) for files in requests
                ]
                stage.waits(sum(map(len, requests)))
            found = [answer.result() for answer in answers]
        eventually(lambda: stage.state == "ready")
        return found

    def check_alone(self, stage: Stage, how: str) -> None:
        """What is poisonous fails, and not what is beside it."""
        (answer,) = self.heard(stage, how, (self.clips[0], self.poison))
        good, bad = answer.json()["results"]
        assert good["text"] == self.texts[0]
        check_poisoned(bad["error"])


@pytest.fixture(scope="module")
def bench(
    scripted: LiveServer, snippets: list[Samples], clips: list[bytes], texts: list[str]
) -> Bench:
    poison = wav(snippets[3] * np.float32(0.99 / np.abs(snippets[3]).max()))
    long_clip = wav(*snippets[:3])
    return Bench(clips, texts, poison, long_clip, upload(scripted, long_clip).json()["text"])


@pytest.mark.parametrize("how", engines.CRASHES)
def test_what_crashes_the_engine_fails_alone(
    request: pytest.FixtureRequest, bench: Bench, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage: Stage = request.getfixturevalue("hasty" if how == "hang" else "calm")
    bench.check_alone(stage, how)
    alone = 3 if how == "killed for its memory" else 2
    assert caplog.text.count(f"died on 2 items: {CAUSES[how]}") == 1
    assert caplog.text.count(f"died on 1 items: {CAUSES[how]}") == alone


@pytest.mark.parametrize("how", [*engines.GARBAGE, *engines.MISCOUNTS])
def test_what_the_engine_answers_wrong_fails_alone(calm: Stage, bench: Bench, how: str) -> None:
    workers = calm.noted("load")
    bench.check_alone(calm, how)
    assert calm.noted("load") == workers, "the process was not at fault"


@pytest.mark.parametrize("how", ["segfault", "text"])
def test_requests_that_share_a_batch_with_a_bad_one_do_not_notice(
    calm: Stage, bench: Bench, how: str
) -> None:
    files = (bench.clips[0], bench.poison, bench.clips[1])
    first, bad, last = bench.heard(calm, how, *([file] for file in files))
    assert (first.json()["text"], last.json()["text"]) == tuple(bench.texts[:2])
    check_poisoned(error_of(bad, 503))
    assert retry_after(bad) >= 1


# A recording of which a part cannot be recognised


@pytest.fixture(scope="module")
def partly_deadly(snippets: list[Samples]) -> bytes:
    """Three chunks; the second is poisonous."""
    gap = silence(2.5)
    loud = snippets[3] * np.float32(0.99 / np.abs(snippets[3]).max())
    return wav(snippets[0], gap, loud, gap, snippets[1])


@pytest.fixture(scope="module")
def whole(calm: Stage, partly_deadly: bytes) -> list[dict[str, Any]]:
    """The words of `partly_deadly` if nothing goes wrong."""
    words: list[dict[str, Any]] = upload(calm.server, partly_deadly).json()["words"]
    return words


def check_rest(whole: list[dict[str, Any]], warnings: Any, text: str) -> None:
    """The transcript has what is not in the single stretch that the warnings name, and no more."""
    ((start, end),) = warnings["unheard"]
    around = [word["word"] for word in whole if not start - 1 < word["start"] < end + 1]
    assert 0 < len(around) < len(whole)
    assert text == "".join(around).strip()


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        (TRANSCRIPTIONS, {}),
        (TRANSCRIPTIONS, {"response_format": "verbose_json"}),
        (TRANSCRIPTIONS, {"diarize": "true"}),
        (TRANSCRIPTIONS, {"response_format": "text"}),
        (TRANSCRIBE, {}),
    ],
)
def test_one_dead_chunk_does_not_discard_the_rest(
    calm: Stage,
    whole: list[dict[str, Any]],
    partly_deadly: bytes,
    route: str,
    fields: dict[str, str],
) -> None:
    data = {"prompt": "abort", **fields}
    answer = upload(calm.server, partly_deadly, route=route, data=data)
    assert answer.status_code == 200
    warnings = json.loads(answer.headers[WARNINGS_HEADER])
    if answer.headers["Content-Type"] == "application/json":
        assert answer.json()["warnings"] == warnings
        check_rest(whole, warnings, answer.json()["text"])
    else:
        check_rest(whole, warnings, answer.text.strip())


def test_a_stream_goes_on_after_a_dead_chunk_and_says_so_at_its_end(
    calm: Stage, whole: list[dict[str, Any]], partly_deadly: bytes
) -> None:
    with calm.server.openai() as client:
        *deltas, done = client.audio.transcriptions.create(
            model="whisper-1", file=("a.wav", partly_deadly), prompt="abort", stream=True
        )
    assert done.type == "transcript.text.done"
    said = [event.delta for event in deltas if event.type == "transcript.text.delta"]
    assert "".join(said).strip() == done.text
    check_rest(whole, done.model_dump()["warnings"], done.text)


def test_strict_requests_get_an_error_instead(
    calm: Stage, partly_deadly: bytes, host: AudioHost
) -> None:
    url = host.put("/partly.wav", Answer(partly_deadly))
    strict = upload(calm.server, partly_deadly, data={"prompt": "abort", "strict": "true"})
    check_poisoned(error_of(strict, 503))
    check_poisoned(error_of(ask_url(calm.server, url, prompt="abort", strict=True), 503))
    assert ask_url(calm.server, url, prompt="abort", strict=False).status_code == 200


@pytest.mark.parametrize("fields", [{}, {"stream": "true"}])
def test_a_recording_of_which_nothing_can_be_heard_is_an_error(
    calm: Stage, bench: Bench, fields: dict[str, str]
) -> None:
    answer = upload(calm.server, bench.poison, data={"prompt": "abort", **fields})
    check_poisoned(error_of(answer, 503))
    assert retry_after(answer) >= 1


@pytest.mark.parametrize("how", engines.BAD_TIMES)
def test_bad_times_are_put_right(calm: Stage, bench: Bench, how: str) -> None:
    expected = upload(calm.server, bench.poison).json()["text"]
    body = upload(calm.server, bench.poison, data={"prompt": how}).json()
    assert body["text"] == expected
    check_words(body["words"], expected)


@pytest.mark.parametrize("working", [False, True])
def test_a_worker_that_is_stopped_is_replaced(
    hasty: Stage, bench: Bench, working: bool, caplog: pytest.LogCaptureFixture
) -> None:
    eventually(lambda: hasty.state == "ready")
    if working:
        with hasty.occupied(bench.long_clip, bench.long_text) as stopped:
            os.kill(stopped, signal.SIGSTOP)
            eventually(lambda: "it hung" in caplog.text)
    else:
        (stopped,) = hasty.noted("load")
        os.kill(stopped, signal.SIGSTOP)
        assert upload(hasty.server, bench.clips[0]).json()["text"] == bench.texts[0]
    assert f"worker {stopped} died on 1 items: it hung and was killed" in caplog.text


@pytest.mark.parametrize("name", ["prompt", "hotwords"])
def test_text_that_no_model_reads_whole_is_refused(calm: Stage, bench: Bench, name: str) -> None:
    error = error_of(upload(calm.server, bench.clips[0], data={name: "x" * 10_001}), 400)
    assert error["param"] == name
    assert "at most 10000 characters" in error["message"]
    assert upload(calm.server, bench.clips[0], data={name: "x" * 10_000}).status_code == 200


# Disks and hosts


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(
    tmp_path: Path, bench: Bench, host: AudioHost
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    large = wav(silence(40))
    with small_disk(folder, 1_000) as disk, staged(tmp_path, spool_dir=disk) as stage:
        empty = os.statvfs(disk).f_bfree
        with stage.occupied(bench.long_clip, bench.long_text):
            for response in (
                upload(stage.server, large),
                upload(stage.server, bench.clips[0], large),
                ask_url(stage.server, host.put("/large.wav", Answer(large))),
            ):
                assert error_of(response, 503)["code"] == "storage_full"
                assert retry_after(response) >= 1
            assert os.statvfs(disk).f_bfree < empty
        eventually(lambda: os.statvfs(disk).f_bfree == empty)
        assert not [path for path in disk.rglob("*") if path.is_file()]
        assert upload(stage.server, bench.clips[0]).json()["text"] == bench.texts[0]


@pytest.mark.parametrize("headers", [{"ETag": '"1"'}, {}], ids=["resumed", "begun anew"])
def test_a_download_that_breaks_off_once_is_whole_in_the_end(
    calm: Stage, pauses: bytes, host: AudioHost, headers: dict[str, str], nothing_left: None
) -> None:
    half = len(pauses) // 2
    url = host.put("/breaks.wav", Answer(pauses, headers=headers, cuts=[half]))
    asked = len(host.ranges)
    healed = ask_url(calm.server, url)
    assert host.ranges[asked:] == ([f"bytes={half}-"] if headers else [])
    assert healed.json()["words"] == upload(calm.server, pauses).json()["words"]


def test_502_for_a_download_that_breaks_off_beyond_its_retries(
    calm: Stage, pauses: bytes, host: AudioHost, nothing_left: None
) -> None:
    half = len(pauses) // 2
    workers = calm.noted("load")
    url = host.put("/breaks.wav", Answer(pauses, cuts=[half] * 2))
    assert error_of(ask_url(calm.server, url), 502)["code"] == "upstream_failed"
    assert ask_url(calm.server, url).status_code == 200
    assert calm.noted("load") == workers
