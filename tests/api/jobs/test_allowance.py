"""What one key may keep, and all keys together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.api.hosts import Answer, AudioHost
from tests.api.jobs.test_uploads import TUS, UPLOADS, append, create
from tests.api.support import Gate, error_of, eventually, send_raw
from tests.live import KEY, LiveServer

JOBS, FILES = "/v1/jobs", "/v1/files"
OTHER = "other"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[LiveServer]:
    with LiveServer(
        model="scripted",
        apikey=f"{KEY},{OTHER}",
        data_dir=data,
        url_allow="127.0.0.1",
        jobs_per_key=2,
        jobs_waiting=3,
        storage_gb_per_key=0.001,
        storage_gb=0.0015,
        job_streams_per_key=2,
        job_streams=3,
    ) as server:
        yield server


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def other(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client(OTHER) as client:
        yield client


def submit(http: httpx.Client, audio: bytes, **fields: str) -> httpx.Response:
    return http.post(JOBS, files={"file": ("talk.wav", audio)}, data=fields)


def erase(http: httpx.Client) -> None:
    for job in http.get(JOBS, params={"limit": 100}).json()["data"]:
        http.delete(f"{JOBS}/{job['id']}")
    for file in http.get(FILES).json()["data"]:
        http.delete(f"{FILES}/{file['id']}")


@pytest.fixture(autouse=True)
def nothing_kept(http: httpx.Client, other: httpx.Client) -> Iterator[None]:
    yield
    erase(http)
    erase(other)


@pytest.mark.usefixtures("held")
def test_one_key_and_all_keys_together_have_a_limit_of_waiting_jobs(
    http: httpx.Client, other: httpx.Client, clip: bytes
) -> None:
    made = [submit(http, clip, idempotency_key=str(number)).json() for number in range(2)]
    refused = submit(http, clip)
    assert "Your key has 2 jobs" in error_of(refused, 429)["message"]
    assert int(refused.headers["Retry-After"]) > 0
    again = submit(http, clip, idempotency_key="1")
    assert (again.status_code, again.json()["id"]) == (200, made[1]["id"])
    assert submit(other, clip).status_code == 202
    assert "The server has 3 jobs" in error_of(submit(other, clip), 429)["message"]
    assert http.post(f"{JOBS}/{made[0]['id']}/cancel").status_code == 200
    assert submit(http, clip).status_code == 202


def test_recordings_uploads_and_files_share_a_limit_of_bytes(
    http: httpx.Client, other: httpx.Client, data: Path
) -> None:
    where = create(http, 600_000)
    refused = http.post(UPLOADS, headers={**TUS, "Upload-Length": "600000"})
    assert "0.001 GB for your key" in error_of(refused, 429)["message"]
    file = {"file": ("b.jsonl", b"x" * 500_000)}
    assert (
        "your key"
        in error_of(http.post(FILES, files=file, data={"purpose": "batch"}), 429)["message"]
    )
    assert "your key" in error_of(submit(http, b"x" * 500_000), 429)["message"]
    elsewhere = create(other, 600_000)
    small = http.post(UPLOADS, headers={**TUS, "Upload-Length": "390000"})
    assert "all keys" in error_of(small, 429)["message"]
    too_large = http.post(UPLOADS, headers={**TUS, "Upload-Length": "1000001"})
    assert "send less" in error_of(too_large, 413)["message"]
    for folder in ("incoming", "files", "jobs"):
        assert not list((data / folder).iterdir())
    assert http.delete(where, headers=TUS).status_code == 204
    assert http.post(FILES, files=file, data={"purpose": "batch"}).status_code == 200
    assert other.delete(elsewhere, headers=TUS).status_code == 204


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("sent_as", ["header", "query"])
def test_a_repeated_request_gives_its_job_though_nothing_more_is_kept(
    http: httpx.Client, clip: bytes, sent_as: str
) -> None:
    def submit_as(key: str) -> httpx.Response:
        return http.post(
            JOBS,
            files={"file": ("talk.wav", clip)},
            headers={"Idempotency-Key": key} if sent_as == "header" else {},
            params={"idempotency_key": key} if sent_as == "query" else {},
        )

    job = submit_as("first").json()["id"]
    rest = create(http, 999_990 - len(clip))
    again = submit_as("first")
    assert (again.status_code, again.json()["id"]) == (200, job)
    assert "your key" in error_of(submit_as("second"), 429)["message"]
    http.delete(rest, headers=TUS)


@pytest.mark.usefixtures("held")
def test_a_repeated_request_in_json_gives_its_job_though_nothing_more_is_kept(
    http: httpx.Client,
) -> None:
    sent = {"audio_file_url": "http://127.0.0.1/talk.wav", "idempotency_key": "json"}
    job = http.post(JOBS, json=sent).json()["id"]
    rest = create(http, 1_000_000)
    again = http.post(JOBS, json=sent)
    assert (again.status_code, again.json()["id"]) == (200, job)
    http.delete(rest, headers=TUS)


@pytest.mark.usefixtures("held")
def test_an_earlier_key_lets_no_other_recording_come_for_nothing(
    server: LiveServer, http: httpx.Client, clip: bytes
) -> None:
    """It is refused before its first byte, though the key has a job with some idempotency key."""
    submit(http, clip, idempotency_key="earlier")
    rest = create(http, 999_000 - len(clip))
    large = http.build_request("POST", JOBS, files={"file": ("talk.wav", bytes(500_000))})
    with send_raw(server, large, share=0) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 429")
    http.delete(rest, headers=TUS)


@pytest.mark.usefixtures("held")
def test_an_upload_counts_once_though_jobs_are_made_of_it(
    http: httpx.Client, pauses: bytes
) -> None:
    def left(size: int) -> bool:
        answer = http.post(UPLOADS, headers={**TUS, "Upload-Length": str(size)})
        if answer.is_success:
            http.delete(answer.headers["Location"], headers=TUS)
        return answer.is_success

    where = create(http, len(pauses))
    append(http, where, 0, pauses)
    upload_id = where.rsplit("/", 1)[1]
    for _ in range(2):
        assert http.post(JOBS, json={"upload_id": upload_id}).status_code == 202
    assert left(1_000_000 - len(pauses))
    assert not left(1_000_001 - len(pauses))
    http.delete(where, headers=TUS)
    assert left(1_000_000 - len(pauses))  # the jobs still have its bytes, and share them
    assert not left(1_000_001 - len(pauses))


def test_a_recording_from_a_url_counts_while_its_job_is_there(
    http: httpx.Client, host: AudioHost, pauses: bytes, held: Gate, data: Path
) -> None:
    url = host.put("/talk.wav", Answer(pauses))
    job = http.post(JOBS, json={"audio_file_url": url}).json()["id"]
    eventually(lambda: held.arrived)
    known = f"SELECT 1 FROM jobs WHERE id = '{job}' AND bytes = {len(pauses)}"
    with closing(sqlite3.connect(data / "reflector.db")) as database:
        eventually(lambda: database.execute(known).fetchone())
    most = 1_000_000 - len(pauses)
    more = http.post(UPLOADS, headers={**TUS, "Upload-Length": str(most + 1)})
    assert "your key" in error_of(more, 429)["message"]
    answer = http.post(UPLOADS, headers={**TUS, "Upload-Length": str(most)})
    assert answer.status_code == 201
    http.delete(answer.headers["Location"], headers=TUS)


def refusal(http: httpx.Client, where: str) -> httpx.Response:
    """The answer to a stream that is not given, which would have no end."""
    with http.stream("GET", where) as answer:
        assert answer.status_code >= 400
        answer.read()
    return answer


def test_one_key_and_all_keys_together_have_a_limit_of_event_streams(
    http: httpx.Client, other: httpx.Client, pauses: bytes, held: Gate
) -> None:
    mine, theirs = (f"{JOBS}/{submit(who, pauses).json()['id']}/events" for who in (http, other))
    with ExitStack() as streams:
        for _ in range(2):
            assert streams.enter_context(http.stream("GET", mine)).status_code == 200
        refused = refusal(http, mine)
        assert "Your key has 2 event streams" in error_of(refused, 429)["message"]
        assert int(refused.headers["retry-after"]) > 0
        assert streams.enter_context(other.stream("GET", theirs)).status_code == 200
        assert "The server has 3 event streams" in error_of(refusal(other, theirs), 429)["message"]
        assert http.get(mine.removesuffix("/events")).status_code == 200
    held.open()

    def watched() -> bool:
        with http.stream("GET", mine) as stream:
            return stream.status_code == 200

    eventually(watched)


def test_unknown_fields_are_not_kept(server: LiveServer, http: httpx.Client, clip: bytes) -> None:
    fields = {"zzz": "secret-of-mine", "language": "en", "stream": "secret-of-mine"}
    job = submit(http, clip, **fields).json()["id"]
    jobs = server.service.settings.data_dir
    assert jobs
    stored = b"".join(path.read_bytes() for path in jobs.glob("reflector.db*"))
    assert job.encode() in stored
    assert b"secret-of-mine" not in stored
