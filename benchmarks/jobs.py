"""What jobs cost and what they survive: kills, a long queue, a connection that is cut."""

from __future__ import annotations

import io
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.audio import meeting, wav
from benchmarks.figures import Figure
from benchmarks.server import Server
from reflector_gpu.engines.recognition import catalog
from reflector_gpu.types import SAMPLE_RATE
from tests.jobs.counted import CountedServer
from tests.jobs.test_killed import recording

MINUTES, KILLS = 30, 5
QUEUED = 10_000
ROUNDS, REAL_ROUNDS = 40, 12
POWER_CUTS = 200
UPLOAD_BYTES, CUTS = 1_000_000_000, 5
PIECE = 4_000_000

_TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


def run() -> list[Figure]:
    return [*killed(), *queued(), *overhead(), *power_cuts(), *upload()]


def killed() -> list[Figure]:
    """A job of half an hour whose server is killed five times."""
    speech = meeting()
    times = round(MINUTES * 60 * SAMPLE_RATE / len(speech))
    files = {"file": ("talk.wav", recording(speech, times))}
    with tempfile.TemporaryDirectory() as temporary:
        quiet, folder = Path(temporary) / "quiet", Path(temporary) / "killed"
        quiet.mkdir()
        folder.mkdir()
        with CountedServer(quiet) as server:
            undisturbed = server.client.post(
                "/v1/audio/transcriptions", files=files, timeout=None
            ).json()
            chunks = server.given
        each = chunks.total() // (KILLS + 1)
        job = ""
        for life in range(KILLS):
            with CountedServer(folder, chunks=each) as server:
                if not job:
                    job = server.client.post("/v1/jobs", files=files, timeout=None).json()["id"]
                _hung(server, life + 1)
                server.kill()
        with CountedServer(folder) as server:
            url = f"/v1/jobs/{job}"
            _until(lambda: server.client.get(url).json()["status"] == "completed")
            same = server.client.get(f"{url}/result").json() == undisturbed
            twice = server.given.total() - chunks.total()
    return [
        Figure(
            f"chunks of a {MINUTES}-minute job recognised twice after {KILLS} kills",
            twice,
            f"<= {2 * KILLS}",
            twice <= 2 * KILLS and same,
            f"of {chunks.total()}; the transcript is {'the same' if same else 'ANOTHER'}",
        )
    ]


def queued() -> list[Figure]:
    """Ten thousand jobs that wait, and then are done in the order of their priority."""
    clip = wav(meeting()[: 2 * SAMPLE_RATE])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with CountedServer(folder, chunks=0) as server:  # it hangs, so that all others wait
            http, process = server.client, psutil.Process(server.pid)
            upload_id = _uploaded(http, clip)
            before = process.memory_info().rss

            def submit(number: int) -> str:
                body = {"upload_id": upload_id, "priority": number % 3}
                return str(http.post("/v1/jobs", json=body).json()["id"])

            began = time.monotonic()
            with ThreadPoolExecutor(8) as pool:
                made = list(pool.map(submit, range(QUEUED)))
            took = time.monotonic() - began
            calls: list[tuple[str, Callable[[], httpx.Response]]] = [
                ("list", lambda: http.get("/v1/jobs", params={"limit": 100})),
                ("progress", lambda: http.get(f"/v1/jobs/{random.choice(made)}")),
                ("cancel", lambda: http.post(f"/v1/jobs/{made.pop()}/cancel")),
            ]
            figures = [_quick(name, call) for name, call in calls]
            grown = (process.memory_info().rss - before) / 1e6
            server.kill()
        with CountedServer(folder) as server:
            http = server.client
            began = time.monotonic()
            waiting = {"status": "queued,running", "limit": "1"}
            _until(lambda: not http.get("/v1/jobs", params=waiting).json()["data"], 3600)
            finished = time.monotonic() - began
            ended = [http.get(f"/v1/jobs/{job}").json() for job in made[:: QUEUED // 500]]
    done = sum(job["status"] == "completed" for job in ended)
    starts = [
        [job["started_at"] for job in ended if job["priority"] == priority] for priority in range(3)
    ]
    medians = [statistics.median(times) for times in starts]
    return [
        *figures,
        Figure(
            "share of some 500 of these jobs that are completed",
            done / len(ended),
            "= 1",
            done == len(ended) and medians == sorted(medians, reverse=True),
            f"submitted in {took:.0f} s, done in {finished:.0f} s, in the order of priority",
        ),
        Figure("megabytes that the server grew by", grown, "< 150", grown < 150, "10,000 jobs"),
    ]


def _quick(name: str, call: Callable[[], httpx.Response]) -> Figure:
    times: list[float] = []
    for _ in range(200):
        began = time.perf_counter()
        call().raise_for_status()
        times.append(1000 * (time.perf_counter() - began))
    p95 = statistics.quantiles(times, n=20)[-1]
    return Figure(f"p95 of {name}, ms, {QUEUED} jobs queued", p95, "< 100", p95 < 100)


def overhead() -> list[Figure]:
    """A job against the synchronous call, in pairs, of which every other one begins with the job.

    With an engine that costs nothing the difference is what jobs cost in themselves. With a real
    one their share of the whole is.
    """
    model, note = ("base", "Whisper base") if _has_base() else ("", "Whisper base is not here")
    bare = _pairs("scripted", ROUNDS)
    cost = 1000 * statistics.median(kept - plain for plain, kept in bare)
    detail = f"a minute of audio, an engine that costs nothing, median of {len(bare)} pairs"
    found = [Figure("ms that a job takes longer than the call", cost, "<= 50", cost <= 50, detail)]
    if model:
        real = _pairs(model, REAL_ROUNDS)
        share = statistics.median(kept / plain for plain, kept in real)
        seconds = statistics.median(plain for plain, _ in real)
        note = f"{note}, {seconds:.1f} s for a minute of audio, median of {len(real)} pairs"
        found.append(Figure("time of a job, of the call's", share, "<= 1.05", share <= 1.05, note))
    return found


def _has_base() -> bool:
    return not catalog.MODELS["base"].missing


def _pairs(model: str, rounds: int) -> list[tuple[float, float]]:
    """Seconds of the call, and of the job with its result."""
    files = {"file": ("talk.wav", wav(meeting()))}
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(model=model, data_dir=folder) as server,
        server.client() as http,
    ):

        def call() -> float:
            began = time.perf_counter()
            http.post("/v1/audio/transcriptions", files=files).raise_for_status()
            return time.perf_counter() - began

        def job() -> float:
            began = time.perf_counter()
            made = http.post("/v1/jobs", files=files).json()["id"]
            with http.stream("GET", f"/v1/jobs/{made}/events") as events:
                for _ in events.iter_lines():
                    pass
            http.get(f"/v1/jobs/{made}/result").raise_for_status()
            return time.perf_counter() - began

        call()
        job()  # everything is loaded now
        found: list[tuple[float, float]] = []
        for number in range(rounds):
            if number % 2:
                kept = job()
                found.append((call(), kept))
            else:
                plain = call()
                found.append((plain, job()))
    return found


# A line is one write, so that a kill leaves no half of it.
_WRITER = r"""
import asyncio, sys
from pathlib import Path
from reflector_gpu.jobs.job import Draft
from reflector_gpu.jobs.store import JobStore
from reflector_gpu.store.database import sqlite_in

async def main() -> None:
    store = JobStore(sqlite_in(Path(sys.argv[1])), 0.0)
    number = 0
    while True:
        name = f"job_{sys.argv[2]}_{number:06d}"
        await store.add(name, Draft("", "transcription", {}, "a", "f"))
        sys.stdout.write(f"accepted {name}\n")
        sys.stdout.flush()
        job = await store.take(f"w{sys.argv[2]}-{number}")
        assert job
        await store.complete(job, job.id.encode() * 5000, 1.0, 1.0)
        sys.stdout.write(f"done {job.id}\n")
        sys.stdout.flush()
        number += 1

asyncio.run(main())
"""


def power_cuts() -> list[Figure]:
    """A process that accepts and ends jobs, killed at random moments."""
    accepted: set[str] = set()
    done: set[str] = set()
    chance = random.Random(21)
    with tempfile.TemporaryDirectory() as folder:
        for life in range(POWER_CUTS):
            command = [sys.executable, "-c", _WRITER, folder, str(life)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout
            first = process.stdout.readline()
            timer = threading.Timer(chance.uniform(0, 0.2), process.send_signal, [signal.SIGKILL])
            timer.start()
            rest = process.stdout.read()
            process.wait()
            for line in (first + rest).splitlines():
                what, _, name = line.partition(" ")
                (accepted if what == "accepted" else done).add(name)
        lost, broken = _missing(Path(folder), accepted, done)
    return [
        Figure(
            f"jobs lost or half done after {POWER_CUTS} kills (SQLite)",
            lost + broken,
            "= 0",
            lost + broken == 0,
            f"of {len(accepted)} that were accepted and {len(done)} that were done",
        )
    ]


def _missing(folder: Path, accepted: set[str], done: set[str]) -> tuple[int, int]:
    from reflector_gpu.store.database import sqlite_in

    database = sqlite_in(folder)
    jobs = {
        str(row["id"]): str(row["status"])
        for row in database.write_now(lambda c: c.rows("SELECT id, status FROM jobs"))
    }
    results = {
        str(row["job"]): row["body"] == str(row["job"]).encode() * 5000
        for row in database.write_now(lambda c: c.rows("SELECT job, body FROM results"))
    }
    check = database.write_now(lambda c: c.rows("PRAGMA integrity_check"))
    assert list(check[0].values()) == ["ok"]
    database.close()
    lost = len(accepted - jobs.keys()) + sum(jobs.get(name) != "completed" for name in done)
    completed = {name for name, status in jobs.items() if status == "completed"}
    broken = len(completed ^ results.keys()) + sum(not whole for whole in results.values())
    return lost, broken


def upload() -> list[Figure]:
    """A gigabyte whose connection is cut five times, once by a kill of the server."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = folder / "source"
        with source.open("wb") as file:
            for _ in range(UPLOAD_BYTES // PIECE):
                file.write(os.urandom(PIECE))
        began = time.monotonic()
        where, sent = "", 0
        chance = random.Random(21)
        while sent < UPLOAD_BYTES:
            data = str(folder / "data")
            with Server(model="scripted", data_dir=data) as server, server.client() as http:
                if not where:
                    headers = {**_TUS, "Upload-Length": str(UPLOAD_BYTES)}
                    del headers["Content-Type"]
                    where = http.post("/v1/uploads", headers=headers).headers["Location"]
                head = http.head(where, headers=_TUS)
                sent = int(head.headers["Upload-Offset"])
                stop = sent + UPLOAD_BYTES // (CUTS + 1) + chance.randrange(PIECE)
                sent = _send(http, where, source, sent, stop, server.pid)
        same = _equal(source, folder / "data" / "uploads" / where.rsplit("/", 1)[1])
        took = time.monotonic() - began
    detail = f"{took:.0f} s with {CUTS} kills of the server in the middle of a request"
    return [Figure("the bytes of 1 GB that was cut are the same", float(same), "= 1", same, detail)]


def _send(http: httpx.Client, where: str, source: Path, offset: int, stop: int, pid: int) -> int:
    """Send from ``offset`` on; the server is killed at about ``stop``. How far it came for sure."""
    last = stop >= UPLOAD_BYTES

    def pieces() -> Any:
        position = offset
        with source.open("rb") as file:
            file.seek(offset)
            while data := file.read(PIECE):
                yield data
                position += len(data)
                if position >= stop and not last:
                    os.kill(pid, signal.SIGKILL)

    try:
        answer = http.patch(where, content=pieces(), headers={**_TUS, "Upload-Offset": str(offset)})
        return int(answer.headers["Upload-Offset"])
    except httpx.TransportError:
        return offset


def _equal(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as a, other.open("rb") as b:
        return all(x == y for x, y in zip(_pieces(a), _pieces(b), strict=True))


def _pieces(file: io.BufferedReader) -> Sequence[bytes] | Any:
    return iter(lambda: file.read(PIECE), b"")


def _uploaded(http: httpx.Client, content: bytes) -> str:
    headers = {**_TUS, "Upload-Length": str(len(content))}
    answer = http.post("/v1/uploads", headers=headers, content=content)
    return str(answer.headers["Location"]).rsplit("/", 1)[1]


def _hung(server: CountedServer, times: int) -> None:
    _until(lambda: server.hangs >= times)


def _until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("it did not happen")
        time.sleep(0.2)
