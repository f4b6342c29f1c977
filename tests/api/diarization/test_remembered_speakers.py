"""Voices that the server remembers: people are named in other recordings."""

from __future__ import annotations

import importlib.util
import json
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from reflector_gpu import pcm
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import error_of, eventually, silence, upload, wav
from tests.conftest import SAMPLES
from tests.live import KEY, LiveServer

ROUTE, DIARIZATION = "/v1/speakers", "/v1/audio/diarization"
ENCRYPTS = importlib.util.find_spec("cryptography") is not None
SECRET = "a secret of the operator" if ENCRYPTS else None
encrypted = pytest.mark.skipif(not ENCRYPTS, reason="cryptography is not installed")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speakers")


@pytest.fixture(scope="module")
def server(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(
        model="scripted",
        apikey=f"{KEY},other",
        speaker_store=store,
        speaker_store_key=SECRET,
        data_dir=tmp_path_factory.mktemp("data"),
    ) as server:
        yield server


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    """A client of a server that remembers nobody yet."""
    with server.client() as client:
        for one in client.get(ROUTE).json()["data"]:
            client.delete(f"{ROUTE}/{one['name']}")
        yield client


@pytest.fixture(scope="module")
def halves() -> dict[str, tuple[Samples, Samples]]:
    """What each person of the sample meeting says, in two halves that share nothing."""
    with wave.open(str(SAMPLES / "standup.wav")) as file:
        sound = pcm.decoded(file.readframes(file.getnframes()))
    turns = json.loads((SAMPLES / "standup.json").read_text())["turns"]
    found = {}
    for name in ("Anna", "David", "Henry"):
        own = [
            sound[round(turn["start"] * SAMPLE_RATE) : round(turn["end"] * SAMPLE_RATE)]
            for turn in turns
            if turn["speaker"] == name
        ]
        middle = len(own) // 2
        found[name] = np.concatenate(own[:middle]), np.concatenate(own[middle:])
    return found


@pytest.fixture(scope="module")
def meeting(halves: dict[str, tuple[Samples, Samples]]) -> bytes:
    """The second halves, one after the other."""
    gap, seconds = silence(1), 8 * SAMPLE_RATE
    return wav(*(part for _, half in halves.values() for part in (half[:seconds], gap)))


def remember(http: httpx.Client, name: str, *clips: Samples) -> httpx.Response:
    files = [("files", (f"{n}.wav", wav(clip))) for n, clip in enumerate(clips)]
    return http.post(ROUTE, data={"name": name}, files=files)


def clip(halves: dict[str, tuple[Samples, Samples]], name: str) -> Samples:
    return halves[name][0][: 8 * SAMPLE_RATE]


def speakers(http: httpx.Client, meeting: bytes, **fields: object) -> dict[str, float | None]:
    answer = http.post(DIARIZATION, files={"file": meeting}, data=fields)
    assert answer.status_code == 200, answer.text
    return {one["speaker"]: one.get("similarity") for one in answer.json()["segments"]}


@pytest.mark.slow
def test_people_are_named_across_recordings(
    http: httpx.Client, halves: dict[str, tuple[Samples, Samples]], meeting: bytes
) -> None:
    made = remember(http, "Anna Berg", clip(halves, "Anna"))
    assert made.status_code == 200, made.text
    assert made.json().keys() == {"object", "name", "created_at", "seconds"}
    remember(http, "Henry", clip(halves, "Henry"), clip(halves, "Henry")[: 5 * SAMPLE_RATE])
    assert [one["name"] for one in http.get(ROUTE).json()["data"]] == ["Anna Berg", "Henry"]
    found = speakers(http, meeting, known_speakers="all")
    assert found.keys() == {"Anna Berg", "SPEAKER_01", "Henry"}
    assert found["SPEAKER_01"] is None
    assert all(0.55 < (found[name] or 0) <= 1 for name in ("Anna Berg", "Henry"))
    assert "Henry" not in speakers(http, meeting, known_speakers="Anna Berg")
    assert speakers(http, meeting).keys() == {"SPEAKER_00", "SPEAKER_01", "SPEAKER_02"}


def test_reflectors_route_keeps_its_numbers_and_adds_names(
    http: httpx.Client, halves: dict[str, tuple[Samples, Samples]], meeting: bytes
) -> None:
    remember(http, "Henry", clip(halves, "Henry"))
    told = http.post("/diarize", files={"file": meeting}, params={"known_speakers": "all"})
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
    plain = http.post("/diarize", files={"file": meeting}).json()["diarization"]
    assert all(turn.keys() == {"start", "end", "speaker"} for turn in plain)
    unknown = http.post("/diarize", files={"file": meeting}, params={"known_speakers": "Zoe"})
    assert error_of(unknown, 400)["param"] == "known_speakers"


def test_transcripts_name_them_and_strangers_stay_letters(
    server: LiveServer,
    http: httpx.Client,
    halves: dict[str, tuple[Samples, Samples]],
    meeting: bytes,
) -> None:
    remember(http, "David", clip(halves, "David"))
    fields = {"known_speakers": "all", "response_format": "diarized_json"}
    segments = upload(server, meeting, data=fields).json()["segments"]
    assert {one["speaker"] for one in segments} == {"A", "David", "B"}
    for one in segments:
        assert ("speaker_similarity" in one) == (one["speaker"] == "David")
    words = upload(server, meeting, data={"known_speakers": "David"}).json()["words"]
    assert {word["speaker"] for word in words} == {"A", "David", "B"}


def test_jobs_know_the_speakers_of_their_key(
    http: httpx.Client, halves: dict[str, tuple[Samples, Samples]], meeting: bytes
) -> None:
    remember(http, "David", clip(halves, "David"))
    found: dict[str, Any] = {}
    for kind in ("transcription", "diarization"):
        sent = {"kind": kind, "known_speakers": "all", "response_format": ""}
        job = http.post("/v1/jobs", files={"file": meeting}, data=sent).json()
        address = f"/v1/jobs/{job['id']}"
        eventually(lambda: http.get(address).json()["status"] == "completed")  # noqa: B023
        found[kind] = http.get(f"{address}/result").json()
    assert "David" in {word["speaker"] for word in found["transcription"]["words"]}
    assert "David" in {one["speaker"] for one in found["diarization"]["segments"]}


def test_what_is_deleted_is_forgotten(
    http: httpx.Client,
    halves: dict[str, tuple[Samples, Samples]],
    meeting: bytes,
    store: Path,
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    assert list(store.iterdir())
    assert http.delete(f"{ROUTE}/Anna").json() == {
        "object": "speaker",
        "name": "Anna",
        "deleted": True,
    }
    assert list(store.iterdir()) == []
    assert "Anna" not in speakers(http, meeting, known_speakers="all")
    assert error_of(http.delete(f"{ROUTE}/Anna"), 404)["param"] == "name"
    remember(http, "Anna / Ben?", clip(halves, "Anna"))
    assert http.delete(f"{ROUTE}/Anna%20%2F%20Ben%3F").json()["deleted"]
    assert http.get(ROUTE).json()["data"] == []
    answer = http.post(DIARIZATION, files={"file": meeting}, data={"known_speakers": "Anna"})
    assert error_of(answer, 400)["param"] == "known_speakers"


@encrypted
def test_nothing_legible_is_kept_and_no_audio(
    http: httpx.Client, halves: dict[str, tuple[Samples, Samples]], store: Path
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    (file,) = store.iterdir()
    assert file.stat().st_size < 4000
    assert file.stat().st_mode & 0o077 == 0
    assert b"Anna" not in file.read_bytes()
    assert "Anna" not in file.name


def test_voices_are_those_of_the_key_that_sent_them(
    server: LiveServer, http: httpx.Client, halves: dict[str, tuple[Samples, Samples]]
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    with server.client("other") as other:
        assert other.get(ROUTE).json()["data"] == []
        assert error_of(other.delete(f"{ROUTE}/Anna"), 404)
    assert len(http.get(ROUTE).json()["data"]) == 1


def test_damage_of_one_keys_voices_does_not_concern_another(
    server: LiveServer,
    http: httpx.Client,
    halves: dict[str, tuple[Samples, Samples]],
    store: Path,
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    [damaged] = store.iterdir()
    damaged.write_bytes(b"")
    assert "send clips" in error_of(http.get(ROUTE), 503)["message"]
    with server.client("other") as other:
        assert remember(other, "Anna", clip(halves, "Anna")).status_code == 200
        listed = other.get(ROUTE).json()
        assert ([one["name"] for one in listed["data"]], listed["unreadable"]) == (["Anna"], 0)
        other.delete(f"{ROUTE}/Anna")
    assert http.delete(f"{ROUTE}/Anna").json()["deleted"]


def test_bad_voices_are_refused(
    http: httpx.Client, halves: dict[str, tuple[Samples, Samples]]
) -> None:
    anna, david = clip(halves, "Anna"), clip(halves, "David")
    two = np.concatenate([anna[: 8 * SAMPLE_RATE], silence(1), david[: 8 * SAMPLE_RATE]])
    assert "Several people" in error_of(remember(http, "Anna", two), 400)["message"]
    assert error_of(remember(http, "Anna", silence(5)), 400)["param"] == "file"
    for name in ("all", "Anna, Berg", "", " "):
        assert error_of(remember(http, name, anna), 400)["param"] == "name"
    assert error_of(http.post(ROUTE, data={"name": "Anna"}), 400)
    assert http.get(ROUTE).json()["data"] == []


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


def test_a_damaged_file_hides_nobody_else(
    http: httpx.Client,
    halves: dict[str, tuple[Samples, Samples]],
    meeting: bytes,
    store: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    intact = set(store.iterdir())
    remember(http, "Henry", clip(halves, "Henry"))
    [damaged] = set(store.iterdir()) - intact
    damaged.write_bytes(damaged.read_bytes()[:100])
    listed = http.get(ROUTE).json()
    assert [one["name"] for one in listed["data"]] == ["Anna"]
    assert listed["unreadable"] == 1
    assert damaged.name in caplog.text
    assert "Anna" in speakers(http, meeting, known_speakers="Anna")
    for wanted, problem in (("Henry", "'Henry' is damaged"), ("all", "are damaged (1)")):
        answer = http.post(DIARIZATION, files={"file": meeting}, data={"known_speakers": wanted})
        assert problem in error_of(answer, 503)["message"]
    remember(http, "Henry", clip(halves, "Henry"))
    assert len(http.get(ROUTE).json()["data"]) == 2
    assert http.get(ROUTE).json()["unreadable"] == 0


@encrypted
def test_another_key_does_not_open_the_files(
    http: httpx.Client,
    halves: dict[str, tuple[Samples, Samples]],
    store: Path,
    bare: Callable[..., LiveServer],
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    other = bare(apikey=KEY, speaker_store=store, speaker_store_key="another secret, as long")
    with other.client() as client:
        assert "REFLECTOR_SPEAKER_STORE_KEY" in error_of(client.get(ROUTE), 503)["message"]


def test_a_place_that_cannot_be_used_is_a_mistake_of_the_operator(
    bare: Callable[..., LiveServer], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigurationError, match="REFLECTOR_SPEAKER_STORE"):
        bare(apikey=KEY, speaker_store=file)


def test_without_its_package_nothing_is_left_unencrypted(
    bare: Callable[..., LiveServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(ConfigurationError, match="encryption"):
        bare(apikey=KEY, speaker_store=tmp_path, speaker_store_key="a secret of mine")
