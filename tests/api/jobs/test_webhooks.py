"""Webhooks of jobs: signed, repeated, and slow for nobody else."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.errors import UpstreamTimeout
from reflector_gpu.jobs import webhooks
from reflector_gpu.jobs.deliveries import Deliveries, Delivery
from reflector_gpu.store.database import sqlite_in
from tests.api.support import error_of, eventually
from tests.live import KEY, LiveServer
from tests.loopback import Loopback, Quiet

JOBS = "/v1/jobs"


class Hooked(Loopback):
    """A client's server, which listens inside the ``with`` block.

    It answers with ``statuses`` in order, and then with 200. A path that begins with ``/slow`` is
    answered once ``released``.
    """

    def __init__(self, *statuses: int) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.released = threading.Event()
        left = list(statuses)
        ours = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                ours.got.append((self.path, headers, body))
                if self.path.startswith("/slow"):
                    ours.released.wait()
                self.send_response(left.pop(0) if left else 200)
                self.send_header("content-length", "0")
                self.end_headers()

        super().__init__(Handler)

    def let_go(self) -> None:
        self.released.set()


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("data")
    settings: dict[str, Any] = {"model": "scripted", "apikey": f"{KEY},other", "data_dir": folder}
    with (
        LiveServer(**settings, url_allow="127.0.0.1,localhost") as server,
        server.client() as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", 0.001)


def submit(http: httpx.Client, audio: bytes, url: str) -> str:
    answer = http.post(JOBS, files={"file": ("a.wav", audio)}, data={"webhook_url": url})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def secret(http: httpx.Client) -> str:
    return str(http.get("/v1/webhooks/secret").json()["secret"])


def test_the_library_of_standard_webhooks_believes_ours(http: httpx.Client, clip: bytes) -> None:
    with Hooked() as hooked:
        job = submit(http, clip, f"{hooked.url}/done")
        eventually(lambda: hooked.got)
    [(path, headers, body)] = hooked.got
    assert path == "/done"
    told = Webhook(secret(http)).verify(body, headers)
    assert told["type"] == "job.completed"
    assert told["data"]["id"] == job
    assert "text" not in told["data"]
    assert set(told["data"]) < set(http.get(f"{JOBS}/{job}").json())
    forged = body.replace(b"completed", b"cancelled")
    with pytest.raises(Exception, match="signature"):
        Webhook(secret(http)).verify(forged, headers)


def test_each_key_has_a_secret_of_its_own(http: httpx.Client) -> None:
    other = http.get("/v1/webhooks/secret", headers={"Authorization": "Bearer other"}).json()
    assert other["secret"] != secret(http) == secret(http)


def test_a_receiver_that_fails_three_times_gets_it_the_fourth_time_once(
    http: httpx.Client, clip: bytes
) -> None:
    with Hooked(500, 302, 429) as hooked:
        submit(http, clip, hooked.url)
        eventually(lambda: len(hooked.got) == 4)
        submit(http, clip, hooked.url)
        eventually(lambda: len(hooked.got) == 5)
    names = [headers["webhook-id"] for _, headers, _ in hooked.got]
    assert len(set(names[:4])) == 1
    assert names[4] != names[0]


def test_a_slow_receiver_delays_nobody(http: httpx.Client, clip: bytes) -> None:
    with Hooked() as hooked:
        slow = hooked.url.replace("127.0.0.1", "localhost")
        for number in range(6):
            submit(http, clip, f"{slow}/slow/{number}")
        eventually(lambda: len(hooked.got) == 4)  # no more at once to one host
        submit(http, clip, f"{hooked.url}/quick")
        eventually(lambda: "/quick" in [path for path, *_ in hooked.got])
        assert len(hooked.got) == 5
        hooked.released.set()
        eventually(lambda: len(hooked.got) == 7)


def test_a_job_that_fails_or_is_cancelled_is_told_as_well(http: httpx.Client) -> None:
    with Hooked() as hooked:
        submit(http, b"no audio", hooked.url)
        eventually(lambda: hooked.got)
    told = json.loads(hooked.got[0][2])
    assert told["type"] == "job.failed"
    assert told["data"]["error"]["code"] == "undecodable_audio"


def test_an_erased_job_is_not_told(http: httpx.Client, clip: bytes) -> None:
    with Hooked(500) as hooked:
        job = submit(http, clip, hooked.url)
        eventually(lambda: hooked.got)
        http.delete(f"{JOBS}/{job}")
        submit(http, clip, hooked.url)
        eventually(lambda: job not in str(hooked.got[-1]))


@pytest.mark.parametrize(
    ("url", "status"), [("http://10.0.0.1/x", 403), ("ftp://example.com", 403), ("hello", 400)]
)
def test_webhooks_pass_the_address_guard(
    http: httpx.Client, clip: bytes, url: str, status: int
) -> None:
    files = {"file": ("a.wav", clip)}
    answer = http.post(JOBS, files=files, data={"webhook_url": url})
    assert error_of(answer, status)["param"] == "webhook_url"


def test_a_silent_name_server_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_LOOKUP_SECONDS", 0.01)

    async def silent(host: str, port: int) -> list[str]:
        await asyncio.get_running_loop().create_future()
        raise NotImplementedError

    async def nothing(_: Delivery) -> bytes:
        raise NotImplementedError

    database = sqlite_in(tmp_path)
    guard = AddressGuard(resolver=silent)
    checked = webhooks.Webhooks(Deliveries(database), guard, nothing)
    with pytest.raises(UpstreamTimeout, match=r"webhook's host example\.com .* try again later"):
        asyncio.run(checked.check("https://example.com/hook"))
    database.close()


def test_an_odd_address_keeps_no_job_from_its_end(http: httpx.Client, clip: bytes) -> None:
    with Hooked() as hooked:
        submit(http, clip, hooked.url.replace("//", "//a[@"))
        eventually(lambda: hooked.got)


def test_messages_wait_for_the_next_server(tmp_path: Path, clip: bytes) -> None:
    with Hooked(*[500] * 1000) as refusing:
        where: dict[str, Any]
        where = {"model": "scripted", "data_dir": tmp_path, "url_allow": "127.0.0.1"}
        with LiveServer(**where) as server, server.client(None) as client:
            submit(client, clip, refusing.url)
            eventually(lambda: refusing.got)
        before = len(refusing.got)
        with LiveServer(**where):
            eventually(lambda: len(refusing.got) > before)


def test_pauses_grow_up_to_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", 5.0)
    pauses = [webhooks.pause_after(attempts) for attempts in range(1, 20)]
    assert 4 <= pauses[0] <= 6
    assert all(pause <= 4 * 3600 * 1.2 for pause in pauses)
    assert sum(pauses) > 24 * 3600  # fewer than twenty attempts in a day
