"""The recogniser that needs no weights, on speech."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from difflib import SequenceMatcher

import numpy as np
import pytest

from reflector_gpu.engines.recognition.sphinx import SPEC, SphinxRecogniser
from reflector_gpu.errors import ModelNotInstalled
from reflector_gpu.types import SAMPLE_RATE, Recognition, TranscribeOptions, Word
from tests.engines.conftest import Spoken, spell


@pytest.fixture(scope="module")
def sphinx() -> Iterator[SphinxRecogniser]:
    engine = SphinxRecogniser()
    engine.load()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def heard(sphinx: SphinxRecogniser, turns: list[Spoken]) -> list[tuple[Spoken, list[Word]]]:
    """The meeting's shorter turns and the words recognised in them."""
    short = sorted(turns, key=lambda turn: len(turn.samples))[:3]
    results = sphinx.transcribe([turn.samples for turn in short], TranscribeOptions())
    found = []
    for turn, result in zip(short, results, strict=True):
        assert isinstance(result, Recognition)
        found.append((turn, [word for segment in result.segments for word in segment.words]))
    return found


def matches(turn: Spoken, words: list[Word]) -> Iterator[tuple[tuple[str, float, float], Word]]:
    """Reference and recognised words that agree."""
    said, found = [word for word, *_ in turn.words], [word.text for word in words]
    for block in SequenceMatcher(None, said, found, autojunk=False).get_matching_blocks():
        for i in range(block.size):
            yield turn.words[block.a + i], words[block.b + i]


@pytest.mark.slow
def test_most_words_are_right(heard: list[tuple[Spoken, list[Word]]]) -> None:
    right = sum(len(list(matches(turn, words))) for turn, words in heard)
    assert right / sum(len(turn.words) for turn, _ in heard) > 0.8


def test_words_are_where_they_are_spoken(heard: list[tuple[Spoken, list[Word]]]) -> None:
    off = [
        abs(word.start - start)
        for turn, words in heard
        for (_, start, _), word in matches(turn, words)
    ]
    assert np.median(off) < 0.05
    assert max(off) < 0.3


def test_words_are_plain(heard: list[tuple[Spoken, list[Word]]]) -> None:
    """No fillers such as <sil> and [NOISE], no variants such as the(2)."""
    for _, words in heard:
        for word in words:
            assert spell(word.text) == [word.text]


def test_every_word_has_a_probability(heard: list[tuple[Spoken, list[Word]]]) -> None:
    probabilities = [word.probability for _, words in heard for word in words]
    assert all(p is not None and 0 <= p <= 1 for p in probabilities)
    assert len(set(probabilities)) > 10


@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-2])
def test_silence_and_noise_have_no_words(sphinx: SphinxRecogniser, level: float) -> None:
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    (result,) = sphinx.transcribe([noise * np.float32(level)], TranscribeOptions())
    assert result == Recognition(language="en")


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ModelNotInstalled, match="pip install pocketsphinx"):
        SphinxRecogniser().load()


def test_it_knows_english_only() -> None:
    assert SPEC.languages == {"en"}
