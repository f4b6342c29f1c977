"""Speakers whose voices are known, by name."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.pipeline.identification import KnownSpeaker, named
from reflector_gpu.pipeline.voices import Voice, allowing_for, identify
from reflector_gpu.service.known_speakers import closest
from reflector_gpu.types import DiarizeOptions, SpeakerTurn
from tests.api.support import silence

Span = tuple[float, float]


def turns(spec: str) -> list[SpeakerTurn]:
    """``0-3:0 3-5:1`` are two turns."""
    parts = [re.split("[-:]", part) for part in spec.split()]
    return [SpeakerTurn(float(a), float(b), int(speaker)) for a, b, speaker in parts]


@pytest.mark.parametrize(
    ("spec", "called", "left"),
    [
        # The recording has ten seconds; Anna's voice is at 11 to 16, Ben's at 17 to 22.
        ("0-4:0 4-9:1 11-16:1 17-22:0", "Ben Anna", "0-4:0 4-9:1"),
        ("0-4:0 4-9:1 11-16:2 17-22:1", "A Ben", "0-4:0 4-9:1"),
        ("0-4:0 4-9:1 11-16:2 17-22:3", "A B", "0-4:0 4-9:1"),
        ("4-9:0 11-16:0 17-22:0", "Anna", "4-9:0"),
        # A turn that runs on into the voices ends with the recording.
        ("4-16:0 17-22:1", "Anna", "4-10:0"),
        # Who is first in the voices alone leaves no hole in the numbers.
        ("0-1:7 2-9:3 11-16:5 17-22:3", "A Ben", "0-1:0 2-9:1"),
        ("11-16:0 17-22:1", "", ""),
        ("", "", ""),
    ],
)
def test_a_speaker_heard_in_a_voice_gets_its_name(spec: str, called: str, left: str) -> None:
    found, voices = identify(turns(spec), 10, ["Anna", "Ben"], [(11, 16), (17, 22)])
    names = named(found, voices, {})
    assert [names[n] for n in range(len(names))] == called.split()
    assert found == turns(left)


def test_two_voices_that_are_one_speaker_leave_the_name_of_the_longer() -> None:
    where = [(11.0, 13.0), (14.0, 19.0)]
    _, names = identify(turns("0-9:0 11-19:0"), 10, ["Anna", "Ben"], where)
    assert names == {0: "Ben"}


def test_a_letter_that_is_somebodys_name_is_nobody_elses() -> None:
    found, names = identify(turns("0-4:0 4-9:1 11-16:1"), 10, ["A"], [(11, 16)])
    assert named(found, names, {}) == {0: "B", 1: "A"}


def test_the_remembered_are_named_beside_those_whose_voices_were_sent() -> None:
    found = turns("0-4:0 4-9:1 9-12:2")
    known = {2: KnownSpeaker("A", 0.8)}
    assert named(found, {1: "Ben"}, known) == {0: "B", 1: "Ben", 2: "A"}


def test_no_voice_is_matched_twice_and_strangers_not_at_all() -> None:
    anna, ben, stranger = np.eye(3, dtype=np.float32)
    near = (anna + 0.5 * ben) / np.linalg.norm(anna + 0.5 * ben)
    found = closest({0: anna, 1: near, 2: stranger}, {"Anna": anna, "Ben": ben})
    assert found == {0: KnownSpeaker("Anna", 1.0)}
    assert closest({1: near}, {"Anna": anna, "Ben": ben})[1].name == "Anna"


starts = st.lists(st.floats(0, 40), min_size=0, max_size=20).map(sorted)


@given(starts, st.data())
def test_names_are_never_shared_and_numbers_have_no_holes(
    times: list[float], data: st.DataObject
) -> None:
    given_turns = [
        SpeakerTurn(a, b, data.draw(st.integers(0, 5))) for a, b in pairwise(times) if a < b
    ]
    where = [(20.0 + 5 * i, 24.0 + 5 * i) for i in range(4)]
    found, names = identify(given_turns, 20, ["Anna", "Ben", "Carl", "Dora"], where)
    names = dict(named(found, names, {}))
    assert list(dict.fromkeys(turn.speaker for turn in found)) == list(range(len(names)))
    assert len(set(names.values())) == len(names)
    assert all(turn.start < turn.end <= 20 for turn in found)


@pytest.mark.parametrize(
    ("told", "passed_on"),
    [
        (DiarizeOptions(), DiarizeOptions()),
        (DiarizeOptions(num_speakers=2), DiarizeOptions(min_speakers=2, max_speakers=3)),
        (DiarizeOptions(max_speakers=4), DiarizeOptions(min_speakers=1, max_speakers=5)),
        (DiarizeOptions(min_speakers=3), DiarizeOptions(min_speakers=3)),
    ],
)
def test_a_voice_may_be_of_somebody_who_is_not_there(
    told: DiarizeOptions, passed_on: DiarizeOptions
) -> None:
    assert allowing_for(told, [Voice("Anna", silence(1))]) == passed_on
    assert allowing_for(told, []) == told
