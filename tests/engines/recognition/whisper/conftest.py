"""Whisper on a tiny trained model in the production format: real words in two languages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # see tests/conftest.py
    from faster_whisper import WhisperModel

    from reflector_gpu.engines.recognition.whisper import WhisperRecogniser
    from tests.engines.recognition.whisper.hearing import Pretend


@pytest.fixture(scope="package")
def engine() -> WhisperRecogniser:
    from reflector_gpu.engines.recognition.whisper import WhisperRecogniser
    from tests.engines.tiny import WHISPER

    engine = WhisperRecogniser(str(WHISPER))
    engine.load()
    return engine


@pytest.fixture
def together(engine: WhisperRecogniser, monkeypatch: pytest.MonkeyPatch) -> WhisperRecogniser:
    """One that decodes the chunks of a batch together, as it does on a GPU."""
    monkeypatch.setattr(engine, "_lanes", None)
    return engine


@pytest.fixture
def inner(engine: WhisperRecogniser) -> WhisperModel:
    assert engine._decoder is not None
    return engine._decoder._model


@pytest.fixture
def pretend(inner: WhisperModel, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    from tests.engines.recognition.whisper.hearing import Meddled

    real = inner.model

    def write(text: str, times: int | None = 1, **scores: float) -> None:
        first, _, loop = text.partition("|")

        def tokens(room: int) -> list[int]:
            unit = inner.hf_tokenizer.encode(loop).ids
            written = [*inner.hf_tokenizer.encode(first).ids, *unit * (times or room)]
            return written if times else written[:room]

        def generate(encoded: Any, prompts: Any, *, max_length: int, **options: Any) -> list[Any]:
            results = real.generate(encoded, prompts, max_length=max_length, **options)
            return [
                SimpleNamespace(
                    sequences_ids=[tokens(max_length // 2)],
                    scores=[scores.get("avg_logprob", one.scores[0])],
                    no_speech_prob=scores.get("no_speech_prob", one.no_speech_prob),
                )
                for one in results
            ]

        monkeypatch.setattr(inner, "model", Meddled(real, generate=generate))

    return write
