"""What the tests of Whisper share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest

from reflector_gpu.engines.recognition.whisper import WhisperRecogniser
from reflector_gpu.types import Recognition, Samples, TranscribeOptions
from tests.engines.tiny import Clip

TOLERANCE = 0.3
ENGLISH = TranscribeOptions(language="en")
SLOW = pytest.mark.slow


def most_slow(spoken: list[Clip]) -> list[object]:
    """Parameters of ``spoken``, of which all but the first take long together."""
    return [pytest.param(clip, marks=[SLOW] if i else []) for i, clip in enumerate(spoken)]


class Meddled:
    """A loaded CTranslate2 model, some of whose methods are others."""

    def __init__(self, real: Any, **methods: Callable[..., Any]) -> None:
        self._real = real
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def hear(
    engine: WhisperRecogniser, batch: list[Samples], options: TranscribeOptions
) -> list[Recognition]:
    results = engine.transcribe(batch, options)
    found = [result for result in results if isinstance(result, Recognition)]
    assert len(found) == len(batch)
    return found


class Pretend(Protocol):
    """Have a loaded model write ``text`` for whatever it hears: once, so often, or for ever."""

    def __call__(self, text: str, times: int | None = 1, **scores: float) -> None: ...
