"""The program inside of this process, which is quicker than a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import pytest

if TYPE_CHECKING:  # see tests/conftest.py
    from reflector_gpu.types import Samples


class Done(NamedTuple):
    status: int
    out: str
    err: str


Typed: TypeAlias = Callable[..., Done]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Typed]:
    """Types a command line, without any setting in the environment but those of the test.

    Some of these may be given with it, by their names without ``REFLECTOR_``.
    """
    from reflector_gpu.cli import main

    for name in list(os.environ):
        if name.startswith("REFLECTOR_"):
            monkeypatch.delenv(name)

    def run(*arguments: object, **settings: str) -> Done:
        # It stays after the run: messages name commands by it, also those that the test expects.
        monkeypatch.setattr(sys, "argv", ["reflector-gpu", *map(str, arguments)])
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(f"REFLECTOR_{name}", value)
            with pytest.raises(SystemExit) as ended:
                main()
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    handler = signal.getsignal(signal.SIGINT)
    yield run
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(scope="session")
def clip(speech: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first eight seconds of the sample meeting."""
    import numpy as np

    from reflector_gpu.types import SAMPLE_RATE

    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        pcm = np.round(speech[: 8 * SAMPLE_RATE] * 32767).astype("<i2")
        file.writeframes(pcm.tobytes())
    return path
