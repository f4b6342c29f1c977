"""Health, models, metrics and the documentation."""

from __future__ import annotations

import asyncio
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastapi.openapi.models import OpenAPI

from reflector_gpu import __version__
from reflector_gpu.api import openapi, route_fields
from reflector_gpu.api.accepted_fields import AcceptedFields
from reflector_gpu.api.app import create_app
from reflector_gpu.api.errors import ErrorBody
from reflector_gpu.formats.schemas import (
    ReflectorFile,
    ReflectorTranscript,
    TranscribeTranscript,
    Translation,
)
from reflector_gpu.runtime.pool import PoolState
from reflector_gpu.settings import load_settings
from tests.api.support import (
    FROM_URL,
    TRANSCRIBE,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    error_of,
    send_target,
)
from tests.live import KEY, LiveServer

START = Callable[..., LiveServer]


def test_what_a_server_began_ends_if_its_start_fails(tmp_path: Path) -> None:
    app = create_app(load_settings(model="scripted", data_dir=tmp_path))
    (tmp_path / "lock").mkdir()  # where jobs want a file

    async def start() -> None:
        async with app.router.lifespan_context(app):
            raise AssertionError("it has started")

    with pytest.raises(OSError, match="lock"):
        asyncio.run(start())
    assert [pool.state for pool in app.state.service.workers.pools] == [PoolState.CLOSED]


# Health


def test_live_and_ready(scripted: LiveServer) -> None:
    with scripted.client(key=None) as client:
        live, ready = client.get("/health/live"), client.get("/health/ready")
    assert (live.status_code, live.json()) == (200, {"status": "ok"})
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "model": "scripted", "caveat": None}


def test_a_server_whose_model_is_not_installed_lives_but_is_not_ready(bare: START) -> None:
    with bare().client(key=None) as client:
        assert client.get("/health/live").status_code == 200
        response = client.get("/health/ready")
    assert error_of(response, 503)["code"] == "model_not_installed"
    assert response.headers["Retry-After"]


@pytest.mark.parametrize("settings", [{"apikey": KEY}, {"trusted_networks": "192.0.2.0/24"}])
def test_why_it_is_not_ready_is_for_those_with_a_key(bare: START, settings: dict[str, str]) -> None:
    server = bare(host="0.0.0.0", **settings)
    for key in (None, "wrong", KEY):
        with server.client(key=key) as client:
            error = error_of(client.get("/health/ready"), 503)
        assert error["code"] == "model_not_installed"
        told = key is not None and key == settings.get("apikey")
        assert ("no_such_package" in error["message"]) == told


# Documentation


@pytest.fixture(scope="module")
def schema(scripted: LiveServer) -> dict[str, Any]:
    with scripted.client(key=None) as client:
        found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_docs_page_needs_nothing_from_elsewhere(scripted: LiveServer) -> None:
    with scripted.client(key=None) as client:
        page = client.get("/docs")
        assert page.headers["Content-Type"].startswith("text/html")
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        assert "://" not in page.text
        assert "<script>" not in page.text
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(addresses) == 4
        for address in addresses:
            assert not address.startswith("/")
            for method in ("GET", "HEAD"):
                asset = client.request(method, f"/{address}")
                assert asset.status_code == 200
                assert "public" in asset.headers["Cache-Control"]
                assert "immutable" in asset.headers["Cache-Control"]
        script = next(address for address in addresses if address.endswith("start.js"))
        assert 'url: "openapi.json"' in client.get(f"/{script}").text
        assert client.get("/docs/oauth2-redirect").status_code == 401


@pytest.mark.parametrize(
    "path", ["/docs/", "/docs/../metrics", "/docs/5/start.js", "/docs/%2e%2e/metrics", "/docs//x"]
)
def test_nothing_else_is_open_below_docs(scripted: LiveServer, path: str) -> None:
    answer = send_target(scripted, path)
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_private_docs_are_private_with_all_their_files(
    scripted: LiveServer, small: LiveServer
) -> None:
    with scripted.client(key=None) as client:
        addresses = re.findall(r'(?:src|href)="([^"]+)"', client.get("/docs").text)
    with small.client(key=None) as stranger, small.client() as friend:
        for address in ("docs", *addresses):
            assert stranger.get(f"/{address}").status_code == 401
            answer = friend.get(f"/{address}")
            assert answer.status_code == 200
            assert "public" not in answer.headers.get("Cache-Control", "")


# The first thing that somebody types


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_browsers_get_the_console_and_all_its_files_without_a_key(small: LiveServer) -> None:
    with small.client(key=None) as client:
        page = client.get("/", headers=BROWSER)
        assert page.status_code == 200
        assert page.headers["Cache-Control"] == "no-store"
        linked = re.findall(r'(?:src|href)="(console/[^"]+)"', page.text)
        assert any(address.endswith("/app.js") for address in linked)
        for address in linked:
            file = client.get(f"/{address}")
            assert file.status_code == 200
            assert "immutable" in file.headers["Cache-Control"]
    with small.client() as client:
        for address in ("console/app.js", "docs/5/start.js"):
            assert f"no /{address} here" in error_of(client.get(f"/{address}"), 404)["message"]
        routes = set(re.findall(r'route="(/(?:console|docs)/[^"]*)"', client.get("/metrics").text))
    assert routes <= {"/console/{name:path}", "/docs/{path:path}"}, "no label for each file"
    assert "/console/{name:path}" in routes


def test_the_console_runs_no_inline_script_and_no_other_style(scripted: LiveServer) -> None:
    with scripted.client(key=None) as client:
        pages = [client.get("/", headers=BROWSER) for _ in range(2)]
    policies = [page.headers["Content-Security-Policy"] for page in pages]
    assert policies[0] != policies[1]  # a nonce is for one page
    for page, policy in zip(pages, policies, strict=True):
        assert "unsafe" not in policy
        assert "script-src 'self';" in policy
        [nonce] = re.findall(r"'nonce-([^']+)'", policy)
        assert f'nonce="{nonce}"' in page.text
        assert not re.search(r"<style|<script(?! type=\"module\" src=)|\son\w+=|style=", page.text)


def test_without_the_console_browsers_are_led_to_the_documentation() -> None:
    with (
        LiveServer(model="scripted", console=False, wait=False) as server,
        server.client(key=None) as client,
    ):
        browser = client.get("/", headers=BROWSER)
        assert (browser.status_code, browser.headers["Location"]) == (307, "docs")
        assert client.get("/", headers={"Accept": "text/html"}, follow_redirects=True).text


def test_the_root_leads_somewhere(scripted: LiveServer) -> None:
    with scripted.client(key=None) as client:
        browser = client.get("/", headers=BROWSER)
        other = client.get("/")
        assert other.json() == {
            "name": "reflector-gpu",
            "version": __version__,
            "docs": "/docs",
            "health": "/health",
            "models": "/v1/models",
        }
        assert client.head("/").status_code == 200
    assert browser.headers["Vary"] == other.headers["Vary"] == "Accept"


def test_the_root_tells_no_version_where_docs_are_private(small: LiveServer) -> None:
    for key in (None, KEY):
        with small.client(key) as client:
            answer = client.get("/")
        assert answer.status_code == 200
        assert answer.json() == {
            "name": "reflector-gpu",
            "health": "/health",
            "models": "/v1/models",
        }


def test_openapi_is_valid(schema: dict[str, Any]) -> None:
    OpenAPI.model_validate(schema)
    assert schema["info"]["version"] == __version__
    [scheme] = schema["components"]["securitySchemes"].values()  # /docs asks for one key, once
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert schema["security"] == [{"key": []}]
    for reference in _references(schema):
        where: Any = schema
        for step in reference.removeprefix("#/").split("/"):
            where = where[step]
    operations = [method for path in schema["paths"].values() for method in path.values()]
    summaries = {operation["summary"] for operation in operations}
    assert "Transcribe one uploaded file, or several" in summaries
    assert not [text for text in summaries if text.istitle()]  # as names of functions become
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)


def _references(node: Any) -> Iterator[str]:
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict | list):
            yield from _references(value)
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"]


@pytest.mark.parametrize(
    ("path", "accepted", "model"),
    [
        (TRANSCRIPTIONS, route_fields.TRANSCRIPTIONS, ReflectorFile),
        (FROM_URL, route_fields.FROM_URL, ReflectorTranscript),
        (TRANSLATIONS, route_fields.TRANSLATIONS, Translation),
        (TRANSCRIBE, route_fields.TRANSCRIBE, TranscribeTranscript),
    ],
)
def test_routes_have_examples_fields_and_errors(
    schema: dict[str, Any], path: str, accepted: AcceptedFields[Any], model: type[Any]
) -> None:
    operation = schema["paths"][path]["post"]
    assert operation["summary"]
    assert operation["description"]
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert model.model_validate(example).model_dump(exclude_unset=True).keys() == example.keys()

    content = operation["requestBody"]["content"]
    kind = "application/json" if path == FROM_URL else "multipart/form-data"
    assert content.keys() == ({kind} if path == FROM_URL else {kind, "application/json", "audio/*"})
    form = content[kind]
    fields = form["schema"]["properties"]
    files = {"file", "files"} & fields.keys()
    assert fields.keys() - files == accepted.model.model_fields.keys() - accepted.unused
    assert all(fields[name].get("description") for name in fields.keys() - files)

    statuses = {"400", "401", "404", "413", "429", "503"}
    if path == FROM_URL:
        statuses |= {"403", "502", "504"}
        assert fields["audio_file_url"]["examples"]
        assert form["schema"]["required"] == ["audio_file_url"]
    else:
        assert files
    assert operation["responses"].keys() - {"200", "422"} == statuses
    for status in statuses:
        answer = operation["responses"][status]
        assert answer["description"]
        shape = answer["content"]["application/json"]["schema"]["properties"]
        assert shape.keys() == ErrorBody.model_fields.keys()


def test_422_is_never_promised(schema: dict[str, Any]) -> None:
    """FastAPI would; here what does not fit is a 400."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert "422" not in operation["responses"], (method, path)


def test_the_openapi_document_is_the_same_at_every_start() -> None:
    again = runpy.run_path(str(openapi.__file__))["chat"]
    assert again.items() == openapi.chat.items()


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health", "/metrics", "/a"])
def test_browsers_are_told_to_be_careful(scripted: LiveServer, path: str) -> None:
    with scripted.client(key=None) as client:
        headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    [policy] = headers.get_list("Content-Security-Policy")
    assert "frame-ancestors 'none'" in policy
    assert ("default-src 'none'" in policy) == (path != "/docs")


def test_every_route_says_how_it_can_fail(schema: dict[str, Any]) -> None:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert {"default", "401"} & operation["responses"].keys(), f"{method} {path}"


@pytest.mark.parametrize("response_format", ["", "json", "text", "verbose_json", "diarized_json"])
def test_answers_for_several_files_are_those_of_the_document(
    scripted: LiveServer, schema: dict[str, Any], clip: bytes, response_format: str
) -> None:
    form = {"response_format": response_format} if response_format else {}
    with scripted.client() as client:
        answer = client.post(
            TRANSCRIPTIONS, data=form, files=[("files", clip), ("files", b"no audio")]
        )
    told = schema["paths"][TRANSCRIPTIONS]["post"]["responses"]["200"]["content"]
    jsonschema.validate(answer.json(), told["application/json"]["schema"])
    assert [result["filename"] for result in answer.json()["results"]] == ["upload", "upload"]
