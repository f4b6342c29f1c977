"""The README's code blocks do what it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.api.hosts import Answer, AudioHost
from tests.cli.program import environment
from tests.conftest import ROOT, SAMPLES
from tests.engines.tongues import TRANSLATION
from tests.waiting import until

KEY = "change-me"
BLOCK = re.compile(r"^```(\w+)( no-run)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())
PYTHON = [code for kind, _, code in BLOCKS if kind == "python"]
COMMANDS = [code for kind, skipped, code in BLOCKS if kind == "sh" and not skipped]
[SERVE] = [code for code in COMMANDS if code.endswith(" serve\n")]
SHELL = [code for code in COMMANDS if code != SERVE]
SKIPPED = [code for _, skipped, code in BLOCKS if skipped]

NEEDS: Mapping[str, str] = {
    "pip install": "a package index",
    "models pull": "the model hub",
    "--profile cpu": "the weights from it",
    "modal setup": "an account with Modal",
}
"""What a command needs that a machine without a network does not have."""

REMOTE = "https://example.com/meeting.mp3"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which everything that the blocks use is there."""
    return {
        **environment(
            PORT="0",
            MODEL="scripted",
            TRANSLATOR=str(TRANSLATION),
            LLM_ENGINE="ctranslate2",
            LLM_MODEL=str(ROOT / "tests" / "fixtures" / "llm-tiny"),
            URL_ALLOW="127.0.0.1",
        ),
        "MODAL_CONFIG_PATH": str(tmp_path_factory.mktemp("modal") / "none.toml"),
    }


@pytest.fixture(scope="module")
def server(settings: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server that the README starts."""
    ready = tmp_path_factory.mktemp("server") / "url"
    command = f"{_installed(SERVE).rstrip()} --ready-file {ready}"
    with subprocess.Popen(
        ["bash", "-euc", command], cwd=ROOT, env=settings, start_new_session=True
    ) as shell:
        try:
            until(lambda: ready.exists() or shell.poll() is not None)
            yield ready.read_text().strip()
        finally:
            os.killpg(shell.pid, signal.SIGTERM)


@pytest.fixture
def recording() -> Iterator[str]:
    """The URL of a meeting on a host of this machine."""
    with AudioHost() as host:
        yield host.put("/meeting.mp3", Answer((SAMPLES / "standup.mp3").read_bytes()))


def _installed(code: str) -> str:
    """The block as it reads where the program is installed elsewhere."""
    return code.replace(".venv/bin/", f"{Path(sys.executable).parent}/")


def _run(command: list[str], settings: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=settings, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("code", PYTHON)
def test_python_blocks_run(code: str, server: str, settings: Mapping[str, str]) -> None:
    code = code.replace("http://127.0.0.1:8000", server)
    assert _run([sys.executable, "-c", code], settings).strip()


@pytest.mark.parametrize("code", SHELL)
def test_shell_blocks_run(
    code: str, server: str, recording: str, settings: Mapping[str, str]
) -> None:
    code = _installed(code).replace("http://127.0.0.1:8000", server).replace(REMOTE, recording)
    code = code.replace("curl ", "curl --fail-with-body --silent --show-error ")
    code = re.sub(r"^make ", "make --dry-run ", code, flags=re.MULTILINE)
    output = _run(["bash", "-euo", "pipefail", "-c", code], settings)
    assert '"error"' not in output
    assert output.strip()
    if "Anna" in code:
        assert '"speaker":"Anna"' in output, "known to the server"
        assert "\nAnna: " in output, "and to the program"


@pytest.mark.parametrize("code", SKIPPED)
def test_what_is_not_run_needs_a_network(code: str) -> None:
    for line in code.splitlines():
        assert any(need in line for need in NEEDS), line


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/benchmarks.md"])
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    text, makefile = (ROOT / page).read_text(), (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^)make ([\w./-]+)", text, re.MULTILINE)):
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_file_that_a_page_links_exists(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / page).read_text())
    for link in links:
        assert ((ROOT / page).parent / link).exists(), link
