"""Labels while a recording goes on: `PyannetDiarizer.live`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from reflector_gpu.engines.diarization.pyannet import PyannetDiarizer, company
from reflector_gpu.engines.diarization.pyannet import live as live_module
from reflector_gpu.engines.diarization.pyannet.company import Company
from reflector_gpu.engines.diarization.pyannet.networks import DIMENSIONS, Voice
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn
from tests.engines.conversations import error_rate
from tests.engines.diarization.pyannet.test_pyannet import conversation, told

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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_who_says_something_is_known_when_it_has_been_said(engine: PyannetDiarizer) -> None:
    sound, truth = conversation("ADH")
    session = engine.live()
    at, right = 0, 0
    found: dict[int, int] = {}
    for turn in truth:
        end = round(turn.end * SAMPLE_RATE)
        session.push(sound[at:end])
        at = end
        who = session.speaker(turn.start, turn.end)
        assert who is not None
        right += found.setdefault(turn.speaker, who) == who
    assert right / len(truth) > 0.8


@pytest.mark.slow
def test_long_silences_cost_nothing_and_people_are_the_same_after_them(
    engine: PyannetDiarizer,
) -> None:
    sound, truth = conversation("AD", limit=4)
    session, hours = engine.live(), 3 * 3600
    session.push(sound)
    before = [session.speaker(turn.start, turn.end) for turn in truth]
    session.skip(hours * SAMPLE_RATE)
    session.push(sound)
    later = len(sound) / SAMPLE_RATE + hours
    after = [session.speaker(turn.start + later, turn.end + later) for turn in truth]
    assert after == before
    assert session.speaker(3600.0, 3601.0) is None
    turns = session.finish(NOTHING_TOLD)
    assert all(t.end < later - hours + 1 or t.start > later - 1 for t in turns)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_recording(
    engine: PyannetDiarizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(company, "_MOST", 12)
    monkeypatch.setattr(live_module, "_MOST_WINDOWS", 10)
    sound, truth = conversation("ADH")
    session = engine.live()
    parts = session.push(sound)
    assert error_rate(parts, truth) < 0.2
    assert len(session._company._sums) <= 13
    assert len(session._windows) == 10
    final = session.finish(NOTHING_TOLD)
    assert final[0].start < 1, "what was forgotten stays as it was told"
    assert error_rate(final, truth) < 0.2


@pytest.mark.slow
def test_a_company_is_the_sum_of_old_voices() -> None:
    rng = np.random.default_rng(1)
    people = np.eye(3, DIMENSIONS, dtype=np.float32)
    everybody = Company()
    for window in range(1500):
        who = window % 3
        vector = people[who] + 0.04 * rng.standard_normal(DIMENSIONS).astype(np.float32)
        vector /= np.linalg.norm(vector)
        voice = Voice(window, 0, vector.astype(np.float16), clear=True)
        assert everybody.numbers([voice]) == [who]
    assert len(everybody._sums) <= company._MOST
    assert sum(everybody._sizes) == 1500
    assert len(everybody.corrected(NOTHING_TOLD)) == 3
