"""What every recogniser promises (`engines.base`). Each installed model of the catalog is held to
it, and so is every one that joins later."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from reflector_gpu.engines.recognition.base import Recogniser, RecogniserModel
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.errors import InvalidRequest, ReflectorError
from reflector_gpu.types import (
    SAMPLE_RATE,
    Recognition,
    Samples,
    Segment,
    TranscribeOptions,
    Word,
    join_words,
)
from tests.engines import tiny
from tests.engines.conftest import Spoken

ENGLISH = TranscribeOptions(language="en")


def build(model: RecogniserModel) -> Recogniser:
    module, _, name = model.engine.partition(":")
    folder = model.weights.folder if model.weights else None
    arguments = {**({"weights": str(folder)} if folder else {}), **model.arguments}
    engine: Recogniser = getattr(importlib.import_module(module), name)(**arguments)
    return engine


INSTALLED = [*(model for model in MODELS.values() if not model.missing), *tiny.models()]


@pytest.fixture(scope="module", params=INSTALLED, ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> RecogniserModel:
    found: RecogniserModel = request.param
    return found


@pytest.fixture(scope="module")
def engine(model: RecogniserModel) -> Iterator[Recogniser]:
    engine = build(model)
    engine.load()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def pieces(turns: list[Spoken]) -> list[Samples]:
    """The beginnings of two turns: each engine hears them about ten times.

    No engine divides them into whole frames.
    """
    short = sorted((turn.samples for turn in turns), key=len)[:2]
    return [samples[: SAMPLE_RATE * 5 // 4] for samples in short]


@pytest.fixture(scope="module")
def heard(engine: Recogniser, pieces: list[Samples]) -> list[Recognition]:
    """What the engine makes of the pieces, each alone."""
    return [hear(engine, piece)[0] for piece in pieces]


def hear(engine: Recogniser, *chunks: Samples) -> list[Recognition]:
    results = engine.transcribe(chunks, ENGLISH)
    assert len(results) == len(chunks)
    for result in results:
        assert isinstance(result, Recognition)
    return [result for result in results if isinstance(result, Recognition)]


def words(recognition: Recognition) -> list[Word]:
    return [word for segment in recognition.segments for word in segment.words]


def check_same(one: Recognition, other: Recognition) -> None:
    """The same words, to within a frame of the encoder."""
    assert [word.text for word in words(one)] == [word.text for word in words(other)]
    for a, b in zip(words(one), words(other), strict=True):
        assert (a.start, a.end) == pytest.approx((b.start, b.end), abs=0.03)


def test_speech_gives_words(heard: list[Recognition]) -> None:
    assert all(words(result) for result in heard)
    assert len({result.segments[0].text for result in heard}) == len(heard)


def test_results_are_in_the_order_of_the_chunks(
    engine: Recogniser, pieces: list[Samples], heard: list[Recognition]
) -> None:
    second, first = hear(engine, pieces[1], pieces[0])
    check_same(first, heard[0])
    check_same(second, heard[1])


@pytest.mark.parametrize("length", [0, 8_000])
def test_the_same_chunk_gives_the_same_whatever_is_beside_it(
    engine: Recogniser, pieces: list[Samples], heard: list[Recognition], length: int
) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, length).astype(np.float32)
    before, found, _ = hear(engine, noise, pieces[0], noise)
    check_same(found, heard[0])
    assert length or before.segments == ()


def test_an_engine_does_not_learn_from_what_it_heard(
    engine: Recogniser, pieces: list[Samples], heard: list[Recognition]
) -> None:
    assert hear(engine, pieces[0]) == heard[:1]


def test_times_are_in_order_and_within_the_chunk(
    pieces: list[Samples], heard: list[Recognition]
) -> None:
    for samples, result in zip(pieces, heard, strict=True):
        end = len(samples) / SAMPLE_RATE
        spans: list[Segment | Word] = [*words(result), *result.segments]
        for span in spans:
            assert 0 <= span.start <= span.end <= end
        for earlier, later in pairwise(words(result)):
            assert earlier.start <= later.start
        for one, following in pairwise(result.segments):
            assert one.start <= following.start


def test_what_is_told_of_words_and_segments(heard: list[Recognition]) -> None:
    for result in heard:
        for segment in result.segments:
            assert segment.text.strip()
            assert segment.text == join_words(segment.words)
            for word in segment.words:
                assert word.text == word.text.strip() != ""
                assert word.speaker is None
                assert word.probability is None or 0 <= word.probability <= 1
            if segment.scores:
                assert math.isfinite(segment.scores.avg_logprob)
                assert 0 <= segment.scores.no_speech_prob <= 1
                assert segment.scores.compression_ratio > 0


def test_tokens_spell_their_words(model: RecogniserModel, heard: list[Recognition]) -> None:
    for word in (word for result in heard for word in words(result)):
        assert bool(word.tokens) == model.spec.logprobs
        spelt = b"".join(token.data for token in word.tokens).decode()
        assert spelt.strip() == (word.text if word.tokens else "")
        for token in word.tokens:
            assert math.isfinite(token.logprob)
            assert token.logprob <= 0
            assert token.id >= 0


def test_the_language_is_told(
    engine: Recogniser, model: RecogniserModel, pieces: list[Samples], heard: list[Recognition]
) -> None:
    assert {result.language for result in heard} == {"en"}
    (result,) = engine.transcribe([pieces[0]], TranscribeOptions())
    assert isinstance(result, Recognition)
    assert result.language is None or result.language in model.spec.languages


@pytest.mark.parametrize("count", [0, 1, 160, 4_000])
def test_next_to_nothing_is_no_failure(engine: Recogniser, count: int) -> None:
    rng = np.random.default_rng(0)
    (result,) = hear(engine, rng.uniform(-0.01, 0.01, count).astype(np.float32))
    if count == 0:
        assert result.segments == ()


def test_no_chunks_no_results(engine: Recogniser) -> None:
    assert list(engine.transcribe([], ENGLISH)) == []


@pytest.mark.slow
def test_the_longest_chunk(
    engine: Recogniser, model: RecogniserModel, pieces: list[Samples]
) -> None:
    """Speech all through, so that times are as large as they get."""
    seconds = model.spec.max_chunk_seconds
    if model.spec.single_threaded:
        seconds = min(seconds, 6.0)  # to whom length makes no difference but that of patience
    longest = int(seconds * SAMPLE_RATE)
    (result,) = hear(engine, np.resize(np.concatenate(pieces), longest))
    assert words(result)
    assert words(result)[-1].end <= longest / SAMPLE_RATE


BAD = {
    "not a number": np.full(SAMPLE_RATE, np.nan, np.float32),
    "infinite": np.array([0.0, np.inf] * 800, np.float32),
    "stereo": np.zeros((2, 800), np.float32),
    "integers": np.zeros(1600, np.int16),
}


def test_bad_chunks_fail_alone(
    engine: Recogniser, pieces: list[Samples], heard: list[Recognition]
) -> None:
    bad: list[Any] = list(BAD.values())
    first, *failed, last = engine.transcribe([np.zeros(0, np.float32), *bad, pieces[0]], ENGLISH)
    assert isinstance(first, Recognition)
    assert [type(failure) for failure in failed] == [InvalidRequest] * len(BAD)
    assert isinstance(last, Recognition)
    check_same(last, heard[0])


def test_chunks_may_be_read_only(engine: Recogniser) -> None:
    """The runtime hands out views of memory that it shares."""
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 8_000).astype(np.float32)
    expected = hear(engine, samples.copy())
    samples.setflags(write=False)
    assert hear(engine, samples) == expected


def test_samples_at_full_scale_do_not_wrap_around(engine: Recogniser) -> None:
    loud = np.sign(np.sin(np.arange(SAMPLE_RATE // 2, dtype=np.float32) / 20))
    hear(engine, loud, -loud * 4)


def test_closing_twice_is_harmless_and_a_new_one_can_be_loaded(model: RecogniserModel) -> None:
    engine = build(model)
    engine.close()  # nothing was loaded
    engine.load()
    engine.close()
    engine.close()
    engine.load()
    assert hear(engine, np.zeros(SAMPLE_RATE, np.float32))
    engine.close()


def test_a_spec_can_be_planned_with(model: RecogniserModel) -> None:
    spec = model.spec
    assert spec.languages
    assert all(len(language) in (2, 3) and language.islower() for language in spec.languages)
    assert 1 <= spec.max_chunk_seconds <= 3600
    assert 0 < spec.max_gap_seconds <= spec.max_chunk_seconds
    assert spec.max_batch >= 1


def test_errors_are_values_and_not_raised(engine: Recogniser) -> None:
    bad = np.full(100, np.nan, np.float32)
    assert all(isinstance(r, ReflectorError) for r in engine.transcribe([bad, bad], ENGLISH))
