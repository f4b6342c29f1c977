"""The clients in JavaScript: each file in node/ holds the tests of one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.server import KEY, Server
from tests.clients.support import ENGLISH, SPANISH, absent, text_of

HERE = Path(__file__).parent
FILES = sorted((HERE / "node").glob("*.test.mjs"))


@pytest.fixture(scope="module")
def node() -> str:
    """The interpreter."""
    program = shutil.which("node")
    if program is None:
        absent("Node is not on this machine")
    if not (HERE / "node_modules").is_dir():
        absent("the packages of tests/clients/package.json are not installed")
    return program


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.partition(".")[0])
def test_javascript(server: Server, node: str, file: Path) -> None:
    variables = {
        "SERVER_URL": server.url,
        "SERVER_KEY": KEY,
        "ENGLISH": str(ENGLISH),
        "ENGLISH_TEXT": text_of(ENGLISH),
        "SPANISH": str(SPANISH),
        "SPANISH_TEXT": text_of(SPANISH),
    }
    done = subprocess.run(
        [node, "--test", "--test-reporter=spec", file],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
