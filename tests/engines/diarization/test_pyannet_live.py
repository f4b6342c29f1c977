"""Labels while a recording goes on: `PyannetDiarizer.live`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from reflector_gpu.engines.diarization.pyannet import PyannetDiarizer
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn
from tests.engines.conversations import error_rate
from tests.engines.diarization.test_pyannet import conversation, told

NOTHING_TOLD = DiarizeOptions()


@pytest.fixture(scope="module")
def engine() -> Iterator[PyannetDiarizer]:
    engine = PyannetDiarizer()
    engine.load()
    yield engine
    engine.close()


def live(
    engine: PyannetDiarizer, sound: Samples, piece: int
) -> tuple[list[SpeakerTurn], list[SpeakerTurn]]:
    """What is told while ``sound`` comes in pieces, and what at its end."""
    session = engine.live()
    parts: list[SpeakerTurn] = []
    for begin in range(0, len(sound), piece):
        parts += session.push(sound[begin : begin + piece])
    parts += session.rest()
    return parts, session.finish(NOTHING_TOLD)


def test_people_keep_their_numbers_and_the_end_is_as_good_as_offline(
    engine: PyannetDiarizer,
) -> None:
    sound, truth = conversation("ADH")
    parts, final = live(engine, sound, SAMPLE_RATE // 2)
    assert error_rate(parts, truth) < 0.2
    offline = told(engine, sound)
    assert [(turn.start, turn.end) for turn in final] == [(t.start, t.end) for t in offline]
    pairs = {(one.speaker, other.speaker) for one, other in zip(final, offline, strict=True)}
    assert len(pairs) == len({turn.speaker for turn in offline}), "the same people"
    assert error_rate(final, truth) <= error_rate(parts, truth)
    assert agreement(parts, final) > 0.9, "hardly a number changes at the end"


def agreement(parts: list[SpeakerTurn], final: list[SpeakerTurn]) -> float:
    """The share of what was told whose number stays."""
    same, both = 0.0, 0.0
    for one in parts:
        for other in final:
            common = max(0.0, min(one.end, other.end) - max(one.start, other.start))
            both += common
            same += common if one.speaker == other.speaker else 0.0
    return same / both


def test_how_samples_are_cut_is_no_matter(engine: PyannetDiarizer) -> None:
    sound, _ = conversation("AD", limit=4)
    assert live(engine, sound, 1600) == live(engine, sound, len(sound))


def test_turns_are_told_soon_and_once(engine: PyannetDiarizer) -> None:
    sound, _ = conversation("AD", limit=4)
    session = engine.live()
    until = 0.0
    for begin in range(0, len(sound), SAMPLE_RATE):
        for turn in session.push(sound[begin : begin + SAMPLE_RATE]):
            assert until - 5.0 <= turn.start < turn.end <= (begin + SAMPLE_RATE) / SAMPLE_RATE
            until = max(until, turn.end)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 7.0])
def test_silence_has_no_speakers(engine: PyannetDiarizer, seconds: float) -> None:
    sound = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    assert live(engine, sound, 1000) == ([], [])


def test_a_few_words_are_told_at_the_end(engine: PyannetDiarizer) -> None:
    sound, _ = conversation("D", limit=1)
    parts, final = live(engine, sound[: 4 * SAMPLE_RATE], 1600)
    assert {turn.speaker for turn in parts} == {turn.speaker for turn in final} == {0}
