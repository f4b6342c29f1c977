"""OpenAI's Batch API, by OpenAI's own client."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from reflector_gpu.api import batch_kind
from reflector_gpu.jobs.job import Job, Status
from reflector_gpu.jobs.store import JobStore
from reflector_gpu.store.database import sqlite_in
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.support import TRANSCRIPTIONS, Gate, eventually, upload
from tests.audio.media import Form, encode
from tests.live import KEY, LiveServer


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[LiveServer]:
    with LiveServer(
        model="scripted",
        apikey=f"{KEY},other",
        data_dir=data,
        url_allow="127.0.0.1",
        url_retries=0,
        file_requests=1,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[OpenAI]:
    with server.openai() as client:
        yield client


def line(name: str, body: dict[str, Any], url: str = TRANSCRIPTIONS) -> dict[str, Any]:
    return {"custom_id": name, "method": "POST", "url": url, "body": body}


def submit(client: OpenAI, lines: list[dict[str, Any]], endpoint: Any = TRANSCRIPTIONS) -> Any:
    content = "\n".join(map(json.dumps, lines)).encode()
    file = client.files.create(file=("batch.jsonl", content), purpose="batch")
    assert (file.status, file.bytes) == ("processed", len(content))
    assert client.files.content(file.id).content == content
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"a": "b"}
    )


def look(client: OpenAI, batch: Any) -> Any:
    return client.batches.retrieve(batch.id)


def ended(client: OpenAI, batch: Any) -> Any:
    def look() -> Any:
        found = client.batches.retrieve(batch.id)
        return found if found.status in ("completed", "failed") else None

    return eventually(look)


def output(client: OpenAI, file_id: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in client.files.content(file_id).text.splitlines()]


@pytest.mark.slow
def test_lines_are_answered_as_the_routes_answer(
    server: LiveServer, client: OpenAI, host: AudioHost, clips: list[bytes]
) -> None:
    url = host.put("/talk.wav", Answer(clips[0]))
    audio = {"data": base64.b64encode(clips[1]).decode(), "format": "wav"}
    lines = [
        line("by url", {"audio_file_url": url, "response_format": "verbose_json"}),
        line("inline", {"input_audio": audio, "response_format": "json"}),
        line("subtitles", {"audio_file_url": url, "response_format": "srt"}),
        line("gone", {"audio_file_url": host.put("/gone.wav", Answer(status=404))}),
    ]
    batch = submit(client, lines)
    assert batch.object == "batch"
    done = ended(client, batch)
    assert done.status == "completed"
    assert done.metadata == {"a": "b"}
    counts = done.request_counts
    assert (counts.total, counts.completed, counts.failed) == (4, 3, 1)
    found = output(client, done.output_file_id)
    assert [one["custom_id"] for one in found] == ["by url", "inline", "subtitles"]
    assert {one["response"]["status_code"] for one in found} == {200}
    verbose = upload(server, clips[0], data={"response_format": "verbose_json"}).json()
    assert found[0]["response"]["body"] == verbose
    assert found[1]["response"]["body"]["text"] == upload(server, clips[1]).json()["text"]
    assert found[2]["response"]["body"].startswith("1\n00:00:00")
    [error] = output(client, done.error_file_id)
    assert error["response"]["status_code"] == 404
    assert error["error"]["code"] == "audio_not_found"


def test_lines_wait_for_a_place_as_long_as_that_takes(
    server: LiveServer,
    client: OpenAI,
    host: AudioHost,
    clips: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_kind, "_TRIES", 1)
    monkeypatch.setattr(batch_kind, "_LONGEST_WAIT", 0.05)
    gate = Gate(server, monkeypatch)
    gate.free = 0
    url = host.put("/busy.wav", Answer(clips[0]))
    batch = submit(client, [line(name, {"audio_file_url": url}) for name in ("one", "two")])
    with server.client() as http:

        def refused() -> bool:
            told = http.get("/metrics").text.splitlines()
            return any('status="429"' in one and float(one.split()[-1]) > 2 for one in told)

        eventually(refused)
    gate.open()
    counts = ended(client, batch).request_counts
    assert (counts.completed, counts.failed) == (2, 0)


def test_answers_say_what_is_missing(client: OpenAI, speech: Samples) -> None:
    whole = encode(speech[: 12 * SAMPLE_RATE], Form("flac", "flac"))
    audio = {"data": base64.b64encode(whole[: len(whole) // 2]).decode(), "format": "flac"}
    batch = submit(client, [line("cut", {"input_audio": audio, "response_format": "json"})])
    [found] = output(client, ended(client, batch).output_file_id)
    assert found["response"]["warnings"]["truncated"]["expected"] == 12.0


def test_a_batch_is_listed_but_not_among_jobs(client: OpenAI, server: LiveServer) -> None:
    batch = submit(client, [line("a", {"input_audio": {"data": ""}})])
    assert batch.id in [one.id for one in client.batches.list(limit=2)]
    with server.client() as http:
        assert batch.id not in http.get("/v1/jobs").text
        assert http.get(f"/v1/jobs/{batch.id}").json()["kind"] == "batch"
    assert ended(client, batch).request_counts.failed == 1


def test_another_key_sees_nothing(client: OpenAI) -> None:
    batch = submit(client, [line("a", {"input_audio": {"data": ""}})])
    other = client.with_options(api_key="other")
    with pytest.raises(NotFoundError):
        other.batches.retrieve(batch.id)
    with pytest.raises(NotFoundError):
        other.files.content(batch.input_file_id)
    assert list(other.files.list()) == []


BAD = [
    "no json",
    json.dumps(line("a", {}, "/v1/embeddings")),
    json.dumps({"custom_id": "a"}),
    json.dumps(line("a", {"stream": True})),
    "\n".join([json.dumps(line("a", {}))] * 2),
    "[1]",
    json.dumps(line("a", {"prompt": "x" * 31_000_000})),
    "",
]


@pytest.mark.parametrize("content", BAD)
def test_bad_files_are_refused_at_once(client: OpenAI, content: str) -> None:
    file = client.files.create(file=("b.jsonl", content.encode() or b"\n"), purpose="batch")
    with pytest.raises(BadRequestError) as refused:
        client.batches.create(
            input_file_id=file.id,
            endpoint=TRANSCRIPTIONS,  # type: ignore[arg-type]  # OpenAI has no such batches
            completion_window="24h",
        )
    assert refused.value.param == "input_file_id"


def test_files_are_deleted(client: OpenAI) -> None:
    file = client.files.create(file=("b.jsonl", b"{}"), purpose="batch")
    assert client.files.retrieve(file.id).filename == "b.jsonl"
    assert client.files.delete(file.id).deleted
    with pytest.raises(NotFoundError):
        client.files.retrieve(file.id)
    with pytest.raises(BadRequestError, match="purpose"):
        client.files.create(file=("b.jsonl", b"{}"), purpose="fine-tune")


def test_nothing_is_left_of_a_file_that_was_refused(client: OpenAI, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError):
        client.files.create(file=("b.jsonl", b"{}"), purpose="assistants")


def inline(audio: bytes) -> dict[str, Any]:
    return {"input_audio": {"data": base64.b64encode(audio).decode(), "format": "wav"}}


def test_a_batch_is_cancelled_while_it_runs_and_keeps_what_is_done(
    client: OpenAI, clips: list[bytes], held: Gate
) -> None:
    held.free = 1
    batch = submit(client, [line(f"{n}", inline(clips[0])) for n in range(5)])
    eventually(lambda: look(client, batch).request_counts.completed == 1)
    eventually(lambda: held.arrived == 2)  # this server has one file request at a time
    running = look(client, batch)
    assert (running.status, running.output_file_id) == ("in_progress", None)
    with pytest.raises(NotFoundError, match="not done"):
        client.files.content(f"file-output-{batch.id}")
    assert client.batches.cancel(batch.id).status == "cancelled"
    eventually(lambda: held.cancelled == 1)
    held.open()
    done = look(client, batch)
    counts = done.request_counts
    assert (counts.total, counts.completed, counts.failed) == (5, 1, 0)
    assert len(output(client, done.output_file_id)) == 1
    assert held.arrived == 2


def test_a_batch_that_waits_to_go_on_is_in_progress(
    client: OpenAI, clips: list[bytes], held: Gate, data: Path
) -> None:
    """As after a restart, while older work is done first."""
    batch = submit(client, [line("a", inline(clips[0]))])
    eventually(lambda: held.arrived)
    database = sqlite_in(data)

    async def put_back() -> None:
        store = JobStore(database, lease=1.0)
        job = Job.of(
            (await database.read(lambda c: c.rows("SELECT * FROM jobs WHERE id = ?", batch.id)))[0]
        )
        await store.put_back(job, wait=60.0, failed=False)
        assert (await store.get(job.owner, job.id)).status is Status.QUEUED

    asyncio.run(put_back())
    database.close()
    assert look(client, batch).status == "in_progress"
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_counts_of_a_batch_are_kept_and_its_file_is_sized(
    client: OpenAI, clips: list[bytes]
) -> None:
    lines = [line("a", inline(clips[0])), line("b", {"input_audio": {"data": "*"}})]
    done = ended(client, submit(client, lines))
    for file_id in (done.output_file_id, done.error_file_id):
        content = client.files.content(file_id).content
        assert client.files.retrieve(file_id).bytes == len(content) > 0
    listed = next(iter(client.batches.list(limit=1)))
    assert listed.request_counts == done.request_counts
