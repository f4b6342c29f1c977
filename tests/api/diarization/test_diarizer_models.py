"""A diarizer with networks of its own behind the public door: served, downloaded, told about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import load_settings
from reflector_gpu.types import SpeakerTurn
from tests.api.support import error_of, eventually, upload, wav
from tests.engines.conversations import OVERLAPPING, THREE, conversation, error_rate
from tests.engines.hub import Hub
from tests.engines.tiny import SEGMENTATION, WHISPER
from tests.live import KEY, LiveServer

START = Callable[..., LiveServer]
MODEL = DIARIZERS.models["segmentation"]


@pytest.fixture(scope="module")
def own() -> Iterator[LiveServer]:
    """A server whose diarizer is an operator's own folder."""
    paths = {"pair": str(SEGMENTATION)}
    with LiveServer(model="scripted", diarizer="pair", model_paths=paths, apikey=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def meeting() -> bytes:
    """Three people, one after the other."""
    return wav(conversation(THREE)[0])


def turns_of(answer: httpx.Response) -> list[SpeakerTurn]:
    return [SpeakerTurn(**turn) for turn in answer.json()["diarization"]]


def test_a_meeting_of_three_is_told_apart(own: LiveServer, meeting: bytes) -> None:
    with own.client() as client:
        turns = turns_of(client.post("/diarize", files={"file": meeting}))
    assert list(dict.fromkeys(turn.speaker for turn in turns)) == [0, 1, 2]
    assert error_rate(turns, conversation(THREE)[1]) < 0.15


def test_people_who_speak_at_once_have_turns_that_overlap(own: LiveServer) -> None:
    sound, truth = conversation(OVERLAPPING)
    with own.client() as client:
        turns = turns_of(client.post("/diarize", files={"file": wav(sound)}))
    assert any(one.end > other.start + 0.5 for one, other in pairwise(turns))
    assert error_rate(turns, truth) < 0.15


def test_words_name_their_speakers(own: LiveServer, meeting: bytes) -> None:
    words = upload(own, meeting, data={"diarize": "true"}).json()["words"]
    assert {word["speaker"] for word in words} == {"A", "B", "C"}


def test_the_number_of_speakers_is_respected(own: LiveServer, meeting: bytes) -> None:
    with own.client() as client:
        answer = client.post("/diarize", files={"file": meeting}, params={"num_speakers": 2})
    assert {turn["speaker"] for turn in answer.json()["diarization"]} == {0, 1}


def test_where_nobody_speaks_there_are_no_turns(own: LiveServer, quiet: bytes) -> None:
    with own.client() as client:
        assert client.post("/diarize", files={"file": quiet}).json() == {"diarization": []}


def test_the_list_says_that_a_model_is_a_diarizer(own: LiveServer) -> None:
    with own.client() as client:
        eventually(lambda: client.get("/health/ready").status_code == 200)
        cards = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
        assert client.get("/v1/models/pair").json() == cards["pair"]
    assert (cards["pair"]["type"], cards["pair"]["state"]) == ("diarizer", "ready")
    assert cards["scripted"]["type"] == "recogniser"
    assert {card.id for card in own.openai().models.list()} == set(cards), "clients read it still"


def test_it_recognises_no_words(own: LiveServer, meeting: bytes) -> None:
    assert error_of(upload(own, meeting, data={"model": "pair"}), 404)


def test_a_diarizer_without_a_model_is_not_waited_for(scripted: LiveServer) -> None:
    with scripted.client() as client:
        assert client.get("/health/ready").status_code == 200
        assert client.get("/v1/models/pyannet").json()["type"] == "diarizer"


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_it_belongs_to_the_profiles_with_networks(profile: str) -> None:
    assert load_settings(profile=profile).diarizer == MODEL.name
    assert load_settings(profile="embedded").diarizer == "pyannet"


@pytest.mark.parametrize("folder", [WHISPER, SEGMENTATION.parent])
def test_a_folder_of_something_else_is_no_diarizer(folder: Path) -> None:
    paths = {"mine": str(folder)}
    with (
        pytest.raises(ConfigurationError, match="mine"),
        LiveServer(model="scripted", diarizer="mine", model_paths=paths),
    ):
        pass


# Downloads


@pytest.fixture
def start(diarizer_hub: Hub) -> Iterator[START]:
    with ExitStack() as servers:

        def start(**settings: Any) -> LiveServer:
            given = {"model": "scripted", "diarizer": MODEL.name, "apikey": KEY, **settings}
            return servers.enter_context(LiveServer(wait=False, **given))

        yield start


def state(client: httpx.Client) -> str:
    return str(client.get(f"/v1/models/{MODEL.name}").json()["state"])


@pytest.mark.slow
def test_it_is_downloaded_at_the_start_and_waited_for(
    diarizer_hub: Hub, start: START, meeting: bytes
) -> None:
    hub = diarizer_hub
    hub.stops_after = 1000
    server = start(auto_pull=True)
    with server.client() as client:
        eventually(lambda: hub.downloads)
        for answer in (
            client.get("/health/ready"),
            client.post("/diarize", files={"file": meeting}),
            upload(server, meeting, data={"diarize": "true"}),
        ):
            error = error_of(answer, 503)
            assert error["code"] == "engine_loading"
            assert "'segmentation' is being downloaded: " in error["message"]
            assert " of 33 MB" in error["message"]
        assert state(client) == "downloading"
        assert upload(server, meeting).status_code == 200, "who wants no speakers needs it not"

        hub.go_on()
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert state(client) == "ready"
        answer = client.post("/diarize", files={"file": meeting})
    assert {turn["speaker"] for turn in answer.json()["diarization"]} == {0, 1, 2}
    assert sorted(hub.fetched) == sorted(
        [MODEL.arguments[n] for n in ("segmentation", "embedding")]
    )


def test_nothing_is_downloaded_unless_that_is_allowed(
    diarizer_hub: Hub, start: START, meeting: bytes
) -> None:
    with start(auto_pull=False).client() as client:
        eventually(lambda: client.get("/v1/models/scripted").json()["state"] == "ready")
        for answer in (
            client.get("/health/ready"),
            client.post("/diarize", files={"file": meeting}),
        ):
            error = error_of(answer, 503)
            assert error["code"] == "model_not_installed"
            assert "reflector-gpu models pull segmentation" in error["message"]
        assert state(client) == "not installed"
    assert diarizer_hub.looked_up == []
