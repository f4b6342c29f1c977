"""The names of models: their list, their meanings, and the name in the answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from urllib.parse import unquote

import httpx
import pytest
from openai import OpenAI

from reflector_gpu.api.app import create_app
from reflector_gpu.api.request_record import MODEL_HEADER
from reflector_gpu.engines.recognition.names import OPENAI
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import load_settings
from tests.api.support import (
    FROM_URL,
    TRANSCRIBE,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    error_of,
    eventually,
    upload,
)
from tests.engines.tiny import PARAKEET, SEGMENTATION, WHISPER
from tests.engines.tongues import TRANSLATION
from tests.live import KEY, LiveServer

START = Callable[..., LiveServer]


@pytest.fixture(scope="module")
def named() -> Iterator[LiveServer]:
    """A server of many names: aliases that mean others, and one for everything."""
    with LiveServer(
        model="scripted",
        auto_models="large-v3",  # is not here
        model_aliases={"house": "Home", "home": "scripted", "sphinx": "scripted", "*": "house"},
        model_paths={"fünf": str(WHISPER), "voices": str(SEGMENTATION)},
        translator=str(TRANSLATION),
        workers=1,
        apikey=KEY,
    ) as server:
        yield server


def listed(server: LiveServer, **query: str) -> dict[str, dict[str, object]]:
    with server.client() as client:
        body = client.get("/v1/models", params=query).json()
    assert body["object"] == "list"
    ids = [card["id"] for card in body["data"]]
    assert len(set(ids)) == len(ids)
    return {card["id"]: card for card in body["data"]}


# The list


def test_the_list_of_models(scripted: LiveServer) -> None:
    cards = listed(scripted)
    assert {"scripted", "sphinx", "whisper-1", "pyannet"} <= set(cards)
    for card in cards.values():
        assert (card["object"], type(card["created"])) == ("model", int)
        assert card["owned_by"]
        assert card["description"]
        assert card["licence"]
        assert card["languages"] == sorted(card["languages"])  # type: ignore[call-overload]  # a list
        assert bool(card["languages"]) == (card["type"] == "recogniser")
        assert card["state"] in {"ready", "loading", "failed", "not loaded"}
    defaults = [card["id"] for card in listed(scripted, all="true").values() if card["default"]]
    assert set(defaults) == {"scripted", "pyannet", "apertium", "smart-turn"}
    assert cards["scripted"]["state"] == "ready"


def test_what_answers_now_comes_first(scripted: LiveServer) -> None:
    order = ["ready", "loading", "idle", "not loaded", "failed", "downloading", "not installed"]
    for cards in (listed(scripted), listed(scripted, all="true")):
        places = [order.index(str(card["state"])) for card in cards.values()]
        assert places == sorted(places)
        assert next(iter(cards)) == "scripted"


def test_what_is_not_installed_is_listed_for_those_who_ask(
    bare: START, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    server = bare(apikey=KEY)
    assert "absent" not in listed(server)
    assert "large-v3" not in listed(server)
    everything = listed(server, all="true")
    assert {"absent", "large-v3", "auto", *OPENAI} <= set(everything)
    assert everything["absent"]["state"] == everything["whisper-1"]["state"] == "not installed"
    assert "models pull large-v3" in str(everything["large-v3"]["installation"])
    assert listed(server)["pyannet"]["installation"] is None


def test_an_alias_for_what_is_not_installed_is_warned_of(
    bare: START,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    aliases = {"house": "large-v3", "home": "scripted", "any": "auto"}
    server = bare(apikey=KEY, model_aliases=aliases)
    [warning] = [one.getMessage() for one in caplog.records if "ALIASES" in one.getMessage()]
    assert "'house' means large-v3" in warning
    assert warning.endswith("reflector-gpu models pull large-v3")
    assert listed(server, all="true")["house"]["state"] == "not installed"


def test_aliases_say_what_they_mean(named: LiveServer) -> None:
    cards = listed(named)
    means = {name: card["means"] for name, card in cards.items() if card["means"]}
    assert means == dict.fromkeys(("house", "home", "sphinx", "whisper-1"), "scripted")
    assert {str(cards[name]["state"]) for name in means} == {"ready"}
    assert cards["scripted"]["means"] is None


@pytest.mark.parametrize(
    "name",
    [
        "whisper-1",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "house",
        "HOUSE",
        "sphinx",
        "org/anything at all",
    ],
)
def test_a_model_answers_to_the_name_that_was_asked_for(named: LiveServer, name: str) -> None:
    client = OpenAI(base_url=f"{named.url}/v1", api_key=KEY)
    model = client.models.retrieve(name)
    assert model.id == name
    assert model.model_dump()["means"] == "scripted"


def test_a_model_by_its_own_name_means_itself(named: LiveServer) -> None:
    with named.client() as client:
        for name in ("scripted", "pyannet", "fünf"):
            card = client.get(f"/v1/models/{name}").json()
            assert (card["id"], card["means"]) == (name, None)
        assert client.get("/v1/models/SCRIPTED").json()["means"] == "scripted"


def test_names_with_slashes(scripted: LiveServer) -> None:
    with scripted.client() as client:
        for name in ("Systran/faster-whisper-base", "Systran%2Ffaster-whisper-base"):
            card = client.get(f"/v1/models/{name}").json()
            assert (card["id"], card["means"]) == ("Systran/faster-whisper-base", "base")
        assert error_of(client.get("/v1/models/org/nothing"), 404)["code"] == "model_not_found"


def test_a_model_that_is_not_installed_says_so(bare: START) -> None:
    with bare().client() as client:
        card = client.get("/v1/models/absent").json()
    assert (card["state"], card["default"]) == ("not installed", True)


# Who answered


def test_every_answer_says_which_model_it_is_from(
    named: LiveServer, clip: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "reflector_gpu.access"):
        for name in ("gpt-4o-transcribe", "house", "scripted", "", "whatever"):
            for route in (TRANSCRIPTIONS, TRANSCRIBE, TRANSLATIONS):
                answer = upload(named, clip, route=route, data={"model": name})
                assert answer.headers[MODEL_HEADER] == "scripted"

        def told() -> int:
            return sum(" model=scripted" in one.getMessage() for one in caplog.records)

        eventually(lambda: told() == 15)  # the last line comes behind its answer


def test_the_head_of_a_stream_says_which_model_it_is_from(named: LiveServer, clip: bytes) -> None:
    fields = {"model": "gpt-4o-transcribe", "stream": "true"}
    answer = upload(named, clip, data=fields)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers[MODEL_HEADER] == "scripted"


def test_diarize_and_translate_say_which_model_answered(named: LiveServer, clip: bytes) -> None:
    with named.client() as client:
        answer = client.post("/diarize", files={"file": clip})
        assert answer.headers[MODEL_HEADER] == "pyannet"
        fields = {"text": "Thank you.", "source_language": "en", "target_language": "fr"}
        answer = client.post("/translate", json=fields)
        assert answer.headers[MODEL_HEADER] == "translation-tiny"
        # Nobody need translate this.
        answer = client.post("/translate", json={**fields, "target_language": "en-GB"})
        assert MODEL_HEADER not in answer.headers


def test_a_name_that_no_header_can_hold_is_escaped(named: LiveServer, clip: bytes) -> None:
    answer = upload(named, clip, data={"model": "fünf"})
    assert answer.status_code == 200
    assert unquote(answer.headers[MODEL_HEADER]) == "fünf"


def test_the_model_is_told_of_a_request_that_it_refuses(named: LiveServer, clip: bytes) -> None:
    answer = upload(named, clip, data={"model": "large-v3"})
    error_of(answer, 503)
    assert answer.headers[MODEL_HEADER] == "large-v3"
    answer = upload(named, b"no audio", data={"model": "house"})
    error_of(answer, 400)
    assert answer.headers[MODEL_HEADER] == "scripted"


# Speakers by name

DIARIZING = "gpt-4o-transcribe-diarize"


def speakers_in(answer: httpx.Response) -> bool:
    return '"speaker"' in answer.raise_for_status().text


@pytest.mark.parametrize(("form", "shown"), [("", True), ("diarized_json", True), ("json", False)])
def test_a_model_name_with_diarize_names_speakers(
    named: LiveServer, clip: bytes, form: str, shown: bool
) -> None:
    answer = upload(named, clip, data={"model": DIARIZING, "response_format": form})
    assert speakers_in(answer) == shown
    assert not speakers_in(upload(named, clip, data={"model": DIARIZING, "diarize": "false"}))


def test_speakers_that_no_answer_shows_are_not_looked_for(bare: START, clip: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", "/nonesuch")
        server = bare(model="scripted", diarizer="segmentation", apikey=KEY)
        for fields in (
            {"response_format": "json"},
            {"response_format": "text"},
            {"stream": "true"},
        ):
            answer = upload(server, clip, data={"model": DIARIZING, **fields})
            assert answer.status_code == 200
        error_of(upload(server, clip, data={"model": DIARIZING}), 503)


def test_openais_own_call_for_speakers(named: LiveServer, clip: bytes) -> None:
    client = OpenAI(base_url=f"{named.url}/v1", api_key=KEY)
    answer = client.audio.transcriptions.create(
        model=DIARIZING,
        file=("meeting.wav", clip),
        response_format="diarized_json",
        chunking_strategy="auto",
    )
    assert {segment.speaker for segment in answer.segments} == {"A"}


# Names that collide


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model_aliases": {"bic": "sphinx"}}, "REFLECTOR_MODEL_ALIASES: 'bic'"),
        ({"model_aliases": {"Segmentation": "sphinx"}}, "REFLECTOR_MODEL_ALIASES: 'Segmentation'"),
        ({"model_aliases": {"m2m100": "sphinx"}}, "REFLECTOR_MODEL_ALIASES: 'm2m100'"),
        ({"model_aliases": {"llm": "sphinx"}}, "REFLECTOR_MODEL_ALIASES: 'llm'"),
        ({"model_paths": {"apertium": str(WHISPER)}}, "REFLECTOR_MODEL_PATHS: 'apertium'"),
        ({"model_paths": {"bic": str(PARAKEET)}}, "REFLECTOR_MODEL_PATHS: 'bic'"),
        ({"model_paths": {"sphinx": str(SEGMENTATION)}}, "REFLECTOR_MODEL_PATHS: 'sphinx'"),
        ({"model_paths": {"auto": str(SEGMENTATION)}}, "REFLECTOR_MODEL_PATHS: 'auto'"),
        ({"model_paths": {"m2m100": str(SEGMENTATION)}}, "REFLECTOR_MODEL_PATHS: 'm2m100'"),
        ({"model_paths": {"Whisper-1": str(SEGMENTATION)}}, "REFLECTOR_MODEL_PATHS: 'Whisper-1'"),
        (
            {
                "model_aliases": {"qwen": "sphinx"},
                "llm_engine": "openai",
                "llm_base_url": "http://127.0.0.1:1/v1",
                "llm_model": "Qwen",
            },
            "REFLECTOR_MODEL_ALIASES: 'qwen'",
        ),
    ],
    ids=json.dumps,
)
def test_names_of_other_kinds_of_models_are_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        create_app(load_settings(**settings))


def test_a_diarizer_of_ones_own_may_replace_ours(bare: START) -> None:
    server = bare(diarizer="segmentation", model_paths={"segmentation": str(SEGMENTATION)})
    assert server.service.diarizer.summary != ""
    assert not server.service.diarizer.missing


@pytest.mark.slow
def test_a_folder_takes_the_place_of_a_model_of_ours(clip: bytes) -> None:
    paths = {"large-v3": str(WHISPER)}
    with LiveServer(model="scripted", model_paths=paths, workers=1, apikey=KEY) as server:
        answer = upload(server, clip, data={"model": "openai/whisper-large-v3"})
        assert (answer.status_code, answer.headers[MODEL_HEADER]) == (200, "large-v3")
        assert listed(server)["large-v3"]["licence"] == "see the folder"


@pytest.mark.slow
def test_a_translator_may_have_the_name_of_a_recogniser(clip: bytes, tmp_path: object) -> None:
    import shutil

    folder = shutil.copytree(TRANSLATION, f"{tmp_path}/scripted")
    with LiveServer(model="scripted", translator=str(folder), workers=1, apikey=KEY) as server:
        assert upload(server, clip, data={"model": "scripted"}).status_code == 200
        with server.client() as client:
            found = client.post("/translate", params={"text": "Thank you."}).json()
    assert found["text"]["fr"] == "Merci."


def test_from_url(named: LiveServer) -> None:
    with named.client() as client:
        body = {"audio_file_url": "http://127.0.0.1:1/a.wav", "model": "house"}
        assert client.post(FROM_URL, json=body).headers[MODEL_HEADER] == "scripted"
