"""Names in queries that a route does not know."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi.routing import APIRoute

from reflector_gpu.api.accepted_fields import IGNORED_HEADER
from reflector_gpu.api.app import ROUTERS
from reflector_gpu.api.checked_query import CheckedQuery
from reflector_gpu.api.routes import console, docs, operations, realtime
from tests.api.support import error_of
from tests.live import KEY, LiveServer

READING = ["/v1/jobs", "/v1/batches", "/v1/files", "/v1/usage", "/v1/models"]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("data")
    with (
        LiveServer(model="scripted", apikey=KEY, workers=1, data_dir=folder, wait=False) as server,
        server.client() as http,
    ):
        yield http


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("strict")
    with (
        LiveServer(
            model="scripted", apikey=KEY, workers=1, data_dir=folder, strict=True, wait=False
        ) as server,
        server.client() as http,
    ):
        yield http


@pytest.mark.parametrize("path", READING)
def test_an_unknown_name_is_reported(http: httpx.Client, path: str) -> None:
    answer = http.get(path, params={"nope": "1"})
    assert (answer.status_code, answer.headers[IGNORED_HEADER]) == (200, "nope")
    assert IGNORED_HEADER not in http.get(path).headers


@pytest.mark.parametrize("path", READING)
def test_a_strict_server_refuses_an_unknown_name(strict: httpx.Client, path: str) -> None:
    assert strict.get(path).status_code == 200
    error = error_of(strict.get(path, params={"nope": "1"}), 400)
    assert (error["param"], "nope" in error["message"]) == ("nope", True)
    error_of(strict.delete("/v1/jobs/job_x", params={"nope": "1"}), 400)


@pytest.mark.parametrize(
    ("path", "name", "meant"),
    [
        ("/v1/jobs", "limt", "limit"),
        ("/v1/jobs", "status[]", "status"),
        ("/v1/jobs/job_x", "word", "words"),
        ("/v1/jobs/job_x/result", "formt", "format"),
        ("/v1/batches", "aftr", "after"),
        ("/v1/usage", "everbody", "everybody"),
    ],
)
def test_a_misspelled_name_is_refused(http: httpx.Client, path: str, name: str, meant: str) -> None:
    assert f"'{meant}'" in error_of(http.get(path, params={name: "1"}), 400)["message"]


def test_a_body_of_json_does_not_excuse_the_query(http: httpx.Client) -> None:
    body = {"audio_file_url": "http://127.0.0.1:1/a.wav"}
    route = "/v1/audio/transcriptions-from-url"
    error = error_of(http.post(route, json=body, params={"language": "en"}), 400)
    assert (error["param"], "JSON" in error["message"]) == ("language", True)
    answer = http.post(route, json={**body, "user": "me"}, params={"api-version": "2026-01-01"})
    assert answer.headers[IGNORED_HEADER] == "api-version,user"
    answer = http.post("/v1/realtime/client_secrets", params={"nope": "1"})
    assert (answer.status_code, answer.headers[IGNORED_HEADER]) == (200, "nope")


@pytest.mark.parametrize("name", ["q", "source", "target", "language"])
def test_names_of_other_translators_are_told_ours(http: httpx.Client, name: str) -> None:
    """Without them, the answer would be French, or lack the text."""
    error = error_of(http.post("/translate", params={"text": "Hello", name: "es"}), 400)
    assert (error["param"], "is not a field of this route" in error["message"]) == (name, True)


def test_a_file_for_batches_may_have_unknown_fields(
    http: httpx.Client, strict: httpx.Client
) -> None:
    files = {"file": ("a.jsonl", b"{}")}
    answer = http.post("/v1/files", files=files, data={"purpose": "batch", "foo": "1"})
    assert (answer.status_code, answer.headers[IGNORED_HEADER]) == (200, "foo")
    assert http.delete(f"/v1/files/{answer.json()['id']}").status_code == 200
    error_of(strict.post("/v1/files", files=files, data={"purpose": "batch", "foo": "1"}), 400)


def test_monitoring_may_ask_with_names_of_its_own(strict: httpx.Client) -> None:
    for path in ("/health/live", "/metrics", "/docs"):
        assert strict.get(path, params={"nope": "1"}).status_code == 200, path


def test_no_route_without_a_body_forgets_to_check() -> None:
    """Pages, health checks and metrics may be asked for with any query."""
    free = [console.router, docs.router, operations.router, realtime.router]
    for router in ROUTERS:
        for route in router.routes:
            if (
                isinstance(route, APIRoute)
                and router not in free
                and "GET" in (route.methods or ())
            ):
                assert isinstance(route, CheckedQuery), route.path


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches"])
@pytest.mark.parametrize("after", ["job_nope", "nope", "job_\0"])
def test_a_page_begins_after_an_id(http: httpx.Client, path: str, after: str) -> None:
    error = error_of(http.get(path, params={"after": after}), 400)
    assert (error["param"], "last_id" in error["message"]) == ("after", True)
    erased = f"job_{'0' * 32}"
    assert http.get(path, params={"after": erased}).status_code == 200
