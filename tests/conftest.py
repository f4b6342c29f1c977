"""Fixtures that several rooms share.

pytest-xdist's controller reads the `conftest.py` files too, though it runs no test. So they import
what takes long where it is used.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reflector_gpu.engines.weights.cache import cache_folder
from tests.live import KEY, LiveServer

if TYPE_CHECKING:
    from reflector_gpu.types import Samples
    from tests.engines.hub import Hub

# A shell that runs the tests in the background has them ignore the signal that some of them send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "TESTS_ORDINARY_CACHE" not in os.environ:  # else a process of a test, which has its own cache
    os.environ["TESTS_ORDINARY_CACHE"] = str(cache_folder())
    os.environ["HF_HUB_CACHE"] = f"{os.devnull}/hub"  # nothing can be there; workers inherit it

if "PYTEST_XDIST_WORKER" in os.environ:
    # There are as many workers as processors. If each computed with as many threads, these would
    # wait for each other, and need twice the time. The libraries read the variables when imported.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

ORDINARY_CACHE = Path(os.environ["TESTS_ORDINARY_CACHE"])
"""Where this machine's own weights are, which no test is to depend on by accident."""

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"

collect_ignore = ["clients"]
"""A room with an environment of its own: `make test-clients` runs it."""


def pytest_pycollect_makemodule(module_path: Path) -> None:
    """Set Hypothesis up for a module that uses it. Others do not wait until it is imported.

    Slowness is no failure: the machines that run these tests are shared.
    """
    if "hypothesis" in module_path.read_text():
        from hypothesis import HealthCheck, settings

        slowness = [HealthCheck.too_slow]
        settings.register_profile("shared", deadline=None, suppress_health_check=slowness)
        settings.load_profile("shared")


@pytest.fixture(scope="session")
def standup() -> Path:
    """The sample meeting: about a minute, three voices."""
    return SAMPLES / "standup.wav"


@pytest.fixture(scope="session")
def speech(standup: Path) -> Samples:
    """The sample meeting's waveform."""
    import numpy as np

    from reflector_gpu.audio.decode import decode
    from reflector_gpu.audio.spool import Spool

    with Spool(limit=10**9) as spool:
        spool.write(standup.read_bytes())
        spool.finish()
        return np.concatenate(list(decode(spool.reader())))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A model hub, known to every process that starts now, and an empty cache.

    Its ``tiny`` is the one that was trained for these tests.
    """
    from reflector_gpu.engines.recognition import catalog
    from tests.engines.hub import Hub
    from tests.engines.tiny import WHISPER

    weights = catalog.MODELS["tiny"].weights
    assert weights
    files = {file.name: file.read_bytes() for file in WHISPER.iterdir()}
    with Hub(weights.repository, files) as hub:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield hub


@pytest.fixture
def diarizer_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The same with the two repositories of the diarizer ``segmentation``: the tiny pair."""
    from reflector_gpu.engines.diarization.catalog import DIARIZERS
    from tests.engines.hub import Hub
    from tests.engines.tiny import SEGMENTATION

    model = DIARIZERS.models["segmentation"]
    assert model.weights
    assert model.weights.beside
    files = {
        model.arguments[name]: (SEGMENTATION / f"{name}.onnx").read_bytes()
        for name in ("segmentation", "embedding")
    }
    with Hub((model.weights.repository, model.weights.beside.repository), files) as hub:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield hub


@pytest.fixture(scope="session")
def scripted() -> Iterator[LiveServer]:
    """A running server with two workers of `scripted`; it takes loopback URLs."""
    with LiveServer(model="scripted", apikey=KEY, workers=2, url_allow="127.0.0.1") as server:
        yield server


@pytest.fixture(scope="session")
def sphinx() -> Iterator[LiveServer]:
    """A running server with the recogniser that needs no weights."""
    with LiveServer(model="sphinx", apikey=KEY, url_allow="127.0.0.1") as server:
        yield server
