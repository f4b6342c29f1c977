"""A server that downloads what it needs, and what it says meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import httpx
import pytest

from reflector_gpu.engines.recognition import catalog
from tests.api.engines import ABSENT
from tests.api.support import error_of, eventually, retry_after
from tests.engines.hub import Hub
from tests.engines.tiny import PARAKEET, clips
from tests.live import KEY, LiveServer

pytestmark = pytest.mark.slow

START = Callable[..., LiveServer]
WEIGHTS = catalog.MODELS["tiny"].weights


@pytest.fixture
def start(hub: Hub) -> Iterator[START]:
    with ExitStack() as servers:

        def start(**settings: object) -> LiveServer:
            given = {"apikey": KEY, "auto_pull": True, **settings}
            return servers.enter_context(LiveServer(wait=False, **given))

        yield start


def ask(client: httpx.Client, **fields: str) -> httpx.Response:
    with clips("en")[0].path.open("rb") as file:
        return client.post("/v1/audio/transcriptions", files={"file": file}, data=fields)


def state(client: httpx.Client, model: str = "tiny") -> str:
    return str(client.get(f"/v1/models/{model}").json()["state"])


def test_a_configured_model_is_downloaded_at_the_start(hub: Hub, start: START) -> None:
    hub.stops_after = 1000
    with start(model="tiny").client() as client:
        eventually(lambda: hub.downloads)
        for answer in (client.get("/health/ready"), ask(client)):
            error = error_of(answer, 503)
            assert error["code"] == "engine_loading"
            assert "'tiny' is being downloaded: " in error["message"]
            assert " of 78 MB" in error["message"]
            assert 5 <= retry_after(answer) <= 300
        assert state(client) == "downloading"
        assert client.get("/health/live").status_code == 200

        hub.go_on()
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert state(client) == "ready"
        assert ask(client, language="en").json()["text"] == clips("en")[0].text


def test_a_model_that_a_request_names_is_downloaded_for_it(hub: Hub, start: START) -> None:
    with start(model="scripted").client() as client:
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert hub.looked_up == []
        assert state(client) == "not installed"
        assert error_of(ask(client, model="tiny"), 503)["code"] == "engine_loading"
        eventually(lambda: state(client) == "ready")
        assert ask(client, model="tiny", language="en").json()["text"] == clips("en")[0].text


def test_nothing_is_downloaded_unless_that_is_allowed(hub: Hub, start: START) -> None:
    with start(model="tiny", auto_pull=False).client() as client:
        for answer in (client.get("/health/ready"), ask(client)):
            error = error_of(answer, 503)
            assert error["code"] == "model_not_installed"
            assert "reflector-gpu models pull tiny" in error["message"]
        assert state(client) == "not installed"
    assert hub.looked_up == []


def test_nothing_is_downloaded_for_a_request_that_cannot_work(hub: Hub, start: START) -> None:
    with start(model="scripted").client() as client:
        answer = ask(client, model="tiny.en", language="fr")
        assert error_of(answer, 400)["code"] == "unsupported_language"
        assert state(client, "tiny.en") == "not installed"


def test_no_package_is_ever_installed(
    hub: Hub, start: START, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.MODELS, ABSENT.name, replace(ABSENT, weights=WEIGHTS))
    with start(model=ABSENT.name).client() as client:
        for answer in (client.get("/health/ready"), ask(client)):
            error = error_of(answer, 503)
            assert error["code"] == "model_not_installed"
            assert "pip install no_such_package" in error["message"]
    assert hub.looked_up == []


def test_auto_works_with_what_is_here_meanwhile(hub: Hub, start: START) -> None:
    hub.stops_after = 1000
    server = start(
        model="auto", auto_models="parakeet,tiny", model_paths={"parakeet": str(PARAKEET)}
    )
    with server.client() as client:
        eventually(lambda: state(client, "parakeet") == "ready")
        assert ask(client, language="en").json()["text"] == clips("en")[0].text
        assert error_of(client.get("/health/ready"), 503)["code"] == "engine_loading"
        hub.go_on()
        eventually(lambda: client.get("/health/ready").status_code == 200)


def test_auto_leaves_out_what_cannot_be_downloaded(
    hub: Hub, start: START, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.MODELS, ABSENT.name, replace(ABSENT, weights=WEIGHTS))
    with start(model="auto", auto_models=f"{ABSENT.name},tiny").client() as client:
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert ask(client, language="en").json()["text"] == clips("en")[0].text


def test_the_error_names_the_model_that_a_download_would_bring(
    hub: Hub, start: START, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.MODELS, ABSENT.name, replace(ABSENT, weights=WEIGHTS))
    settings = {"model": "auto", "auto_models": f"{ABSENT.name},tiny", "auto_pull": False}
    with start(**settings).client() as client:
        for answer in (client.get("/health/ready"), ask(client, language="en")):
            assert "reflector-gpu models pull tiny" in error_of(answer, 503)["message"]


def test_a_download_that_fails_says_why_and_what_to_do(hub: Hub, start: START) -> None:
    hub.refuses = 403
    with start(model="tiny").client() as client:
        eventually(lambda: state(client) == "not installed")
        for answer in (client.get("/health/ready"), ask(client)):
            error = error_of(answer, 503)
            assert error["code"] == "model_not_installed"
            assert "answers 403" in error["message"]
            assert "reflector-gpu models pull tiny" in error["message"]
            assert 1 <= retry_after(answer) <= 60
