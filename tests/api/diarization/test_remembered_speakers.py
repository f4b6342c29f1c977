"""Voices that the server remembers: people are named in other recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from reflector_gpu.types import SAMPLE_RATE
from tests.api.diarization.voices import DIARIZATION, ROUTE, Halves, clip, remember, speakers
from tests.api.support import error_of, eventually, silence, upload, wav
from tests.live import KEY, LiveServer


@pytest.mark.slow
def test_people_are_named_across_recordings(
    http: httpx.Client, halves: Halves, second_halves: bytes
) -> None:
    made = remember(http, "Anna Berg", clip(halves, "Anna"))
    assert made.status_code == 200, made.text
    assert made.json().keys() == {"object", "name", "created_at", "seconds"}
    remember(http, "Henry", clip(halves, "Henry"), clip(halves, "Henry")[: 5 * SAMPLE_RATE])
    assert [one["name"] for one in http.get(ROUTE).json()["data"]] == ["Anna Berg", "Henry"]
    found = speakers(http, second_halves, known_speakers="all")
    assert found.keys() == {"Anna Berg", "SPEAKER_01", "Henry"}
    assert found["SPEAKER_01"] is None
    assert all(0.55 < (found[name] or 0) <= 1 for name in ("Anna Berg", "Henry"))
    assert "Henry" not in speakers(http, second_halves, known_speakers="Anna Berg")
    assert speakers(http, second_halves).keys() == {"SPEAKER_00", "SPEAKER_01", "SPEAKER_02"}


def test_reflectors_route_keeps_its_numbers_and_adds_names(
    http: httpx.Client, halves: Halves, second_halves: bytes
) -> None:
    remember(http, "Henry", clip(halves, "Henry"))
    told = http.post("/diarize", files={"file": second_halves}, params={"known_speakers": "all"})
    assert told.status_code == 200, told.text
    turns = told.json()["diarization"]
    assert {turn["speaker"] for turn in turns} == {0, 1, 2}
    (number,) = {turn["speaker"] for turn in turns if turn.get("name") == "Henry"}
    for turn in turns:
        if turn["speaker"] == number:
            assert turn["name"] == "Henry"
            assert 0.55 < turn["similarity"] <= 1
        else:
            assert turn.keys() == {"start", "end", "speaker"}
    plain = http.post("/diarize", files={"file": second_halves}).json()["diarization"]
    assert all(turn.keys() == {"start", "end", "speaker"} for turn in plain)
    unknown = http.post("/diarize", files={"file": second_halves}, params={"known_speakers": "Zoe"})
    assert error_of(unknown, 400)["param"] == "known_speakers"


def test_transcripts_name_them_and_strangers_stay_letters(
    remembering: LiveServer,
    http: httpx.Client,
    halves: Halves,
    second_halves: bytes,
) -> None:
    remember(http, "David", clip(halves, "David"))
    fields = {"known_speakers": "all", "response_format": "diarized_json"}
    segments = upload(remembering, second_halves, data=fields).json()["segments"]
    assert {one["speaker"] for one in segments} == {"A", "David", "B"}
    for one in segments:
        assert ("speaker_similarity" in one) == (one["speaker"] == "David")
    words = upload(remembering, second_halves, data={"known_speakers": "David"}).json()["words"]
    assert {word["speaker"] for word in words} == {"A", "David", "B"}


def test_jobs_know_the_speakers_of_their_key(
    http: httpx.Client, halves: Halves, second_halves: bytes
) -> None:
    remember(http, "David", clip(halves, "David"))
    found: dict[str, Any] = {}
    for kind in ("transcription", "diarization"):
        sent = {"kind": kind, "known_speakers": "all", "response_format": ""}
        job = http.post("/v1/jobs", files={"file": second_halves}, data=sent).json()
        address = f"/v1/jobs/{job['id']}"
        eventually(lambda: http.get(address).json()["status"] == "completed")  # noqa: B023
        found[kind] = http.get(f"{address}/result").json()
    assert "David" in {word["speaker"] for word in found["transcription"]["words"]}
    assert "David" in {one["speaker"] for one in found["diarization"]["segments"]}


def test_a_server_without_a_place_remembers_nobody(bare: Callable[..., LiveServer]) -> None:
    with bare(apikey=KEY).client() as client:
        error = error_of(client.get(ROUTE), 404)
        assert error["code"] == "not_configured"
        assert "REFLECTOR_SPEAKER_STORE" in error["message"]
        answer = client.post(
            DIARIZATION, files={"file": wav(silence(1))}, data={"known_speakers": "all"}
        )
        assert error_of(answer, 400)["param"] == "known_speakers"


@pytest.mark.parametrize("kind", ["transcription", "diarization"])
def test_a_job_for_people_whom_nobody_remembers_is_refused_at_once(
    bare: Callable[..., LiveServer], tmp_path: Path, kind: str
) -> None:
    with bare(apikey=KEY, data_dir=tmp_path).client() as client:
        fields = {"kind": kind, "known_speakers": "all"}
        answer = client.post("/v1/jobs", files={"file": wav(silence(1))}, data=fields)
        assert error_of(answer, 400)["param"] == "known_speakers"
        assert client.get("/v1/jobs").json()["data"] == []
