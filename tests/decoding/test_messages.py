"""What a decoder tells is read back as it was, and what none of ours would tell is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.decoding.messages import (
    HEAD,
    Claimed,
    Cut,
    Ended,
    Failed,
    Message,
    Needs,
    Passed,
    read,
    written,
)
from reflector_gpu.errors import EngineFailed, ReflectorError, StorageFull, UndecodableAudio
from reflector_gpu.types import Condition, Track, Truncation

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
def test_a_message_is_read_as_it_was_written(message: Message, data: bytes) -> None:
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
