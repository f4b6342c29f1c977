"""What a decoder tells is read back as it was, and what none of ours would tell is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.decoding.messages import (
    HEAD,
    Claimed,
    Cut,
    DecoderMessage,
    Ended,
    Failed,
    Needs,
    Passed,
    Told,
    written,
)
from reflector_gpu.decoding.validation import MessageCheck, read
from reflector_gpu.errors import EngineFailed, ReflectorError, StorageFull, UndecodableAudio
from reflector_gpu.types import SAMPLE_RATE, Condition, Span, Track, Truncation

SECONDS = st.floats(0, 1e6)
SPANS = st.lists(st.tuples(SECONDS, SECONDS), max_size=3).map(tuple)
TRACKS = st.builds(Track, st.integers(0, 99), st.none() | st.text(), st.none() | st.text())
CONDITIONS = st.builds(
    Condition,
    SPANS,
    st.none() | st.builds(Truncation, SECONDS, st.none() | SECONDS),
    st.none() | TRACKS,
    st.lists(TRACKS, max_size=3).map(tuple),
)
MESSAGES = st.one_of(
    st.builds(Claimed, SECONDS),
    st.builds(Passed, SECONDS),
    st.builds(Cut, SECONDS, st.integers(0, 480_000), SPANS, SECONDS),
    st.builds(Needs, st.integers(0, 2**40)),
    st.builds(Ended, SECONDS, CONDITIONS),
    st.builds(Failed, st.text(), st.text(), st.none() | st.text()),
)


@given(MESSAGES, st.binary(max_size=100))
def test_a_message_is_read_as_it_was_written(message: DecoderMessage, data: bytes) -> None:
    whole = b"".join(written(message, data))
    length, size = HEAD.unpack(whole[: HEAD.size])
    body = whole[HEAD.size :]
    assert read(body[:length]) == message
    assert (size, body[length:]) == (len(data), data)


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "cut", "start": -1.0, "length": 1, "voiced": [], "seconds": 1.0},
        {"kind": "cut", "start": float("nan"), "length": 1, "voiced": [], "seconds": 1.0},
        {"kind": "cut", "start": 0.0, "length": 2**40, "voiced": [], "seconds": 1.0},
        {"kind": "passed", "seconds": float("inf")},
        {"kind": "claimed", "seconds": "x"},
        {"kind": "needs", "offset": -1},
        {"kind": "run", "code": "x"},
        {},
        [],
    ],
)
def test_what_no_decoder_of_ours_tells_is_refused(told: object) -> None:
    with pytest.raises(ValueError, match="validation error"):
        read(json.dumps(told).encode())


@pytest.mark.parametrize(
    "error", [UndecodableAudio("No.", param="file"), StorageFull("Full."), EngineFailed("Hm.")]
)
def test_an_error_comes_back_as_it_was(error: ReflectorError) -> None:
    found = Failed.by(error).exception()
    assert (type(found), found.message, found.param) == (type(error), error.message, error.param)


@pytest.mark.parametrize("name", ["SystemExit", "annotations", "blaming", "nonesuch"])
def test_an_error_that_is_none_of_ours_is_the_engines(name: str) -> None:
    assert type(Failed(name, "x").exception()) is EngineFailed


def chunk(start: float, samples: list[float], *voiced: Span) -> Told:
    return Cut(start, len(samples), voiced, start), np.array(samples, np.float32).tobytes()


SECOND = [0.5] * SAMPLE_RATE


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ([(Passed(1.0), b"x")], "1 bytes beside a message"),
        ([(Claimed(1.0), b"x")], "1 bytes beside a message"),
        ([(Cut(0.0, 2, (), 1.0), b"1234")], "4 bytes for 2 samples"),
        ([chunk(2.0, SECOND), chunk(1.0, SECOND)], "begins before the one before it"),
        ([chunk(0.0, SECOND, (0.5, 3.0))], "speech outside"),
        ([chunk(0.0, SECOND, (0.5, 0.2))], "speech outside"),
        ([chunk(0.0, SECOND, (0.5, math.nan))], "speech outside"),
        ([chunk(0.0, [0.1, math.nan])], "no numbers"),
        ([chunk(0.0, [0.1, math.inf])], "no numbers"),
    ],
)
def test_what_no_job_tells_is_refused(told: list[Told], reason: str) -> None:
    check = MessageCheck(with_samples=True)
    for message, data in told[:-1]:
        check(message, data)
    with pytest.raises(ValueError, match=reason):
        check(*told[-1])


def test_what_a_job_tells_is_let_through() -> None:
    check = MessageCheck(with_samples=True)
    for message, data in (
        (Claimed(5.0), b""),
        chunk(1.0, SECOND, (0.0, 0.5), (0.6, 1.02)),
        chunk(1.0, SECOND),
        (Ended(5.0), b"findings"),
    ):
        check(message, data)
    with pytest.raises(ValueError, match="64000 bytes for 16000 samples"):
        MessageCheck(with_samples=False)(*chunk(0.0, SECOND))
