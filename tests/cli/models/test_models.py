"""Downloads as the command line makes them: by hand, and before it works where that is allowed."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import termios
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from reflector_gpu.engines.recognition import catalog
from tests.api.engines import ABSENT
from tests.cli.conftest import Typed
from tests.cli.program import PROGRAM, environment, run, started
from tests.engines.hub import Hub
from tests.engines.tiny import WHISPER, clips
from tests.processes import alive
from tests.waiting import until

pytestmark = pytest.mark.slow

WEIGHTS = catalog.MODELS["tiny"].weights


def on_a_terminal(*arguments: str, answer: str = "") -> tuple[str, str]:
    """Standard output, and what a terminal on standard error was sent; it types ``answer``."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    with subprocess.Popen(
        [PROGRAM, *arguments],
        env=environment(),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
    ) as process:
        os.close(slave)
        os.write(master, answer.encode())
        shown = b""
        with suppress(OSError):  # how a terminal says that nobody writes to it any more
            while part := os.read(master, 10_000):
                shown += part
        os.close(master)
        assert process.stdout
        return process.stdout.read(), shown.decode()


def test_a_pull_draws_bars_and_prints_the_folder(hub: Hub) -> None:
    out, shown = on_a_terminal("models", "pull", "tiny")
    folder = Path(out.removesuffix("\n"))
    assert {file.name for file in folder.iterdir()} == {file.name for file in WHISPER.iterdir()}
    assert "model.bin: 100%" in shown
    assert "1.60M/1.60M" in shown
    [record] = [
        record
        for record in json.loads(run("models", "list", "--json").stdout)
        if record["name"] == "tiny"
    ]
    assert record["folder"] == str(folder)
    again, shown = on_a_terminal("models", "pull", "tiny")
    assert (again, shown) == (out, "")


def test_what_was_pulled_is_deleted_once_somebody_agrees(hub: Hub, tmp_path: Path) -> None:
    folder = Path(run("models", "pull", "tiny").stdout.removesuffix("\n"))
    out, shown = on_a_terminal("models", "rm", "tiny", answer="n\n")
    assert out == ""
    assert f"Delete tiny from {folder.parents[1]}? [y/N]" in shown
    assert "tiny: kept" in shown
    assert folder.exists()
    out, _ = on_a_terminal("models", "rm", "tiny", answer="y\n")
    assert out == "tiny: deleted, 2 MB freed\n"
    assert not folder.exists()
    assert "not downloaded" in run("models", "show", "tiny").stdout
    assert run("models", "rm", "tiny").stderr == "tiny: nothing of it is downloaded\n"


def test_a_pull_that_fails_says_why_in_one_line(hub: Hub) -> None:
    done = run("models", "pull", "small")
    assert done.returncode == 2
    assert done.stderr == "Error: The model hub answers 404 for Systran/faster-whisper-small.\n"


def test_transcribe_downloads_first_where_it_may(hub: Hub) -> None:
    clip = clips("en")[0]
    arguments = ("transcribe", str(clip.path), "--model", "tiny", "--language", "en")
    done = run(*arguments)
    assert done.returncode == 2
    assert "reflector-gpu models pull tiny" in done.stderr
    assert hub.looked_up == []

    done = run(*arguments, env=environment(AUTO_PULL="true"))
    assert (done.returncode, done.stdout) == (0, f"{clip.text}\n")
    assert done.stderr == "Downloading tiny: 78 MB, once\n"
    assert "model.bin" in hub.fetched


def test_serve_starts_and_downloads_where_it_may(hub: Hub, tmp_path: Path) -> None:
    ready = tmp_path / "url"
    arguments = ("serve", "--port", "0", "--model", "tiny", "--ready-file", str(ready))
    with started(*arguments, env=environment(AUTO_PULL="true")) as running:
        running.wait_for("tiny: downloading 78 MB from Systran/faster-whisper-tiny")
        running.wait_for("Ready at")
        until(ready.exists)
        assert httpx.get(f"{ready.read_text().strip()}/health/ready").status_code == 200
        assert running.stop(signal.SIGTERM) == 0
    said = "".join(running.errors)
    assert "tiny: downloaded in" in said
    assert "%" not in said, "a log is no place for bars"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_stops_ends_its_download(hub: Hub, number: signal.Signals) -> None:
    hub.stops_after = 1000
    arguments = ("serve", "--port", "0", "--model", "tiny")
    with started(*arguments, env=environment(AUTO_PULL="true")) as running:
        until(lambda: hub.downloads)
        children = psutil.Process(running.process.pid).children(recursive=True)
        assert running.stop(number) == 0
        assert children
    until(lambda: not any(alive(child) for child in children))
    assert "Traceback" not in "".join(running.errors)


def test_serve_refuses_what_lacks_a_package(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.MODELS, ABSENT.name, replace(ABSENT, weights=WEIGHTS))
    monkeypatch.setenv("REFLECTOR_AUTO_PULL", "true")
    done = typed("serve", "--port", "0", "--model", ABSENT.name)
    assert done.status == 2
    assert "pip install no_such_package" in done.err
