"""``channels=separate``: each channel, or each track, is a speaker."""

from __future__ import annotations

import io
import json
import wave
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from reflector_gpu.api import connection
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import (
    TRANSCRIPTIONS,
    Gate,
    check_words,
    error_of,
    eventually,
    running,
    send_raw,
    silence,
    upload,
    wav,
)
from tests.audio.media import Heard, with_tracks
from tests.live import KEY, LiveServer

SEPARATE = {"channels": "separate"}


def interleaved(*channels: Samples) -> bytes:
    """A WAV file with these channels, the shorter ones silent at their end."""
    length = max(map(len, channels))
    padded = np.stack([np.pad(one, (0, length - len(one))) for one in channels], axis=1)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(len(channels))
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(np.round(padded * 32767).astype("<i2").tobytes())
    return file.getvalue()


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that takes jobs, too."""
    data = tmp_path_factory.mktemp("data")
    with LiveServer(model="scripted", apikey=KEY, data_dir=data) as server:
        yield server


@pytest.fixture(scope="module")
def left(snippets: list[Samples]) -> Samples:
    return np.concatenate([snippets[0], silence(6), snippets[1]])


@pytest.fixture(scope="module")
def right(snippets: list[Samples]) -> Samples:
    """Speaks while the other one pauses."""
    return np.concatenate([silence(4), snippets[2]])


@pytest.fixture(scope="module")
def call(left: Samples, right: Samples) -> bytes:
    return interleaved(left, right)


def words(server: LiveServer, audio: bytes, **fields: str) -> list[dict[str, Any]]:
    answer = upload(server, audio, data=fields)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["words"]
    return found


def said(found: list[dict[str, Any]], speaker: str | None) -> list[tuple[str, float]]:
    return [(word["word"], word["start"]) for word in found if word.get("speaker") == speaker]


def test_each_channel_has_its_own_words(
    scripted: LiveServer, call: bytes, left: Samples, right: Samples
) -> None:
    found = words(scripted, call, **SEPARATE)
    alone = [
        words(scripted, wav(one, silence(len(left) / SAMPLE_RATE - len(one) / SAMPLE_RATE)))
        for one in (left, right)
    ]
    assert said(found, "A") == said(alone[0], None)
    assert said(found, "B") == said(alone[1], None)
    assert len(found) == sum(map(len, alone))
    answer = upload(scripted, call, data=SEPARATE).json()
    check_words(answer["words"], answer["text"])


def test_words_of_people_who_speak_at_once_stay_in_order(
    scripted: LiveServer, snippets: list[Samples]
) -> None:
    both = interleaved(snippets[0], snippets[1])
    found = words(scripted, both, **SEPARATE)
    assert Counter(word["speaker"] for word in found).keys() == {"A", "B"}
    assert all(one["start"] <= other["start"] for one, other in pairwise(found))
    segments = upload(scripted, both, data={**SEPARATE, "response_format": "diarized_json"}).json()[
        "segments"
    ]
    assert {segment["speaker"] for segment in segments} == {"A", "B"}
    assert (
        " ".join(segment["text"] for segment in segments)
        == "".join(word["word"] for word in found).strip()
    )


def test_subtitles_and_streams_name_the_channel(scripted: LiveServer, call: bytes) -> None:
    vtt = upload(scripted, call, data={**SEPARATE, "response_format": "vtt"}).text
    assert "<v A>" in vtt
    assert "<v B>" in vtt
    answer = upload(
        scripted, call, data={**SEPARATE, "response_format": "diarized_json", "stream": "true"}
    )
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if "{" in line]
    kinds = Counter(event["type"] for event in events)
    assert kinds["transcript.text.segment"] == 3
    deltas = "".join(event["delta"] for event in events if event["type"].endswith("delta"))
    assert deltas == next(e["text"] for e in events if e["type"] == "transcript.text.done")


def test_a_silent_channel_has_no_words_and_costs_none(scripted: LiveServer, left: Samples) -> None:
    found = words(scripted, interleaved(silence(1), left, silence(1)), **SEPARATE)
    assert {word["speaker"] for word in found} == {"B"}
    assert said(found, "B") == said(words(scripted, wav(left)), None)


def test_the_tracks_of_a_file_are_its_channels(
    scripted: LiveServer, left: Samples, right: Samples
) -> None:
    file = with_tracks("matroska", "flac", Heard(left), Heard(right), Heard(silence(1)))
    found = words(scripted, file, **SEPARATE)
    assert {word["speaker"] for word in found} == {"A", "B"}
    assert {word["speaker"] for word in words(scripted, file, **SEPARATE, track="1")} == {"A"}
    answer = upload(scripted, file, data=SEPARATE)
    assert "warnings" not in answer.json()


def test_mixed_is_what_happens_otherwise(scripted: LiveServer, call: bytes) -> None:
    assert words(scripted, call, channels="mixed") == words(scripted, call)
    assert all("speaker" not in word for word in words(scripted, call))


def test_one_channel_is_one_speaker(scripted: LiveServer, clip: bytes) -> None:
    found = words(scripted, clip, **SEPARATE)
    assert {word["speaker"] for word in found} == {"A"}


@pytest.mark.slow
def test_who_speaks_when_is_told_without_a_diarizer(bare: Any, call: bytes, left: Samples) -> None:
    server = bare(diarizer="segmentation", apikey="test-key")  # which is not installed
    with server.client() as client:
        files = {"file": call}
        turns = client.post("/diarize", files=files, params=SEPARATE).json()["diarization"]
        rttm = client.post(
            "/v1/audio/diarization",
            files=files,
            data={**SEPARATE, "response_format": "rttm", "timestamp": "100"},
        ).text.splitlines()
    assert [turn["speaker"] for turn in turns] == [0, 1, 0]
    assert all(one["end"] <= other["start"] for one, other in pairwise(turns))
    assert turns[1]["start"] == pytest.approx(4, abs=0.5)
    assert turns[2]["end"] == pytest.approx(len(left) / SAMPLE_RATE, abs=0.5)
    assert [line.split()[7] for line in rttm] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]
    assert float(rttm[1].split()[3]) == pytest.approx(100 + turns[1]["start"])


@pytest.mark.parametrize("kind", ["transcription", "diarization"])
def test_jobs_separate_channels_too(scripted: LiveServer, call: bytes, kind: str) -> None:
    with scripted.client() as client:
        sent = client.post("/v1/jobs", files={"file": call}, data={"kind": kind, **SEPARATE})
        address = f"/v1/jobs/{sent.json()['id']}"
        eventually(lambda: client.get(address).json()["status"] == "completed")
        result = client.get(f"{address}/result").json()
    if kind == "transcription":
        assert [word["speaker"] for word in result["words"]] == [
            word["speaker"] for word in words(scripted, call, **SEPARATE)
        ]
    else:
        assert [turn["speaker"] for turn in result["segments"]] == [
            "SPEAKER_00",
            "SPEAKER_01",
            "SPEAKER_00",
        ]


@pytest.mark.parametrize(
    "route",
    ["/v1/audio/transcriptions", "/v1/audio/diarization", "/v1/jobs", "/v1/jobs?kind=diarization"],
)
def test_every_channel_counts(scripted: LiveServer, call: bytes, left: Samples, route: str) -> None:
    def used() -> float:
        days = client.get("/v1/usage").json()["data"]
        return sum(float(day["audio_seconds"]) for day in days)

    with scripted.client() as client:
        before = used()
        client.post(route, files={"file": call}, data=SEPARATE).raise_for_status()
        twice = pytest.approx(2 * len(left) / SAMPLE_RATE, abs=0.05)
        eventually(lambda: used() - before == twice)


def test_recordings_wait_for_decoders_of_their_channels(
    left: Samples, snippets: list[Samples]
) -> None:
    """There are 32 of them, and these would need 36."""
    many = interleaved(*[snippets[0]] + [silence(1)] * 11)
    with (
        LiveServer(model="scripted", apikey=KEY, live_requests=3, file_requests=1) as server,
        ThreadPoolExecutor(3) as clients,
    ):
        answers = list(clients.map(lambda _: words(server, many, **SEPARATE), range(3)))
    assert answers[0]
    assert answers[0] == answers[1] == answers[2]


def in_pieces(said: Samples, count: int, pause: float) -> Samples:
    """A recording of which the decoder is not done before the recogniser has heard most of it."""
    return np.concatenate([np.concatenate([said[:SAMPLE_RATE], silence(pause)])] * count)


@pytest.mark.slow
def test_long_recordings_leave_decoders_to_others(
    snippets: list[Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = interleaved(*[in_pieces(snippets[0], 7, pause=8)] * 16)
    short = interleaved(*[snippets[0]] + [silence(1)] * 15)
    with (
        LiveServer(model="scripted", apikey=KEY, live_requests=3, file_requests=1) as server,
        ThreadPoolExecutor(1) as others,
    ):
        gate = Gate(server, monkeypatch)
        gate.free = 0
        waiting = others.submit(words, server, long, **SEPARATE)
        eventually(lambda: gate.arrived >= 16 * 2)  # decoders wait for what is held
        gate.free = 1_000_000  # what has arrived is still held
        found = words(server, short, **SEPARATE)
        assert {word["speaker"] for word in found} == {"A"}
        assert not waiting.done()
        assert gate.arrived < 16 * 7  # they do not run ahead to the end
        gate.open()
        assert {word["speaker"] for word in waiting.result()} == set("ABCDEFGHIJKLMNOP")


@pytest.mark.slow
def test_a_client_that_reads_nothing_gives_its_decoders_back(
    bare: Any, snippets: list[Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two further requests need all 32."""
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.1)
    server = bare(model="scripted", apikey=KEY, live_requests=3, file_requests=1, write_seconds=0.3)
    server.narrow()
    gate = Gate(server, monkeypatch)
    gate.free = 0
    pieces = in_pieces(snippets[0], 6, pause=3)
    call, many = interleaved(*[pieces] * 2), interleaved(*[pieces] * 16)
    with server.client() as client:
        request = client.build_request(
            "POST", TRANSCRIPTIONS, files={"file": call}, data={**SEPARATE, "stream": "true"}
        )
    with send_raw(server, request):
        eventually(lambda: gate.arrived >= 4)
        monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 1e-6)  # fills the client's socket
        eventually(lambda: gate.cancelled == gate.arrived and not running(server, "live"))
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 15.0)
    before = gate.arrived
    with ThreadPoolExecutor(2) as clients:
        asked = [clients.submit(words, server, many, **SEPARATE) for _ in range(2)]
        eventually(lambda: gate.arrived >= before + 2 * 16 * 2)
        assert gate.arrived < before + 2 * 16 * 6
        gate.open()
        assert all(one.result() for one in asked)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_speakers": "2"},
        {"known_speaker_names": "Ann", "known_speaker_references": "data:audio;base64,AAAA"},
    ],
)
def test_channels_and_speakers_contradict_each_other(
    scripted: LiveServer, call: bytes, fields: dict[str, str]
) -> None:
    error = error_of(upload(scripted, call, data={**SEPARATE, **fields}), 400)
    assert error["param"] == "channels"
    with scripted.client() as client:
        route = "/v1/audio/diarization"
        sent = client.post(route, files={"file": call}, data={**SEPARATE, **fields})
    assert error_of(sent, 400)["param"] == "channels"


def test_what_cannot_be_separated_is_refused(scripted: LiveServer, clip: bytes) -> None:
    many = interleaved(*[silence(0.5)] * 17)
    error = error_of(upload(scripted, many, data=SEPARATE), 400)
    assert error["param"] == "channels"
    assert "17 channels" in error["message"]
    assert error_of(upload(scripted, clip, data={"channels": "both"}), 400)["param"] == "channels"
    assert error_of(upload(scripted, b"no audio at all", data=SEPARATE), 400)["param"] == "file"
    with scripted.client() as client:
        sent = client.post(TRANSCRIPTIONS, files={"file": clip}, data={**SEPARATE, "track": "3"})
    assert error_of(sent, 400)["param"] == "track"
