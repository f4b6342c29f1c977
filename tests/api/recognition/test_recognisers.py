"""Several recognisers behind one server: real words from the tiny trained models."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from reflector_gpu.api.request_record import MODEL_HEADER
from tests import reflector
from tests.api.support import TRANSCRIPTIONS, error_of, silence, wav
from tests.engines.tiny import PARAKEET, WHISPER, Clip, clips
from tests.live import KEY, LiveServer


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def transcribe(client: httpx.Client, clip: Clip, **fields: str) -> httpx.Response:
    with clip.path.open("rb") as file:
        return client.post("/v1/audio/transcriptions", files={"file": file}, data=fields)


@pytest.mark.parametrize("model", ["parakeet", "whisper", "auto", "whisper-1"])
def test_each_model_hears_the_words(client: httpx.Client, model: str) -> None:
    clip = clips("en")[0]
    answer = transcribe(client, clip, model=model, language="en")
    assert answer.json()["text"] == clip.text


def test_auto_sends_each_language_to_a_model_that_knows_it(client: httpx.Client) -> None:
    clip = clips("es")[0]
    assert transcribe(client, clip, language="es").json()["text"] == clip.text


def test_auto_sends_an_unknown_language_to_a_model_that_detects_it(client: httpx.Client) -> None:
    clip = clips("es")[0]
    answer = transcribe(client, clip, response_format="verbose_json")
    assert answer.headers[MODEL_HEADER] == "whisper"
    found = answer.json()
    assert (found["text"], found["language"]) == (clip.text, "spanish")


def test_without_a_model_that_detects_languages_the_server_says_which_one_answers() -> None:
    with (
        LiveServer(
            model="auto",
            auto_models="parakeet,large-v3",
            model_paths={"parakeet": str(PARAKEET)},
            workers=1,
            apikey=KEY,
        ) as server,
        server.client() as client,
    ):
        ready = client.get("/health/ready").json()
        assert ready["model"] == "parakeet"
        assert "parakeet takes it to be 'en'" in ready["caveat"]
        answer = transcribe(client, clips("en")[0])
        assert (answer.status_code, answer.headers[MODEL_HEADER]) == (200, "parakeet")
        answer = transcribe(client, clips("es")[0], language="es")
        assert "models pull large-v3" in error_of(answer, 503)["message"]


def test_translation_goes_to_the_model_that_translates(client: httpx.Client) -> None:
    clip = clips("es")[0]
    assert clip.text == "hola equipo"
    with clip.path.open("rb") as file:
        answer = client.post("/v1/audio/translations", files={"file": file})
    assert answer.json()["text"] == "hello team"


def test_every_language_of_reflector_is_taken_or_refused(client: httpx.Client) -> None:
    file = {"file": wav(silence(0.2))}
    refused = set()
    for code in reflector.LANGUAGES:
        answer = client.post(
            TRANSCRIPTIONS, files=file, data={"language": code, "model": "whisper"}
        )
        if answer.status_code != 200:
            assert error_of(answer, 400)["code"] == "unsupported_language"
            refused.add(code)
    assert refused == reflector.UNHEARD | {"yue"}  # which came with large-v3


@pytest.mark.parametrize(
    ("code", "language"),
    [("es-MX", "spanish"), ("cmn", "chinese"), ("jv", "javanese"), ("NB", "norwegian")],
)
def test_the_model_is_told_its_own_code(client: httpx.Client, code: str, language: str) -> None:
    fields = {"language": code, "model": "whisper", "response_format": "verbose_json"}
    assert transcribe(client, clips("es")[0], **fields).json()["language"] == language


def test_an_english_model_refuses_french(client: httpx.Client) -> None:
    answer = transcribe(client, clips("en")[0], model="parakeet", language="fr")
    assert answer.status_code == 400
    assert "only supports English" in answer.json()["error"]["message"]


def test_verbose_json_has_whispers_scores(client: httpx.Client) -> None:
    answer = transcribe(
        client, clips("en")[0], model="whisper", language="en", response_format="verbose_json"
    )
    segment = answer.json()["segments"][0]
    assert segment["avg_logprob"] < 0
    assert segment["tokens"]
    assert segment["compression_ratio"] != 1.0


@pytest.mark.parametrize("model", ["parakeet", "whisper"])
def test_concurrent_requests_each_get_their_own_words(server: LiveServer, model: str) -> None:
    chosen = clips("en")[:8]
    with server.client() as client, ThreadPoolExecutor(len(chosen)) as threads:
        answers = threads.map(lambda c: transcribe(client, c, model=model, language="en"), chosen)
        assert [answer.json()["text"] for answer in answers] == [clip.text for clip in chosen]


def test_models_tell_what_is_loaded(client: httpx.Client) -> None:
    listed = client.get("/v1/models", params={"all": "true"}).json()["data"]
    cards = {card["id"]: card for card in listed}
    assert {cards[name]["state"] for name in ("parakeet", "whisper")} == {"ready"}
    recognisers = [card for card in listed if card["type"] == "recogniser"]
    assert [card["id"] for card in recognisers if card["default"]] == ["whisper"]
    assert cards["large-v2"]["state"] == "not installed"
    assert (cards["auto"]["state"], cards["auto"]["means"]) == ("ready", "whisper")
    assert set(cards["auto"]["languages"]) >= {"en", "es", "zh"}
    ready = client.get("/health/ready").json()
    assert ready == {"status": "ready", "model": "whisper", "caveat": None}


def test_a_known_model_without_weights_names_the_command(client: httpx.Client) -> None:
    answer = transcribe(client, clips("en")[0], model="large-v2")
    assert answer.status_code == 503
    assert "reflector-gpu models pull large-v2" in answer.json()["error"]["message"]
    assert answer.headers["Retry-After"]
    assert answer.headers["x-should-retry"] == "false", "OpenAI's clients would ask twice more"


def test_the_model_can_be_another_for_every_request(client: httpx.Client) -> None:
    clip = next(clip for clip in clips("en") if "rms" in clip.path.name)
    for model in ("sphinx", "parakeet", "whisper", "sphinx"):
        assert transcribe(client, clip, model=model).json()["text"] == clip.text
        assert client.get(f"/v1/models/{model}").json()["state"] == "ready"


def test_whispers_compute_type_is_a_setting() -> None:
    clip = clips("en")[0]
    paths = {"whisper": str(WHISPER)}
    with (
        LiveServer(
            model="whisper", model_paths=paths, compute_type="float32", apikey=KEY
        ) as server,
        server.client() as client,
    ):
        assert transcribe(client, clip).json()["text"] == clip.text


def test_a_compute_type_that_this_machine_lacks_is_named() -> None:
    paths = {"whisper": str(WHISPER)}
    with (
        LiveServer(
            wait=False, model="whisper", model_paths=paths, compute_type="int3", apikey=KEY
        ) as server,
        server.client() as client,
    ):
        answer = transcribe(client, clips("en")[0])
    assert answer.status_code == 503
    assert "int3" in answer.json()["error"]["message"]
    assert "float32" in answer.json()["error"]["message"]
