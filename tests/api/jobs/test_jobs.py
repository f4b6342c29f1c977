"""Jobs through the public door: submitted, watched, read, found again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.jobs.asking import JOBS, OTHER, ended, get, result, submit
from tests.api.support import (
    FROM_URL,
    TRANSLATIONS,
    Gate,
    error_of,
    eventually,
    upload,
)
from tests.audio.media import Form, encode
from tests.live import LiveServer


def test_a_job_gives_what_the_synchronous_call_gives(
    server: LiveServer, http: httpx.Client, clip: bytes
) -> None:
    job = submit(http, clip, metadata=json.dumps({"meeting": "board"}))
    assert (job["object"], job["kind"], job["filename"]) == ("job", "transcription", "talk.wav")
    done = ended(http, job)
    assert done["status"] == "completed"
    assert done["metadata"] == {"meeting": "board"}
    assert done["model"] == "scripted"
    assert done["progress"]["percent"] == 100
    assert done["expires_at"] > done["finished_at"] >= done["started_at"] >= done["created_at"]
    synchronous = upload(server, clip).json()
    assert result(http, job).json() == synchronous | {"filename": "talk.wav"}
    assert done["text"] == synchronous["text"]
    assert get(http, job, words="true")["words"] == synchronous["words"]


FORMATS = ["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]


def test_one_run_has_every_format(server: LiveServer, http: httpx.Client, clip: bytes) -> None:
    job = submit(http, clip, diarize="true")
    ended(http, job)
    for name in FORMATS:
        told_apart: dict[str, str | list[str]]
        told_apart = {"diarize": "true"} if name not in ("json", "text") else {}
        synchronous = upload(server, clip, data={"response_format": name, **told_apart})
        found = result(http, job, format=name)
        assert found.headers["content-type"] == synchronous.headers["content-type"], name
        assert found.text == synchronous.text, name
    asked: dict[str, str | list[str]]
    asked = {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]}
    synchronous = upload(server, clip, data={**asked, "diarize": "true"})
    words = result(http, job, format="verbose_json", timestamp_granularities=["word", "segment"])
    assert words.json() == synchronous.json()


@pytest.mark.parametrize("kind", ["transcription", "diarization"])
def test_results_warn_of_what_is_missing_as_the_synchronous_calls_do(
    http: httpx.Client, speech: Samples, kind: str
) -> None:
    whole = encode(speech[: 12 * SAMPLE_RATE], Form("flac", "flac"))
    job = submit(http, whole[: len(whole) // 2], kind=kind)
    assert ended(http, job)["status"] == "completed"
    for name in ("text", "srt") if kind == "transcription" else ("rttm",):
        told = json.loads(result(http, job, format=name).headers["X-Reflector-Warnings"])
        assert told["truncated"]["expected"] == 12.0


def test_a_url_is_fetched(
    server: LiveServer, http: httpx.Client, host: AudioHost, clip: bytes
) -> None:
    url = host.put("/talk.wav", Answer(clip))
    answer = http.post(JOBS, json={"audio_file_url": url, "timestamp_offset": 100})
    assert answer.status_code == 202
    job = answer.json()
    assert job["filename"] == "talk.wav"
    assert ended(http, job)["status"] == "completed"
    synchronous = http.post(FROM_URL, json={"audio_file_url": url, "timestamp_offset": 100})
    assert result(http, job).json() == synchronous.json()


def test_a_url_that_leads_nowhere_fails_the_job(http: httpx.Client, host: AudioHost) -> None:
    url = host.put("/gone.wav", Answer(status=404))
    job = http.post(JOBS, json={"audio_file_url": url}).json()
    done = ended(http, job)
    assert done["status"] == "failed"
    assert done["error"]["code"] == "audio_not_found"
    assert done["error"]["param"] == "audio_file_url"
    assert "failed" in error_of(result(http, job), 400)["message"]


def test_a_recording_that_is_not_audio_fails_the_job(http: httpx.Client) -> None:
    done = ended(http, submit(http, b"no audio at all"))
    assert done["error"]["code"] == "undecodable_audio"


def test_speakers_are_told_apart(http: httpx.Client, clip: bytes) -> None:
    job = submit(http, clip, kind="diarization")
    assert ended(http, job)["status"] == "completed"
    found = result(http, job).json()
    files = {"file": ("talk.wav", clip)}
    assert found == http.post("/v1/audio/diarization", files=files).json()
    query = {"response_format": "rttm"}
    synchronous = http.post("/v1/audio/diarization", files=files, params=query)
    assert result(http, job, format="rttm").text == synchronous.text


@pytest.mark.usefixtures("translating")
def test_speech_is_translated(server: LiveServer, http: httpx.Client, clip: bytes) -> None:
    job = submit(http, clip, kind="translation", model="scripted")
    assert ended(http, job)["status"] == "completed"
    synchronous = upload(server, clip, route=TRANSLATIONS, data={"model": "scripted"})
    assert result(http, job).json() == synchronous.json()


def test_the_same_idempotency_key_makes_one_job(http: httpx.Client, clip: bytes) -> None:
    files = {"file": ("talk.wav", clip)}
    first = http.post(JOBS, files=files, data={"idempotency_key": "a"})
    second = http.post(JOBS, files=files, headers={"Idempotency-Key": "a"})
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json()["id"] == first.json()["id"]
    third = http.post(
        JOBS, files={"file": ("talk.wav", clip[:-100])}, data={"idempotency_key": "a"}
    )
    assert error_of(third, 400)["param"] == "idempotency_key"


def test_jobs_are_listed_by_page_and_by_status(http: httpx.Client, clip: bytes) -> None:
    made = [submit(http, clip) for _ in range(3)]
    for job in made:
        ended(http, job)
    first = http.get(JOBS, params={"limit": 2}).json()
    assert [job["id"] for job in first["data"]] == [made[2]["id"], made[1]["id"]]
    assert first["has_more"]
    following = http.get(JOBS, params={"limit": 1, "after": first["last_id"]}).json()
    assert following["data"][0]["id"] == made[0]["id"]
    failed = http.get(JOBS, params={"status": "failed,cancelled", "limit": 100}).json()
    assert {job["status"] for job in failed["data"]} <= {"failed", "cancelled"}
    assert http.get(JOBS, params={"kind": "transcription"}).json()["data"]


def test_nobody_sees_the_jobs_of_another_key(
    server: LiveServer, http: httpx.Client, clip: bytes
) -> None:
    job = submit(http, clip)
    with server.client(OTHER) as other:
        for answer in (
            other.get(f"{JOBS}/{job['id']}"),
            other.get(f"{JOBS}/{job['id']}/result"),
            other.get(f"{JOBS}/{job['id']}/events"),
            other.post(f"{JOBS}/{job['id']}/cancel"),
            other.delete(f"{JOBS}/{job['id']}"),
        ):
            assert error_of(answer, 404)["code"] == "not_found"
        assert job["id"] not in other.get(JOBS).text
    assert ended(http, job)["status"] == "completed"


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    """The name, the id and the data of server-sent events."""
    name = number = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            number = value
        elif field == "data" and value != "[DONE]":
            yield name, number, json.loads(value)


def test_events_tell_the_words_and_go_on_where_they_were(
    http: httpx.Client, pauses: bytes, held: Gate
) -> None:
    job = submit(http, pauses)
    where = f"{JOBS}/{job['id']}/events"
    with http.stream("GET", where) as stream:
        events = events_of(stream.iter_lines())
        names = [next(events)[0]]
        held.open()
        found = list(events)
    names += [name for name, *_ in found]
    assert names[-1] == "job.completed"
    assert "job.progress" in names
    told = [event for event in found if event[0] == "job.progress"]
    text = "".join(delta["delta"] for _, _, body in told for delta in body["delta"])
    assert text.strip() == get(http, job)["text"]
    with http.stream("GET", where, headers={"Last-Event-ID": told[0][1]}) as stream:
        again = list(events_of(stream.iter_lines()))
    assert [event[:2] for event in again] == [event[:2] for event in [*told[1:], found[-1]]]
    come_to = [body["progress"]["audio_seconds"] for _, _, body in told]
    assert [body["progress"]["audio_seconds"] for _, _, body in again[:-1]] == come_to[1:]
    assert come_to == sorted(set(come_to)), "and not where the job is by now"
    refused = http.get(where, headers={"Last-Event-ID": "abc"})
    assert error_of(refused, 400)["param"] == "Last-Event-ID"


def test_a_job_that_waits_has_a_place_and_a_job_that_runs_has_progress(
    http: httpx.Client, pauses: bytes, held: Gate
) -> None:
    running = [submit(http, pauses) for _ in range(2)]
    eventually(lambda: all(get(http, job)["status"] == "running" for job in running))
    waiting = [submit(http, pauses) for _ in range(2)]
    urgent = submit(http, pauses, priority="5")
    assert [get(http, job)["progress"]["jobs_ahead"] for job in waiting] == [1, 2]
    assert get(http, urgent)["progress"]["jobs_ahead"] == 0
    assert get(http, running[0])["progress"]["audio_seconds"] == 0
    held.open()
    for job in (*running, *waiting, urgent):
        assert ended(http, job)["status"] == "completed"
    assert get(http, urgent)["started_at"] <= get(http, waiting[0])["started_at"]


def test_the_share_that_is_done_is_known_before_the_first_words(
    http: httpx.Client, pauses: bytes, held: Gate
) -> None:
    job = submit(http, pauses)
    eventually(lambda: held.arrived)
    progress = get(http, job)["progress"]
    assert progress["duration"] == pytest.approx((len(pauses) - 44) / 32_000, abs=0.1)
    assert (progress["audio_seconds"], progress["percent"]) == (0, 0)
    held.open()
    ended(http, job)


BAD: list[tuple[dict[str, str], str]] = [
    ({"kind": "poetry"}, "kind"),
    ({"model": "no-such-model"}, "model"),
    ({"metadata": "[1]"}, "metadata"),
    ({"priority": "1000"}, "priority"),
    ({"idempotency_key": "x" * 300}, "idempotency_key"),
    ({"temperature": "2"}, "temperature"),
    ({"languge": "en"}, "languge"),
    ({"audio_file_url": "https://example.com/a.wav"}, "audio_file_url"),
    ({"webhook_url": "notaurl"}, "webhook_url"),
]


@pytest.mark.parametrize(("fields", "param"), BAD, ids=lambda value: str(value)[:30])
def test_bad_fields_are_refused_at_once(
    http: httpx.Client, clip: bytes, data: Path, fields: dict[str, str], param: str
) -> None:
    answer = http.post(JOBS, files={"file": ("a.wav", clip)}, data=fields)
    assert error_of(answer, 404 if param == "model" else 400)["param"] == param
    assert not list((data / "incoming").iterdir())


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"status": "asleep"}, {"kind": "poetry"}], ids=str
)
def test_bad_filters_are_refused(http: httpx.Client, query: dict[str, str]) -> None:
    error = error_of(http.get(JOBS, params=query), 400)
    [name] = query
    assert error["param"] == name
    assert error["message"].startswith(f"{name}: Input should be ")


def test_metadata_is_an_object(http: httpx.Client, clip: bytes) -> None:
    answer = http.post(JOBS, files={"file": ("a.wav", clip)}, data={"metadata": "[1]"})
    assert error_of(answer, 400)["message"] == "metadata: Input should be an object"


def test_a_job_needs_a_recording(http: httpx.Client) -> None:
    assert error_of(http.post(JOBS, json={}), 400)["param"] == "file"
    assert error_of(http.post(JOBS, data={"kind": "diarization"}), 400)
    assert error_of(http.post(JOBS, json={"audio_file_url": "ftp://a/b"}), 403)


def test_two_recordings_are_blamed_on_a_field_that_was_sent(
    http: httpx.Client, clip: bytes
) -> None:
    answer = http.post(JOBS, files={"file": ("a.wav", clip)}, data={"upload_id": "upload_1"})
    assert error_of(answer, 400)["param"] == "upload_id"


def test_an_empty_file_is_refused_at_once(http: httpx.Client) -> None:
    error = error_of(http.post(JOBS, files={"file": ("a.wav", b"")}), 400)
    assert (error["message"], error["param"]) == ("The file is empty.", "file")


def test_an_empty_file_behind_a_url_is_as_clear(http: httpx.Client, host: AudioHost) -> None:
    url = host.put("/empty.wav", Answer(b""))
    job = http.post(JOBS, json={"audio_file_url": url}).json()["id"]
    eventually(lambda: http.get(f"{JOBS}/{job}").json()["status"] == "failed")
    error = http.get(f"{JOBS}/{job}").json()["error"]
    assert error["code"] == "undecodable_audio"
    assert (error["message"], error["param"]) == ("The file is empty.", "audio_file_url")


def test_a_private_webhook_is_refused_in_words_about_webhooks(
    http: httpx.Client, clip: bytes
) -> None:
    fields = {"webhook_url": "http://10.1.2.3/hook"}
    error = error_of(http.post(JOBS, files={"file": ("a.wav", clip)}, data=fields), 403)
    assert error["param"] == "webhook_url"
    assert error["message"].startswith("The webhook's host 10.1.2.3 is not a public one.")
    assert "upload" not in error["message"]


def test_formats_that_a_job_does_not_have(http: httpx.Client, clip: bytes) -> None:
    job = submit(http, clip)
    ended(http, job)
    assert "diarize" in error_of(result(http, job, format="diarized_json"), 400)["message"]
    assert error_of(result(http, job, format="rttm"), 400)["param"] == "format"
    assert error_of(result(http, job, format="pdf"), 400)["param"] == "format"


def test_a_server_without_a_folder_says_what_it_lacks(scripted: LiveServer, clip: bytes) -> None:
    with scripted.client() as client:
        for answer in (client.get(JOBS), client.post(JOBS, files={"file": ("a.wav", clip)})):
            assert "REFLECTOR_DATA_DIR" in error_of(answer, 404)["message"]
