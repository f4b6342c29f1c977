"""``serve`` as a process: how it starts, says where it is, and stops."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from reflector_gpu import __version__
from tests.cli.conftest import Typed
from tests.cli.program import Running, environment, run, started
from tests.live import LiveServer
from tests.processes import alive
from tests.waiting import PROGRAM_SECONDS, until

pytestmark = pytest.mark.slow

KEY = "a-key-that-nobody-may-read"


def address(running: Running, ready_file: Path) -> str:
    """The server's URL, once it can work."""
    until(lambda: ready_file.exists() or running.process.poll() is not None, PROGRAM_SECONDS)
    return ready_file.read_text().removesuffix("\n")


def test_a_server_from_start_to_end(tmp_path: Path) -> None:
    ready = tmp_path / "url"
    ready.write_text("http://a.server.before\n")
    arguments = ("serve", "--port", "0", "--model", "scripted", "--ready-file", str(ready))
    with started(*arguments, env=environment(APIKEY=KEY)) as running:
        running.wait_for("Ready at")
        url = address(running, ready)
        assert httpx.get(f"{url}/health/ready").status_code == 200
        assert httpx.get(f"{url}/v1/models").status_code == 401
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = httpx.get(f"{url}/v1/models?n=1", headers=headers)
        assert answer.status_code == 200
        assert "server" not in answer.headers
        httpx.get(f"{url}/a%0Aline", headers=headers)
        workers = psutil.Process(running.process.pid).children(recursive=True)
        assert workers
        assert running.stop(signal.SIGTERM) == 0
        assert not ready.exists()
        assert list(tmp_path.iterdir()) == []
    until(lambda: not any(alive(worker) for worker in workers))
    said = "".join(running.errors)
    assert said.startswith(f"reflector-gpu {__version__}\n")
    assert url in said
    assert f"{url}/docs" in said
    assert said.count("GET /v1/models 200") == 1
    assert r"GET /a\x0aline 404" in said
    assert KEY not in said
    assert "Traceback" not in said
    assert not [line for line in said.splitlines() if line.endswith(" ")]


@contextmanager
def begun(url: str, size: int) -> Iterator[socket.socket]:
    """A connection on which the server waits for ``size`` bytes of a form."""
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    with socket.create_connection((where.hostname, where.port)) as client:
        client.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % size
        )
        assert b"100 Continue" in client.recv(1000)
        yield client


def form(file: bytes) -> bytes:
    """The body that `begun` announces."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return head + file + b"\r\n--x--\r\n"


def test_what_runs_when_the_server_stops_is_finished(tmp_path: Path, clip: Path) -> None:
    ready = tmp_path / "url"
    arguments = ("serve", "--port", "0", "--model", "scripted", "--ready-file", str(ready))
    body = form(clip.read_bytes())
    with started(*arguments) as running:
        with begun(address(running, ready), len(body)) as client:
            running.process.terminate()
            running.wait_for("Stopping")
            client.sendall(body)
            with client.makefile("rb") as answer:
                assert b"200 OK" in answer.readline()
                assert b'"words":[{' in answer.read()
        assert running.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_to_stop_in_the_midst_of_a_request_is_no_error(tmp_path: Path, number: int) -> None:
    ready = tmp_path / "url"
    arguments = ("serve", "--port", "0", "--model", "scripted", "--ready-file", str(ready))
    with (
        started(*arguments, env=environment(SHUTDOWN_SECONDS="0.1")) as running,
        begun(address(running, ready), 1000) as client,
    ):
        assert running.stop(number) == 0
        with client.makefile("rb") as answer:
            assert b"503" in answer.readline()
    said = "".join(running.errors)
    assert "WARNING uvicorn.error: Requests cut off when the server stopped: 1" in said
    assert 'reason="shutting_down: ' in said
    assert "ERROR" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_sent_to_all_its_processes_leaves_workers_to_finish_what_runs(
    tmp_path: Path, clip: Path, number: int
) -> None:
    """Service managers, `timeout` and Ctrl-C in a terminal signal the whole process group."""
    ready = tmp_path / "url"
    arguments = ("serve", "--port", "0", "--model", "scripted", "--ready-file", str(ready))
    body = form(clip.read_bytes())
    with started(*arguments) as running:
        with begun(address(running, ready), len(body)) as client:
            workers = psutil.Process(running.process.pid).children(recursive=True)
            for process in (*workers, psutil.Process(running.process.pid)):
                with suppress(psutil.NoSuchProcess):  # a child that tried the decoders' sandbox
                    process.send_signal(number)
            running.wait_for("Stopping")
            client.sendall(body)
            with client.makefile("rb") as answer:
                assert b"200 OK" in answer.readline()
                assert b'"words":[{' in answer.read()
        assert running.end() == 0
    said = "".join(running.errors)
    assert "ERROR" not in said
    assert "died" not in said


def test_a_second_interrupt_ends_it_at_once(tmp_path: Path) -> None:
    ready = tmp_path / "url"
    arguments = ("serve", "--port", "0", "--model", "scripted", "--ready-file", str(ready))
    patient = environment(SHUTDOWN_SECONDS="3600")
    with started(*arguments, env=patient) as running:
        with begun(address(running, ready), 1000):
            running.process.send_signal(signal.SIGINT)
            assert "Ctrl-C again stops at once" in running.wait_for("Stopping")
            assert running.stop(signal.SIGINT) == 0
        assert "Traceback" not in "".join(running.errors)


def test_a_trusted_network_needs_no_key_and_no_header_makes_one(tmp_path: Path) -> None:
    """Uvicorn by itself believes what callers from loopback write into their headers."""
    ready = tmp_path / "url"
    arguments = ("serve", "--host", "0.0.0.0", "--port", "0", "--model", "scripted")
    friend = {"X-Forwarded-For": "192.0.2.7"}
    for networks, status in [("192.0.2.0/24", 401), ("127.0.0.0/8", 200)]:
        env = environment(TRUSTED_NETWORKS=networks)
        with started(*arguments, "--ready-file", str(ready), env=env) as running:
            url = address(running, ready)
            assert httpx.get(f"{url}/v1/models", headers=friend).status_code == status
            assert running.stop(signal.SIGTERM) == 0
        assert f"callers from {networks} need none" in " ".join("".join(running.errors).split())


def test_silent_clients_do_not_keep_others_out(tmp_path: Path) -> None:
    """115 of them once took all the files that the server could open, and filled its log."""
    ready = tmp_path / "url"
    arguments = ("serve", "--port", "0", "--model", "scripted", "--ready-file", str(ready))
    began = time.monotonic()
    with started(*arguments, files=128) as running, ExitStack() as silent:
        url = address(running, ready)
        where = urlsplit(url)
        for _ in range(3):
            for _ in range(115):
                line = socket.create_connection((where.hostname or "", where.port or 0))
                silent.enter_context(line)
            for _ in range(10):
                assert httpx.get(f"{url}/health/ready", timeout=PROGRAM_SECONDS).status_code == 200
            silent.close()
        assert running.stop(signal.SIGTERM) == 0
    said = [line for line in running.errors if "WARNING" in line or "ERROR" in line]
    minutes = 1 + int((time.monotonic() - began) / 60)
    assert 1 <= len(said) <= 2 * minutes, said  # each of two warnings once a minute
    assert "Traceback" not in "".join(running.errors)


def test_a_network_of_everyone_is_warned_of(tmp_path: Path) -> None:
    arguments = ("serve", "--port", "0", "--model", "scripted", "--ready-file", str(tmp_path / "u"))
    env = environment(TRUSTED_NETWORKS="0.0.0.0/0", URL_ALLOW="::/0", APIKEY=KEY)
    with started(*arguments, env=env) as running:
        assert "WARNING" in running.wait_for("TRUSTED_NETWORKS holds every address")
        assert "WARNING" in running.wait_for("URL_ALLOW holds every address")


def test_the_banner_says_who_answers_and_what_would_be_better() -> None:
    with started("serve", "--port", "0") as running:
        assert "sphinx: PocketSphinx" in running.wait_for("model ")
        assert running.wait_for("for better").endswith("models pull base\n")
        assert not [line for line in running.errors if "accuracy" in line]


def test_the_banner_does_not_argue_with_who_has_chosen() -> None:
    with started("serve", "--port", "0", "--model", "scripted") as running:
        running.wait_for("key ")
        assert not [line for line in running.errors if "for better" in line]


REFUSALS = [
    pytest.param(["--host", "0.0.0.0"], "without a key", id="exposed"),
    pytest.param(["--model", "large-v2"], "models pull large-v2", id="not installed"),
    pytest.param(["--host", "192.0.2.1", "--insecure"], "no such address", id="address"),
    pytest.param(["--host", "a.host.invalid", "--insecure"], "no such host", id="host"),
    pytest.param(["--model", "nonesuch"], "'nonesuch' does not exist", id="model"),
    pytest.param(["--ready-file", "/nonesuch/url"], "--ready-file", id="ready-file"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS)
def test_what_cannot_work_is_refused_in_one_line(
    typed: Typed,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    done = typed("serve", "--port", "0", *arguments)
    assert done.status == 2
    assert message in done.err
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1


def test_what_turns_out_while_engines_load_is_refused_and_ends_them(tmp_path: Path) -> None:
    (tmp_path / "jobs").touch()
    settings = environment(DATA_DIR=str(tmp_path), MODEL="scripted", PORT="0")
    done = run("serve", env=settings)  # which ends once nobody can write to its output any more
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"Error: REFLECTOR_DATA_DIR: {tmp_path}")


def test_a_taken_port_is_named(typed: Typed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = typed("serve", "--port", port)
    assert done.status == 2
    assert done.err.startswith(f"Error: Cannot listen on 127.0.0.1:{port}: another program")


def test_a_port_of_a_reflector_gpu_is_named(typed: Typed, scripted: LiveServer) -> None:
    done = typed("serve", "--port", scripted.url.rpartition(":")[2])
    assert done.status == 2
    assert "a reflector-gpu server already listens there" in done.err


def test_a_bad_variable_is_named(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_WORKERS", "many")
    done = typed("serve")
    assert done.status == 2
    assert done.err.startswith("Error: REFLECTOR_WORKERS: ")
