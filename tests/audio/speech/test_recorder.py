"""One decoding for two: what passes is kept, and what speech was found is remembered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.audio.chunk import chunker, chunks
from reflector_gpu.audio.recorder import Recorder
from reflector_gpu.audio.speech import speech_spans
from reflector_gpu.audio.vad import VadOptions
from reflector_gpu.errors import ShuttingDown
from reflector_gpu.types import SAMPLE_RATE, Samples

HALF_A_STEP = 0.5 / 32768 + 1e-7


def blocks(samples: Samples, size: int) -> Iterator[Samples]:
    return (samples[first : first + size] for first in range(0, len(samples), size))


@given(st.integers(1, 5_000), st.integers(0, 20_000), st.data())
def test_any_part_can_be_read_again_to_16_bits(size: int, length: int, data: st.DataObject) -> None:
    dice = np.random.default_rng(length)
    samples = dice.uniform(-1, 1, length).astype(np.float32)
    with closing(Recorder()) as recorder:
        assert sum(len(block) for block in recorder.kept(blocks(samples, size))) == length
        first = data.draw(st.integers(0, length))
        last = data.draw(st.integers(first, length + 100))
        found = recorder.read(first, last)
        assert len(found) == last - first
        expected = np.pad(samples[first:last], (0, last - max(first, min(last, length))))
        assert np.abs(found - expected).max(initial=0) <= 2 * HALF_A_STEP
        assert recorder.seconds == length / SAMPLE_RATE


def test_listening_finds_the_speech_that_is_there(speech: Samples) -> None:
    with closing(Recorder()) as recorder:
        times = list(recorder.listen(blocks(speech, 9_999), recorder.detector()))
        assert times == sorted(times)
        assert times[-1] == recorder.seconds == len(speech) / SAMPLE_RATE
        assert recorder.speech == speech_spans([speech])


def test_what_is_appended_is_speech_where_it_was_spoken(speech: Samples) -> None:
    quiet = np.zeros(40_001, np.float32)  # ends inside a window
    with closing(Recorder()) as recorder:
        list(recorder.listen(blocks(quiet, 9_999), recorder.detector()))
        recorder.append(speech[:80_000])
        begin = recorder.seconds - 5
        assert 0 <= begin - len(quiet) / SAMPLE_RATE < 0.032
        first = round(begin * SAMPLE_RATE)
        kept = recorder.read(first, first + 1000)
        assert np.abs(kept - speech[:1000]).max() <= 2 * HALF_A_STEP
        moved = [(begin + a, begin + b) for a, b in speech_spans([speech[:80_000]])]
        assert np.ravel(recorder.speech) == pytest.approx(np.ravel(moved))


def test_a_recognisers_detector_serves_both(speech: Samples) -> None:
    with closing(Recorder()) as recorder:
        cutter = chunker(recorder.detector(), max_seconds=20, max_gap=1, options=VadOptions())
        cut = [
            chunk for block in recorder.kept(blocks(speech, 16_384)) for chunk in cutter.push(block)
        ]
        cut += cutter.finish()
        alone = list(chunks(blocks(speech, 16_384), max_seconds=20, max_gap=1))
        assert [chunk.start for chunk in cut] == [chunk.start for chunk in alone]
        assert recorder.speech == speech_spans([speech])


def test_what_another_process_has_written_can_be_taken_over(speech: Samples) -> None:
    with closing(Recorder()) as recorder, closing(Recorder()) as other:
        list(other.listen(blocks(speech, 9_999), other.detector()))
        os.write(recorder.descriptor, os.pread(other.descriptor, 2 * len(speech), 0))
        recorder.pcm.measure()
        recorder.settle(other.probabilities)
        assert recorder.complete.done()
        assert recorder.seconds == other.seconds
        assert recorder.speech == other.speech == speech_spans([speech])


def test_nothing_is_kept_once_it_is_closed(speech: Samples) -> None:
    recorder = Recorder()
    recorder.close()
    with pytest.raises(ShuttingDown):
        list(recorder.kept([speech]))
