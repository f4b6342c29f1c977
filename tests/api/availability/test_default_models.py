"""The model of a request that names none: the best of those that are installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from reflector_gpu.api.request_record import MODEL_HEADER
from reflector_gpu.engines.recognition.catalog import MODELS
from tests.api.support import TRANSLATIONS, error_of, eventually
from tests.engines.tiny import WHISPER, clips
from tests.live import KEY, LiveServer

CLIP = clips("en")[0]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server on a machine that has downloaded nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        with started() as client:
            yield client


@contextmanager
def started() -> Iterator[httpx.Client]:
    """A client of a server that is ready, and has no settings."""
    with LiveServer(apikey=KEY) as server, server.client() as client:
        eventually(lambda: client.get("/health/ready").status_code == 200)
        yield client


def download(cache: Path, name: str) -> None:
    """Have ``name`` in the cache: the Whisper that was trained for these tests."""
    weights = MODELS[name].weights
    assert weights is not None
    folder = cache / f"models--{weights.repository.replace('/', '--')}" / "snapshots" / "abc"
    shutil.copytree(WHISPER, folder)
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text("abc")


def ask(
    client: httpx.Client, route: str = "/v1/audio/transcriptions", **fields: str
) -> httpx.Response:
    with CLIP.path.open("rb") as file:
        return client.post(route, files={"file": file}, data=fields)


def state(client: httpx.Client, model: str) -> str:
    return str(client.get(f"/v1/models/{model}").json()["state"])


def default_recognisers(client: httpx.Client) -> list[str]:
    """The recognisers that are listed as the default."""
    cards = client.get("/v1/models").json()["data"]
    return [card["id"] for card in cards if card["type"] == "recogniser" and card["default"]]


@pytest.mark.parametrize("name", ["", "whisper-1", "gpt-4o-transcribe", "auto"])
def test_with_nothing_downloaded_pocketsphinx_answers(client: httpx.Client, name: str) -> None:
    answer = ask(client, model=name)
    assert answer.headers[MODEL_HEADER] == "sphinx"
    assert answer.json()["text"]


def test_readiness_says_that_everything_is_taken_for_english(client: httpx.Client) -> None:
    ready = client.get("/health/ready").json()
    assert ready["model"] == "sphinx"
    assert "sphinx takes it to be 'en'" in ready["caveat"]


def test_other_languages_get_the_command_that_brings_them(client: httpx.Client) -> None:
    error = error_of(ask(client, language="fr"), 503)
    assert error["code"] == "model_not_installed"
    assert "models pull base" in error["message"]


def test_english_needs_no_translation_into_english(client: httpx.Client) -> None:
    assert ask(client, TRANSLATIONS).headers[MODEL_HEADER] == "sphinx"


def test_a_downloaded_whisper_answers_and_nothing_else_is_loaded(cache: Path) -> None:
    for name in ("base", "tiny.en"):
        download(cache, name)
    with started() as client:
        assert client.get("/health/ready").json() == {
            "status": "ready",
            "model": "base",
            "caveat": None,
        }
        answer = ask(client)
        assert (answer.headers[MODEL_HEADER], answer.json()["text"]) == ("base", CLIP.text)
        assert default_recognisers(client) == ["base"]
        assert [state(client, name) for name in ("base", "tiny.en", "sphinx")] == [
            "ready",
            "not loaded",
            "not loaded",
        ]
        ask(client, model="tiny.en")
        assert state(client, "tiny.en") == "ready"
        assert default_recognisers(client) == ["base"]


def test_a_small_english_whisper_is_better_than_none(cache: Path) -> None:
    download(cache, "tiny.en")
    with started() as client:
        assert ask(client).headers[MODEL_HEADER] == "tiny.en"
        assert state(client, "sphinx") == "not loaded"


def test_weights_that_arrive_are_used_without_a_restart(cache: Path) -> None:
    with started() as client:
        assert ask(client).headers[MODEL_HEADER] == "sphinx"
        download(cache, "base")
        assert ask(client).headers[MODEL_HEADER] == "base"
