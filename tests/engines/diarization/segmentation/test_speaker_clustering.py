"""Which voices are one person's, and whose turns that makes: the steps behind the two networks."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.diarization.segmentation.clustering import assigned, people
from reflector_gpu.engines.diarization.segmentation.filterbank import fbank
from reflector_gpu.engines.diarization.segmentation.linkage import Vectors
from reflector_gpu.engines.diarization.segmentation.networks import powerset
from reflector_gpu.engines.diarization.segmentation.pairing import NOBODY
from reflector_gpu.engines.diarization.segmentation.reconstruction import (
    Grid,
    Windows,
    turns,
)
from reflector_gpu.types import DiarizeOptions, SpeakerTurn

NOTHING_TOLD = DiarizeOptions()
SHIFT = 160
"""Frames of 10 ms, for times that are easy to read."""


def voices_of(owners: npt.NDArray[np.intp], spread: float = 0.1, seed: int = 0) -> Vectors:
    """A voice for each of ``owners``: near to those of the same one, far from all others."""
    rng = np.random.default_rng(seed)
    centres = np.eye(max(2, int(owners.max()) + 1), 256)[owners]
    found = centres + spread * rng.standard_normal(centres.shape) / 16
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


# Clustering


@given(count=st.integers(1, 6), each=st.integers(1, 20), seed=st.integers(0, 100))
def test_every_person_is_found(count: int, each: int, seed: int) -> None:
    owners = np.random.default_rng(seed).permutation(np.repeat(np.arange(count), each))
    voices = voices_of(owners, seed=seed)
    centroids = people(voices, 5, NOTHING_TOLD)
    assert len(centroids) == count
    found = [int(assigned(voice[None], centroids)[0]) for voice in voices]
    assert len({*zip(owners.tolist(), found, strict=True)}) == count


@pytest.mark.parametrize("each", [2, 12])
def test_many_people_do_not_collide(each: int) -> None:
    """More than a byte could number, in a recording that is clustered part by part."""
    owners = np.random.default_rng(1).permutation(np.repeat(np.arange(200), each))
    voices = voices_of(owners)
    centroids = people(voices, 5, NOTHING_TOLD)
    assert len(centroids) == 200
    found = (voices @ centroids.T).argmax(axis=1)
    assert len({*zip(owners.tolist(), found.tolist(), strict=True)}) == 200


@pytest.mark.slow
def test_hours_take_no_more_than_parts_of_them() -> None:
    owners = np.arange(3000) * 7 // 3000
    assert len(people(voices_of(owners), 12, NOTHING_TOLD)) == 7


def test_somebody_barely_heard_joins_another_cluster() -> None:
    owners = np.array([0] * 30 + [1] * 30 + [2])
    assert len(people(voices_of(owners), 5, NOTHING_TOLD)) == 2
    assert len(people(voices_of(owners), 5, DiarizeOptions(num_speakers=3))) == 3


@given(
    count=st.integers(1, 5),
    each=st.integers(1, 8),
    fewest=st.integers(1, 12),
    more=st.integers(0, 5),
)
def test_the_number_of_people_is_respected(count: int, each: int, fewest: int, more: int) -> None:
    voices = voices_of(np.repeat(np.arange(count), each))
    options = DiarizeOptions(min_speakers=fewest, max_speakers=fewest + more)
    found = people(voices, 5, options)
    assert min(fewest, len(voices)) <= len(found) <= fewest + more
    if fewest <= count <= fewest + more:
        assert len(found) == count


def test_one_windows_speakers_are_different_people() -> None:
    centroids = np.eye(3, 256, dtype=np.float32)
    alike = voices_of(np.array([0, 0]))
    assert sorted(assigned(alike, centroids)) != [0, 0]
    assert list(assigned(alike, centroids[:1])) == [0, 0], "unless there are not so many"


# Sets of speakers


@given(speakers=st.integers(1, 6), together=st.integers(1, 6))
def test_each_set_of_speakers_has_one_class(speakers: int, together: int) -> None:
    together = min(speakers, together)
    table = powerset(speakers, together)
    sets = [frozenset(np.flatnonzero(row).tolist()) for row in table]
    assert len(set(sets)) == len(sets)
    wanted = {frozenset(s) for n in range(together + 1) for s in combinations(range(speakers), n)}
    assert set(sets) == wanted
    assert [len(one) for one in sets] == sorted(len(one) for one in sets)


def test_the_classes_are_pyannotes() -> None:
    table = powerset(3, 2).astype(int).tolist()
    assert table == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]


# From windows to turns


def windows_of(
    truth: npt.NDArray[np.bool_], frames: int, step: int, seed: int
) -> tuple[Windows, npt.NDArray[np.intp]]:
    """What a faultless network would hear of ``truth`` [frames, people], its speakers in any
    order, and who they are."""
    rng = np.random.default_rng(seed)
    grid = Grid(SHIFT // 2, SHIFT, frames, step * SHIFT)
    slots = truth.shape[1]
    windows = Windows(grid, slots)
    count = 1 + max(0, -(-(len(truth) - frames) // step))
    padded = np.pad(truth, ((0, count * step + frames), (0, 0)))
    who = np.full((count, slots), NOBODY)
    for w in range(count):
        order = rng.permutation(slots)
        heard = padded[w * step : w * step + frames][:, order]
        windows.append(heard)
        who[w] = np.where(heard.any(axis=0), order, NOBODY)
    return windows, who


@given(data=st.data())
def test_turns_are_those_that_all_windows_hear(data: st.DataObject) -> None:
    slots, length = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 60))
    cells = st.lists(st.booleans(), min_size=slots * length, max_size=slots * length)
    truth = np.array(data.draw(cells)).reshape(length, slots)
    frames = data.draw(st.integers(3, 20))
    windows, who = windows_of(truth, frames, data.draw(st.integers(1, frames)), 3)
    found = turns(windows, who, seconds=length / 100)

    spoken = []
    for k in range(slots):
        edges = np.flatnonzero(np.diff(np.pad(truth[:, k].astype(int), 1)))
        spoken.append([(int(a), int(b)) for a, b in edges.reshape(-1, 2)])
    order = sorted((own[0], k) for k, own in enumerate(spoken) if own)
    wanted = [(a, b, number) for number, (_, k) in enumerate(order) for a, b in spoken[k]]
    told = [(round(t.start * 100), round(t.end * 100), t.speaker) for t in found]
    assert sorted(told) == sorted(wanted)
    assert [turn.start for turn in found] == sorted(turn.start for turn in found)


@given(seed=st.integers(0, 1000), most=st.integers(1, 3))
def test_whatever_is_heard_turns_are_sound(seed: int, most: int) -> None:
    """Windows that contradict each other, speakers who are taken for the same person."""
    rng = np.random.default_rng(seed)
    windows = Windows(Grid(SHIFT // 2, SHIFT, 20, 5 * SHIFT), 3)
    for _ in range(8):
        windows.append(rng.random((20, 3)) < rng.random())
    who = rng.integers(NOBODY, most, (8, 3))
    found = turns(windows, who, seconds=0.5, most=most)
    assert {turn.speaker for turn in found} == set(range(len({turn.speaker for turn in found})))
    for turn in found:
        assert 0 <= turn.start < turn.end <= 0.5
    for speaker in {turn.speaker for turn in found}:
        own = [turn for turn in found if turn.speaker == speaker]
        assert all(one.end < other.start for one, other in pairwise(own))
    edges = sorted({time for turn in found for time in (turn.start, turn.end)})
    for one, other in pairwise(edges):
        middle = (one + other) / 2
        assert sum(turn.start <= middle < turn.end for turn in found) <= most


def test_a_turn_goes_on_over_the_blocks_that_are_looked_at() -> None:
    truth = np.zeros((25_000, 2), bool)
    truth[500:24_000, 0] = True
    truth[9_990:10_010, 1] = True
    windows, who = windows_of(truth, 1000, 250, 4)
    assert turns(windows, who, seconds=250.0) == [
        SpeakerTurn(5.0, 240.0, 0),
        SpeakerTurn(99.9, 100.1, 1),
    ]


# Features


def test_features_are_kaldis() -> None:
    """Against figures of kaldi-native-fbank 1.23.0 on the same sound."""
    time = np.arange(800) / 16000
    sound = 3000 * np.sin(2 * np.pi * 300 * time) + 500 * np.sin(2 * np.pi * 3000 * time)
    frames = fbank(sound.astype(np.float32), "hamming")
    assert frames.shape == (3, 80)
    np.testing.assert_allclose(frames[1, [0, 8, 20, 52, 79]], KALDI["hamming"], rtol=1e-4)
    povey = fbank(sound.astype(np.float32), "povey")
    np.testing.assert_allclose(povey[1, [0, 8, 20, 52, 79]], KALDI["povey"], rtol=1e-4)
    assert fbank(np.zeros(399, np.float32), "povey").shape == (0, 80)


KALDI = {
    "hamming": [12.014310, 18.341862, 10.322306, 22.255344, 9.528058],
    "povey": [11.713402, 18.505726, 4.943440, 22.264814, -5.687158],
}
