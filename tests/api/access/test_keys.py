"""Named keys: what they are good for, what they have used, and how they end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from reflector_gpu.store import keys as key_ring
from reflector_gpu.store import usage as days
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import (
    TRANSCRIPTIONS,
    Gate,
    bare_server,
    error_of,
    eventually,
    send_raw,
    wav,
)
from tests.cli.conftest import Typed, typed
from tests.jobs.test_killed import submit_batch
from tests.live import KEY, LiveServer

__all__ = ["typed"]  # a fixture

Keys = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[LiveServer]:
    """One that learns of a change at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_ring, "_REFRESH_SECONDS", 0.02)
        with LiveServer(model="scripted", apikey=KEY, data_dir=folder) as server:
            yield server


@contextmanager
def keys_in(folder: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    """Runs a command of `reflector-gpu keys`; what it prints. Keys are revoked in the end."""
    monkeypatch.setenv("REFLECTOR_DATA_DIR", str(folder))
    made: list[str] = []

    def run(command: str, *arguments: str) -> str:
        done = typed("keys", command, *arguments)
        assert done.status == 0, done
        if command == "create":
            made.append(arguments[0])
        elif command == "revoke":
            made.remove(arguments[0])
        return done.out.strip()

    yield run
    for name in made[:]:
        run("revoke", name)


@pytest.fixture
def keys(folder: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    """Keys of the server that these tests share."""
    with keys_in(folder, typed, monkeypatch) as run:
        yield run


@pytest.fixture
def own_keys(tmp_path: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    """Keys in a folder that no server uses yet."""
    with keys_in(tmp_path, typed, monkeypatch) as run:
        yield run


def send(http: httpx.Client, audio: bytes, route: str = TRANSCRIPTIONS) -> httpx.Response:
    return http.post(route, files={"file": ("a.wav", audio)})


def test_client_secrets_end_with_the_key_that_made_them(server: LiveServer, keys: Keys) -> None:
    with server.client(keys("create", "bob")) as http:
        eventually(lambda: http.get("/v1/usage").status_code == 200)
        made = http.post("/v1/realtime/client_secrets", json={}).json()["value"]
    with server.client(made) as http:
        assert http.get("/v1/realtime").status_code == 400  # no WebSocket, but let in
        keys("revoke", "bob")
        eventually(lambda: http.get("/v1/realtime").status_code == 401)


def test_a_batch_needs_the_scope_of_its_endpoint(server: LiveServer, keys: Keys) -> None:
    secret = keys("create", "batches", "--scopes", "jobs,transcribe")
    asked = {"input_file_id": "file-none", "completion_window": "24h"}
    with server.client(secret) as http:
        eventually(lambda: http.get("/v1/batches").status_code == 200)
        chat = http.post("/v1/batches", json=asked | {"endpoint": "/v1/chat/completions"})
        assert "does not have the scope 'llm'" in error_of(chat, 403)["message"]
        speech = http.post("/v1/batches", json=asked | {"endpoint": TRANSCRIPTIONS})
        assert error_of(speech, 400)["param"] == "input_file_id"


def test_a_key_is_made_and_revoked_while_the_server_runs(
    server: LiveServer, keys: Keys, clip: bytes, folder: Path
) -> None:
    secret = keys("create", "alice")
    with server.client(secret) as http:
        eventually(lambda: send(http, clip).status_code == 200)
        keys("revoke", "alice")
        eventually(lambda: send(http, clip).status_code == 401)
    with server.client() as http:
        assert send(http, clip).status_code == 200  # REFLECTOR_APIKEY keeps working
    listed = keys("list")
    assert "alice" in listed
    assert secret not in listed
    for path in folder.iterdir():
        if path.is_file():
            assert secret.encode() not in path.read_bytes()


def test_a_key_is_for_its_scopes_only(server: LiveServer, keys: Keys, clip: bytes) -> None:
    secret = keys("create", "bob", "--scopes", "diarize,jobs")
    with server.client(secret) as http:
        eventually(lambda: http.get("/v1/models").status_code == 200)
        assert send(http, clip, "/v1/audio/diarization").status_code == 200
        assert http.get("/v1/jobs").status_code == 200
        refused = error_of(send(http, clip), 403)
        assert refused["code"] == "insufficient_scope"
        assert "transcribe" in refused["message"]
        for path in ("/v1/audio/translations", "/transcribe", "/llm", "/v1/chat/completions"):
            error_of(http.post(path), 403)
        error_of(http.get("/metrics"), 403)
        error_of(http.get("/v1/usage", params={"everybody": True}), 403)


def test_each_key_has_its_own_jobs(server: LiveServer, keys: Keys, clip: bytes) -> None:
    alice, bob = keys("create", "alice"), keys("create", "bob")
    with server.client(alice) as one, server.client(bob) as other:
        eventually(lambda: other.get("/v1/jobs").status_code == 200)
        job = send(one, clip, "/v1/jobs").json()["id"]
        assert one.get(f"/v1/jobs/{job}").status_code == 200
        assert other.get(f"/v1/jobs/{job}").status_code == 404


def usage(http: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get("/v1/usage", params=query).json()["data"]
    return found


@pytest.mark.slow
def test_what_a_key_has_used_is_counted_and_limited(
    tmp_path: Path, own_keys: Keys, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = days.day_of(time.time())
    monkeypatch.setattr(days, "day_of", lambda _: today)  # midnight may be near
    secret = own_keys(
        "create", "alice", "--daily-audio-hours", "0.001", "--scopes", "transcribe,jobs"
    )
    where: dict[str, Any] = {"model": "scripted", "apikey": KEY, "data_dir": tmp_path}
    with LiveServer(**where) as server, server.client(secret) as http:
        assert send(http, clip).status_code == 200
        [used] = usage(http)
        assert used["requests"] == 1, "and not the look at what was used"
        assert 1 < used["audio_seconds"] < 3.6
        job = send(http, clip, "/v1/jobs").json()["id"]
        eventually(lambda: http.get(f"/v1/jobs/{job}").json()["status"] == "completed")
        twice = pytest.approx(2 * used["audio_seconds"], abs=0.02)
        eventually(lambda: usage(http)[0]["audio_seconds"] == twice)
        send(http, clip)
        full = send(http, clip)
        assert "Try again after midnight" in error_of(full, 429)["message"]
        assert 0 < int(full.headers["Retry-After"]) <= 24 * 3600
        assert http.get(f"/v1/jobs/{job}").status_code == 200
    with LiveServer(**where) as server:
        with server.client(secret) as http:
            error_of(send(http, clip), 429)
        with server.client() as http:
            assert send(http, clip).status_code == 200
            everybody = usage(http, everybody=True)
            assert len({day["key"] for day in everybody}) == 2
            [alice] = [day for day in everybody if day["name"] == "alice"]
            assert alice["key"] in own_keys("list")


def test_the_words_of_a_client_that_leaves_count(
    server: LiveServer, keys: Keys, speech: Samples, held: Gate
) -> None:
    held.free = 1
    with server.client(keys("create", "alice")) as http:
        eventually(lambda: http.get("/v1/models").status_code == 200)
        files, fields = {"file": wav(speech)}, {"stream": "true"}
        with http.stream("POST", TRANSCRIPTIONS, files=files, data=fields) as answer:
            assert any("transcript.text.delta" in line for line in answer.iter_lines())
        used = eventually(lambda: sum(day["audio_seconds"] for day in usage(http)))
        assert 0 < used < len(speech) / SAMPLE_RATE


@pytest.mark.parametrize("route", ["/diarize", "/v1/audio/diarization"])
def test_the_audio_of_a_client_that_leaves_a_diarizer_counts(
    server: LiveServer,
    keys: Keys,
    speech: Samples,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
) -> None:
    """The diarizer works on all of it at once, so there is no part that was not worked on."""
    begun = threading.Event()

    async def never(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(server.service.workers.pool(server.service.diarizer), "submit", never)
    with server.client(keys("create", "alice")) as http:
        eventually(lambda: http.get("/v1/models").status_code == 200)
        request = http.build_request("POST", route, files={"file": wav(speech)})
        with send_raw(server, request):
            eventually(begun.is_set)
        used = eventually(lambda: sum(day["audio_seconds"] for day in usage(http)))
        assert used == pytest.approx(len(speech) / SAMPLE_RATE, abs=0.1)


def stored(folder: Path, statement: str) -> Any:
    """The first value of a query, since nobody may ask for what a revoked key has left."""
    with closing(sqlite3.connect(folder / "reflector.db")) as database:
        found = database.execute(statement).fetchone()
    return found and found[0]


@pytest.mark.usefixtures("held")
def test_the_events_of_a_job_end_with_its_key(server: LiveServer, keys: Keys, clip: bytes) -> None:
    with server.client(keys("create", "alice")) as http:
        job = eventually(lambda: send(http, clip, "/v1/jobs").json().get("id"))
        with http.stream("GET", f"/v1/jobs/{job}/events") as events:
            lines = events.iter_lines()
            assert next(lines).startswith("event: job.")
            keys("revoke", "alice")
            assert any("The key was revoked" in line for line in lines)


def test_a_job_that_waits_is_not_begun_for_a_revoked_key(
    server: LiveServer, keys: Keys, clip: bytes, held: Gate, folder: Path
) -> None:
    with server.client(keys("create", "alice")) as http:
        eventually(lambda: send(http, clip, "/v1/jobs").status_code == 202)
        send(http, clip, "/v1/jobs")
        eventually(lambda: held.arrived == 2)  # no more at once
        last = send(http, clip, "/v1/jobs").json()["id"]
        keys("revoke", "alice")
        eventually(lambda: http.get("/v1/models").status_code == 401)
        held.open()
    where = f"WHERE id = '{last}'"
    eventually(lambda: stored(folder, f"SELECT status FROM jobs {where}") == "failed")
    assert "revoked" in stored(folder, f"SELECT error FROM jobs {where}")
    assert held.arrived == 2


def test_a_batch_stops_when_its_key_is_revoked(
    server: LiveServer, keys: Keys, clip: bytes, held: Gate, folder: Path
) -> None:
    with server.client(keys("create", "alice")) as http:
        eventually(lambda: http.get("/v1/models").status_code == 200)
        lines = submit_batch(http, clip, 4)
        eventually(lambda: held.arrived == 2)  # no more lines at once
        keys("revoke", "alice")
        eventually(lambda: http.get("/v1/models").status_code == 401)
    held.open()
    status = f"SELECT status FROM jobs WHERE id = '{lines}'"
    eventually(lambda: stored(folder, status) == "failed")
    assert held.arrived == 2


def test_jobs_beyond_the_share_of_a_key_wait_for_the_next_day(
    server: LiveServer, keys: Keys, clip: bytes, held: Gate, folder: Path
) -> None:
    """The clip has more than a second, of which the key has 0.36."""
    with server.client(keys("create", "alice", "--daily-audio-hours", "0.0001")) as http:
        eventually(lambda: send(http, clip, "/v1/jobs").status_code == 202)
        lines = submit_batch(http, clip, 4)
        eventually(lambda: held.arrived == 3)
        last = send(http, clip, "/v1/jobs").json()["id"]
        held.open()
        tomorrow = (time.time() // 86400 + 1) * 86400
        waiting = f"SELECT count(*) FROM jobs WHERE status = 'queued' AND due > {tomorrow - 60}"
        eventually(lambda: stored(folder, waiting) == 2)
        assert http.get(f"/v1/jobs/{last}").json()["status"] == "queued"
        counts = http.get(f"/v1/batches/{lines}").json()["request_counts"]
        assert (counts["total"], counts["failed"]) == (4, 0)
        assert counts["completed"] < 4


def test_the_audio_of_a_cancelled_job_counts(
    server: LiveServer, keys: Keys, pauses: bytes, held: Gate
) -> None:
    held.free = 1
    with server.client(keys("create", "alice")) as http:
        job = eventually(lambda: send(http, pauses, "/v1/jobs").json().get("id"))
        path = f"/v1/jobs/{job}"
        done = eventually(lambda: http.get(path).json()["progress"]["audio_seconds"])
        http.post(f"{path}/cancel").raise_for_status()
        eventually(lambda: usage(http)[0]["audio_seconds"] == pytest.approx(done, abs=0.02))


def test_lines_of_a_batch_count_as_requests(server: LiveServer, keys: Keys, clip: bytes) -> None:
    with server.client(keys("create", "alice")) as http:
        eventually(lambda: http.get("/v1/models").status_code == 200)
        sent: list[httpx.Request] = []
        http.event_hooks["request"].append(sent.append)
        path = f"/v1/batches/{submit_batch(http, clip, 3)}"
        eventually(lambda: http.get(path).json()["status"] == "completed")
        after = usage(http)[0]
        asked = [request for request in sent if request.method == "POST"]
        assert after["requests"] == len(asked) + 3
        assert after["audio_seconds"] > 3


def test_named_keys_close_a_server_that_was_open(tmp_path: Path, own_keys: Keys) -> None:
    own_keys("create", "alice")
    own_keys("revoke", "alice")
    with bare_server(data_dir=tmp_path) as server, server.client(None) as http:
        error_of(http.get("/v1/models"), 401)


def test_named_keys_leave_trusted_networks_open_and_close_insecure_servers(
    tmp_path: Path, own_keys: Keys
) -> None:
    own_keys("create", "alice")
    for more, status in (({"trusted_networks": "127.0.0.1"}, 200), ({"insecure": True}, 401)):
        where: dict[str, Any] = {"data_dir": tmp_path, **more}
        with bare_server(**where) as server, server.client(None) as http:
            assert http.get("/v1/jobs").status_code == status


def test_names_and_scopes_are_checked(keys: Keys, typed: Typed) -> None:
    keys("create", "alice")
    assert "already" in typed("keys", "create", "alice").err
    assert "transcribe" in typed("keys", "create", "carol", "--scopes", "everything").err
    assert "no key" in typed("keys", "revoke", "dave").err


def test_a_key_for_nothing_is_refused_and_none_ends_twice(keys: Keys, typed: Typed) -> None:
    assert "transcribe" in typed("keys", "create", "none", "--scopes", "").err
    keys("create", "eve")
    keys("revoke", "eve")
    assert "'eve' is revoked already" in typed("keys", "revoke", "eve").err


def test_only_create_makes_a_folder_and_all_say_which(
    tmp_path: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    monkeypatch.setenv("REFLECTOR_DATA_DIR", str(folder))
    for command in (("list",), ("revoke", "alice")):
        done = typed("keys", *command)
        assert done.status == 2
        assert str(folder) in done.err
        assert not folder.exists()
    for command in (("create", "alice"), ("list",), ("revoke", "alice")):
        assert str(folder) in typed("keys", *command).err


def test_keys_need_a_folder(typed: Typed) -> None:
    assert "REFLECTOR_DATA_DIR" in typed("keys", "list").err


def test_a_file_that_is_not_a_database_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "reflector.db").write_bytes(b"not a database" * 100)
    with pytest.raises(Exception, match="database"):
        LiveServer(model="scripted", data_dir=tmp_path)
