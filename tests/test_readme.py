"""The README's code blocks do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.live import KEY, LiveServer

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())
PYTHON = [code for kind, code in BLOCKS if kind == "python"]
SHELL = [code for kind, code in BLOCKS if kind == "sh" and re.match(r"curl|\S+ transcribe", code)]


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """One with everything that the blocks use."""
    with LiveServer(
        model="scripted",
        apikey=KEY,
        llm_engine="ctranslate2",
        llm_model=str(ROOT / "tests" / "fixtures" / "llm-tiny"),
    ) as server:
        yield server


def _here(code: str, server: LiveServer) -> str:
    """The block as it reads on a machine where the server listens elsewhere."""
    code = code.replace("http://127.0.0.1:8000", server.url).replace("change-me", KEY)
    return code.replace(".venv/bin/", f"{Path(sys.executable).parent}/")


def _run(command: list[str]) -> str:
    environment = {**os.environ, "REFLECTOR_MODEL": "scripted"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_has_code() -> None:
    assert len(PYTHON) >= 2
    assert len(SHELL) >= 2


@pytest.mark.parametrize("code", PYTHON)
def test_python_blocks_run(code: str, server: LiveServer) -> None:
    assert _run([sys.executable, "-c", _here(code, server)]).strip()


@pytest.mark.parametrize("code", SHELL)
def test_shell_blocks_run(code: str, server: LiveServer) -> None:
    code = code.replace("curl ", "curl --fail --silent --show-error ")
    output = _run(["bash", "-euc", _here(code, server)])
    assert "error" not in output
    assert output.strip()


def test_every_make_target_that_the_readme_names_exists() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)", readme)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
