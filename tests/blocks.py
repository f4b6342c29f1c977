"""The code blocks of a page, and what runs them as a reader would."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.api.hosts import Answer, AudioHost
from tests.cli.program import PROGRAM, environment
from tests.conftest import ROOT, SAMPLES
from tests.engines.tongues import TRANSLATION
from tests.waiting import PROGRAM_SECONDS, until

KEY = "change-me"
"""The key of every example."""

URL = "http://127.0.0.1:8000"
"""The address of every example."""

SERVE = f"export REFLECTOR_APIKEY={KEY}\n.venv/bin/reflector-gpu serve\n"
"""How the pages say that this server is started."""

_REMOTE = "https://example.com/meeting.mp3"
_DATA = "REFLECTOR_DATA_DIR=data\n"
_BLOCK = re.compile(r"^```(\w+)( no-run)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    page: str
    kind: str
    skipped: bool
    code: str

    @property
    def id(self) -> str:
        """What a failing test is called by."""
        return f"{self.page}: {self.code.splitlines()[0][:60]}"


def blocks_of(*pages: str) -> list[Block]:
    return [
        Block(page, kind, bool(skipped), code)
        for page in pages
        for kind, skipped, code in _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    ]


def runnable(blocks: list[Block], kind: str) -> list[Block]:
    """Those of a kind that are run, each once, without what starts the server."""
    found = {block.code: block for block in reversed(blocks)}
    return [
        block
        for block in reversed(found.values())
        if block.kind == kind and not block.skipped and block.code != SERVE
    ]


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who tries the examples of a page, and has everything that they need."""

    url: str
    variables: Mapping[str, str]

    def run(self, block: Block) -> str:
        """What the block prints. It must succeed."""
        code = block.code.replace(URL, self.url)
        if block.kind == "python":
            return self._run([sys.executable, "-c", code])
        with AudioHost() as host:
            recording = host.put("/meeting.mp3", Answer((SAMPLES / "standup.mp3").read_bytes()))
            code = code.replace(_REMOTE, recording)
            code = code.replace(
                _DATA, f"REFLECTOR_DATA_DIR={self.variables['REFLECTOR_DATA_DIR']}\n"
            )
            code = code.replace(".venv/bin/", f"{Path(PROGRAM).parent}/")
            code = code.replace("curl ", "curl --fail-with-body --silent --show-error ")
            code = re.sub(r"^make ", "make --dry-run ", code, flags=re.MULTILINE)
            return self._run(["bash", "-euo", "pipefail", "-c", code])

    def _run(self, command: Sequence[str]) -> str:
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=self.variables,
            timeout=PROGRAM_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    """A reader whose server was started as the pages say."""
    variables = {
        **environment(
            PORT="0",
            MODEL="scripted",
            TRANSLATOR=str(TRANSLATION),
            LLM_ENGINE="ctranslate2",
            LLM_MODEL=str(ROOT / "tests" / "fixtures" / "llm-tiny"),
            URL_ALLOW="127.0.0.1",
            DATA_DIR=str(folder / "data"),
            WORKERS="1",
        ),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MODAL_CONFIG_PATH": str(folder / "none.toml"),
    }
    ready = folder / "url"
    command = SERVE.replace(".venv/bin/reflector-gpu", PROGRAM).rstrip()
    with subprocess.Popen(
        ["bash", "-euc", f"{command} --ready-file {ready}"],
        cwd=ROOT,
        env=variables,
        start_new_session=True,
    ) as shell:
        try:
            until(lambda: ready.exists() or shell.poll() is not None)
            yield Reader(ready.read_text().strip(), variables)
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
