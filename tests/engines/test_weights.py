"""Weights come from a hub once, and are found again without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reflector_gpu.engines.weights import Weights
from tests.engines.hub import Hub

FILES = {"config.json": b"{}", "model.bin": b"\x00" * 4000, "README.md": b"not needed"}
WEIGHTS = Weights(
    "somebody/some-model", ("config.json", "model.*"), ("config.json", "model.bin"), 1
)

PULL = """
import json, sys
from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import ReflectorError
weights = Weights(*json.loads(sys.argv[1]))
try:
    print(weights.pull())
except ReflectorError as error:
    sys.exit(f"{type(error).__name__}: {error.message}")
"""


def pull(home: Path, hub: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`Weights.pull` in a process of its own: the hub library reads its settings on import."""
    arguments = [WEIGHTS.repository, WEIGHTS.patterns, WEIGHTS.required, WEIGHTS.megabytes]
    return subprocess.run(
        [sys.executable, "-c", PULL, json.dumps(arguments)],
        env={**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": hub, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def found() -> Path | None:
    return WEIGHTS.folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return tmp_path


def test_pulled_weights_are_found_without_the_hub(home: Path) -> None:
    assert not found()
    with Hub(WEIGHTS.repository, FILES) as hub:
        done = pull(home, hub.url)
        assert done.returncode == 0, done.stderr
        assert sorted(hub.downloads) == ["config.json", "model.bin"]
        assert pull(home, hub.url).returncode == 0
        assert len(hub.downloads) == 2, "what is there is not fetched again"

    folder = found()
    assert folder == Path(done.stdout.strip())
    assert (folder / "model.bin").read_bytes() == FILES["model.bin"]


def test_incomplete_weights_are_not_found(home: Path) -> None:
    with Hub(WEIGHTS.repository, {"config.json": b"{}"}) as hub:
        assert pull(home, hub.url).returncode == 0
    assert not found()


@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}], ids=["no hub", "offline"])
def test_a_hub_out_of_reach_is_a_clear_error(home: Path, environment: dict[str, str]) -> None:
    done = pull(home, "http://127.0.0.1:9", **environment)
    assert done.returncode == 1
    assert "UpstreamFailed" in done.stderr
    assert WEIGHTS.repository in done.stderr


def test_an_unknown_repository_is_a_clear_error(home: Path) -> None:
    with Hub("somebody/else", FILES) as hub:
        done = pull(home, hub.url)
    assert done.returncode == 1
    assert "UpstreamFailed" in done.stderr
