"""What clients see of the application on Ray is what they see without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.realtime.client import COMPLETED, Client
from tests.api.support import error_of, wav
from tests.jobs.test_killed import recording
from tests.live import KEY, LiveServer
from tests.ray.cluster import RayCluster
from tests.waiting import until

TRANSCRIPTIONS = "/v1/audio/transcriptions"
HALF_AN_HOUR = 27  # times the sample meeting
UPLOADS = [
    {"model": "scripted", "response_format": "verbose_json", "timestamp_granularities[]": "word"},
    {"model": "scripted", "response_format": "srt"},
    {"model": "sphinx"},
]


@pytest.fixture(scope="module")
def alone() -> Iterator[LiveServer]:
    """The same application without Ray."""
    with LiveServer(
        model="auto", auto_models="sphinx,scripted", apikey=KEY, url_allow="127.0.0.1"
    ) as server:
        yield server


@pytest.fixture(scope="module")
def meeting(standup: Path) -> bytes:
    return standup.read_bytes()


@pytest.mark.parametrize("fields", UPLOADS, ids=lambda fields: "-".join(fields.values()))
def test_an_upload_is_answered_as_without_ray(
    cluster: RayCluster, alone: LiveServer, meeting: bytes, clip: bytes, fields: dict[str, str]
) -> None:
    answers = []
    audio = clip if fields["model"] == "sphinx" else meeting
    for server in (cluster, alone):
        with server.client() as http:
            answers.append(http.post(TRANSCRIPTIONS, files={"file": audio}, data=fields))
    ours, theirs = answers
    assert ours.status_code == 200, ours.text
    assert ours.content == theirs.content
    assert ours.headers["x-reflector-model"] == fields["model"]


def test_a_stream_has_the_events_that_it_has_without_ray(
    cluster: RayCluster, alone: LiveServer, meeting: bytes
) -> None:
    streams = []
    for server in (cluster, alone):
        with (
            server.client() as http,
            http.stream(
                "POST",
                TRANSCRIPTIONS,
                files={"file": meeting},
                data={"model": "scripted", "stream": "true"},
            ) as answer,
        ):
            assert answer.status_code == 200
            streams.append([line for line in answer.iter_lines() if line.startswith("data:")])
    assert streams[0] == streams[1]
    assert len(streams[0]) > 5


def test_openais_client_is_answered(cluster: RayCluster, standup: Path) -> None:
    with cluster.openai() as openai, standup.open("rb") as file:
        found = openai.audio.transcriptions.create(model="scripted", file=file)
    assert len(found.text.split()) > 50


def test_speakers_are_told_apart_by_a_replica(cluster: RayCluster, meeting: bytes) -> None:
    with cluster.client() as http:
        found = http.post(
            TRANSCRIPTIONS,
            files={"file": meeting},
            data={"model": "scripted", "response_format": "diarized_json"},
        )
    assert found.status_code == 200, found.text
    assert len({segment["speaker"] for segment in found.json()["segments"]}) > 1


def test_a_realtime_session_goes_through_the_proxy(cluster: RayCluster, speech: Samples) -> None:
    pause = np.zeros(SAMPLE_RATE, np.float32)
    with Client(cluster, transcription={"model": "scripted"}) as session:
        session.speak(np.concatenate((speech[: 4 * SAMPLE_RATE], pause)))
        assert session.wait_for(COMPLETED)["transcript"]


def test_a_client_secret_opens_sessions_on_every_server(cluster: RayCluster) -> None:
    with cluster.client() as http:
        made = http.post("/v1/realtime/client_secrets", json={}).json()["value"]
    for _ in range(8):
        with Client(cluster, "/v1/realtime", key=made) as session:
            assert session.next()["type"] == "session.created"


@pytest.fixture(scope="module")
def long_file(speech: Samples) -> bytes:
    return recording(speech, HALF_AN_HOUR)


@pytest.fixture(scope="module")
def long_transcript(alone: LiveServer, long_file: bytes) -> bytes:
    """What the server without Ray makes of it."""
    return transcript(alone, long_file)


def transcript(server: LiveServer | RayCluster, audio: bytes) -> bytes:
    form = {"model": "scripted", "response_format": "verbose_json"}
    with server.client() as http:
        answer = http.post(TRANSCRIPTIONS, files={"file": audio}, data=form)
    assert answer.status_code == 200, answer.text
    assert answer.json()["duration"] > 1790
    return answer.content


@pytest.mark.parametrize("replicas", ["1", "2"])
def test_a_long_file_has_the_same_transcript_on_any_number_of_replicas(
    cluster: RayCluster, long_file: bytes, long_transcript: bytes, replicas: str
) -> None:
    changed = {"REFLECTOR_RAY_REPLICAS": replicas, "REFLECTOR_RAY_MOST_REPLICAS": replicas}
    cluster.deploy(changed)
    until(lambda: len(cluster.replicas("recogniser-scripted")) == int(replicas))
    assert transcript(cluster, long_file) == long_transcript


@pytest.mark.parametrize(
    ("key", "fields", "status"),
    [
        (None, {}, 401),
        ("wrong", {}, 401),
        (KEY, {"model": "nobody"}, 404),
        (KEY, {"temperature": "hot"}, 400),
    ],
)
def test_refusals_have_our_body(
    cluster: RayCluster, clip: bytes, key: str | None, fields: dict[str, str], status: int
) -> None:
    with cluster.client(key) as http:
        error_of(http.post(TRANSCRIPTIONS, files={"file": clip}, data=fields), status)


def test_a_request_id_is_said_once(cluster: RayCluster) -> None:
    with cluster.client() as http:
        sent = http.get("/v1/models", headers={"X-Request-ID": "mine"})
        assert sent.headers.get_list("x-request-id") == ["mine"]
        assert len(http.get("/v1/models").headers.get_list("x-request-id")) == 1


@pytest.fixture(scope="module")
def clip(speech: Samples) -> bytes:
    return wav(speech[: 4 * SAMPLE_RATE])
