"""Temporary refusals: 429 from a full server, 503 where the engine cannot work."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reflector_gpu.engines.recognition import catalog
from tests.api.engines import ABSENT, model
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    FROM_URL,
    NOBODY,
    TRANSCRIPTIONS,
    UPLOAD_ROUTES,
    ask_url,
    error_of,
    eventually,
    retry_after,
    running,
    send_raw,
    upload,
)
from tests.live import KEY, LiveServer

START = Callable[..., LiveServer]

# 429


@pytest.mark.usefixtures("patient")
def test_429_queue_full(small: LiveServer, clip: bytes) -> None:
    with small.client() as client:
        held = client.build_request("POST", TRANSCRIPTIONS, files={"file": clip})
    with send_raw(small, held, share=0.5):
        eventually(lambda: running(small, "live") == 1)
        response = upload(small, clip)
        error = error_of(response, 429)
        assert (error["type"], error["code"]) == ("rate_limit_error", "overloaded")
        assert retry_after(response) >= 1
        assert "x-should-retry" not in response.headers
        with send_raw(small, held, share=0) as unread:
            assert unread.recv(1000).startswith(b"HTTP/1.1 429 ")
        assert ask_url(small, "x").status_code == 400, "files by URL have places of their own"
    assert eventually(lambda: upload(small, clip).status_code == 200)


@pytest.mark.usefixtures("patient")
def test_429_queue_full_for_urls(small: LiveServer, clip: bytes, host: AudioHost) -> None:
    url = host.put("/fine.wav", Answer(clip))
    with small.client() as client:
        held = client.build_request("POST", FROM_URL, json={"audio_file_url": url})
    with send_raw(small, held, share=0.5):
        eventually(lambda: running(small, "file") == 1)
        response = ask_url(small, url)
        assert error_of(response, 429)["code"] == "overloaded"
        assert retry_after(response) >= 1
        assert upload(small, clip).status_code == 200, "uploads have places of their own"
    assert eventually(lambda: ask_url(small, url).status_code == 200)


# 503


def test_503_not_installed(
    scripted: LiveServer, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.MODELS, ABSENT.name, ABSENT)
    for response in (
        *(upload(scripted, clip, route=route, data={"model": "absent"}) for route in UPLOAD_ROUTES),
        ask_url(scripted, NOBODY, model="absent"),
    ):
        error = error_of(response, 503)
        assert (error["type"], error["code"]) == ("server_error", "model_not_installed")
        assert "pip install no_such_package" in error["message"]
        assert retry_after(response) >= 1


def test_503_still_loading(
    bare: START, clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setitem(catalog.MODELS, "slow", model("Slow", str(pipe)))
    server = bare(model="slow", apikey=KEY, load_seconds=0)
    try:
        with server.client() as client:
            asked = [client.get("/health/ready"), upload(server, clip), ask_url(server, NOBODY)]
            assert client.get("/health/live").status_code == 200
            assert client.get("/v1/models/slow").json()["state"] == "loading"
        for response in asked:
            assert error_of(response, 503)["code"] == "engine_loading"
            assert retry_after(response) >= 1
    finally:
        pipe.write_bytes(b"go on")
    with server.client() as client:
        eventually(lambda: client.get("/health/ready").status_code == 200)
    assert upload(server, clip).status_code == 200


def test_a_request_waits_for_a_model_that_nobody_has_asked_for_yet(
    scripted: LiveServer, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.MODELS, "lazy", replace(catalog.MODELS["scripted"], name="lazy"))
    with scripted.client() as client:
        assert client.get("/v1/models/lazy").json()["state"] == "not loaded"
        assert upload(scripted, clip, data={"model": "lazy"}).status_code == 200
        assert client.get("/v1/models/lazy").json()["state"] == "ready"


@pytest.mark.slow
def test_no_request_fails_because_a_model_was_unloaded_for_want_of_work(
    bare: START, clip: bytes
) -> None:
    server = bare(model="scripted", apikey=KEY, idle_seconds=0.05, keep_default=False)
    with server.client() as client:
        for _ in range(3):
            eventually(lambda: client.get("/v1/models/scripted").json()["state"] == "idle")
            assert client.get("/health/ready").status_code == 200
            answers = [upload(server, clip) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200] * 3


@pytest.mark.slow
def test_the_configured_model_stays_and_others_go(bare: START, clip: bytes) -> None:
    server = bare(model="scripted", apikey=KEY, idle_seconds=0.05)
    assert upload(server, clip, data={"model": "sphinx"}).status_code == 200
    with server.client() as client:
        eventually(lambda: client.get("/v1/models/sphinx").json()["state"] == "idle")
        assert client.get("/v1/models/scripted").json()["state"] == "ready"


def test_503_engine_that_does_not_load(
    bare: START, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.MODELS, "broken", model("Broken"))
    server = bare(model="broken", apikey=KEY)
    with server.client() as client:
        eventually(lambda: client.get("/v1/models/broken").json()["state"] == "failed")
        asked = [client.get("/health/ready"), upload(server, clip), ask_url(server, NOBODY)]
    for response in asked:
        error = error_of(response, 503)
        assert error["code"] == "engine_failed"
        assert "the weights are corrupt" in error["message"]
        assert retry_after(response) >= 1


def test_503_engine_that_dies_beyond_its_retry(
    bare: START, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.MODELS, "deadly", model("Deadly"))
    server = bare(model="deadly", apikey=KEY)
    eventually(lambda: server.service.workers.pool(catalog.MODELS["deadly"]).workers_ready)
    response = upload(server, clip)
    assert error_of(response, 503)["code"] == "engine_failed"
    assert retry_after(response) >= 1
