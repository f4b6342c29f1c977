"""What `engines.diarization.bic` promises, as a whole and by its parts.

`tests/api/diarization/test_diarize.py` has the same diarizer behind the door.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.engines.diarization.base import PcmRecording
from reflector_gpu.engines.diarization.bic import BicDiarizer, _Span, resegmentation
from reflector_gpu.engines.diarization.bic import turns as turns_of
from reflector_gpu.engines.diarization.bic.cepstra import HOP, WINDOW
from reflector_gpu.engines.diarization.bic.merging import Labels
from reflector_gpu.engines.diarization.bic.store import BATCH, BLOCK
from reflector_gpu.errors import ReflectorError, StorageFull
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn
from tests.engines.sounds import noise, silence

SHORTEST = 0.5
"""Seconds; a shorter turn is a whole stretch of speech."""

Span = tuple[float, float]


@dataclass
class Waveform:
    """`Pcm` in memory, which notes what is read of it."""

    samples: Samples
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.samples)

    def read(self, first: int, last: int) -> Samples:
        self.reads.append((first, last))
        found = np.zeros(last - first, np.float32)
        begin, end = max(first, 0), min(last, self.length)
        if begin < end:
            found[begin - first : end - first] = self.samples[begin:end]
        return found


class Broken(Waveform):
    def read(self, first: int, last: int) -> Samples:
        raise StorageFull("full")


@dataclass(frozen=True)
class Meeting:
    """Three people: their waveform, and who speaks from when to when."""

    samples: Samples
    turns: Sequence[tuple[str, float, float]]

    @property
    def speech(self) -> list[Span]:
        return [(start, end) for _, start, end in self.turns]

    @property
    def people(self) -> list[str]:
        return list(dict.fromkeys(name for name, _, _ in self.turns))

    def recording(self) -> PcmRecording:
        return PcmRecording(Waveform(self.samples), self.speech)

    def first(self, turns: int) -> Meeting:
        """The first so many turns."""
        end = round((self.turns[turns - 1][2] + 0.5) * SAMPLE_RATE)
        return Meeting(self.samples[:end], self.turns[:turns])

    def only(self, *people: str) -> Meeting:
        """The turns of some, one after another with half a second in between."""
        pause = silence(0.5)
        parts: list[Samples] = [pause]
        turns: list[tuple[str, float, float]] = []
        at = len(pause)
        for name, start, end in self.turns:
            if name in people:
                said = self.samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
                turns.append((name, at / SAMPLE_RATE, (at + len(said)) / SAMPLE_RATE))
                parts += [said, pause]
                at += len(said) + len(pause)
        return Meeting(np.concatenate(parts), turns)


@pytest.fixture(scope="module")
def meeting(standup: Path, speech: Samples) -> Meeting:
    known = json.loads(standup.with_suffix(".json").read_text(encoding="utf-8"))
    turns = [(turn["speaker"], turn["start"], turn["end"]) for turn in known["turns"]]
    return Meeting(speech, turns)


def diarize(recording: PcmRecording, options: DiarizeOptions | None = None) -> list[SpeakerTurn]:
    (found,) = BicDiarizer().diarize([recording], options or DiarizeOptions())
    assert not isinstance(found, ReflectorError)
    check_turns(found, recording.seconds)
    return list(found)


def check_turns(turns: Sequence[SpeakerTurn], seconds: float) -> None:
    """What every diarizer promises of its turns."""
    assert all(0 <= turn.start < turn.end <= seconds for turn in turns)
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    speakers = [turn.speaker for turn in turns]
    assert list(dict.fromkeys(speakers)) == list(range(len(set(speakers))))
    for speaker in set(speakers):
        own = [turn for turn in turns if turn.speaker == speaker]
        assert all(one.end <= other.start for one, other in pairwise(own))


def count(turns: Sequence[SpeakerTurn]) -> int:
    return len({turn.speaker for turn in turns})


# Recordings


def test_where_nobody_speaks_there_are_no_turns() -> None:
    for samples in (silence(5), noise(5), silence(0)):
        assert diarize(PcmRecording(Waveform(samples))) == []


@pytest.mark.parametrize("span", [(1.0, 1.0), (1.0, 1.09), (4.99, 5.0), (5.0, 5.0)])
def test_speech_under_a_tenth_of_a_second_has_no_turn(span: Span) -> None:
    assert diarize(PcmRecording(Waveform(noise(5)), [span])) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [silence(30), np.full(480_000, 0.3, np.float32), noise(30)])
def test_a_sound_that_never_changes_is_one_speaker(samples: Samples) -> None:
    found = diarize(PcmRecording(Waveform(samples), [(0.0, 10.0), (11.0, 30.0)]))
    assert found == [SpeakerTurn(0.0, 10.0, 0), SpeakerTurn(11.0, 30.0, 0)]


def test_a_single_speaker_is_one_speaker(meeting: Meeting) -> None:
    for name in meeting.people:
        alone = meeting.only(name)
        assert count(diarize(alone.recording())) == 1, name


def test_two_speakers_have_the_turns_of_the_script(meeting: Meeting) -> None:
    for pair in pairwise(meeting.people):
        two = meeting.only(*pair)
        found = diarize(two.recording())
        numbers = {name: number for number, name in enumerate(two.people)}
        assert found == [SpeakerTurn(start, end, numbers[who]) for who, start, end in two.turns]


@pytest.mark.parametrize(
    ("options", "few", "many"),
    [
        (DiarizeOptions(num_speakers=1), 1, 1),
        (DiarizeOptions(num_speakers=2), 2, 2),
        (DiarizeOptions(num_speakers=4), 4, 4),
        (DiarizeOptions(num_speakers=7), 7, 7),
        (DiarizeOptions(max_speakers=2), 1, 2),
        (DiarizeOptions(max_speakers=9), 3, 3),
        (DiarizeOptions(min_speakers=5), 5, 9),
        (DiarizeOptions(min_speakers=4, max_speakers=4), 4, 4),
        (DiarizeOptions(num_speakers=2, min_speakers=1, max_speakers=9), 2, 2),
    ],
)
def test_numbers_of_speakers_are_kept_to(
    meeting: Meeting, options: DiarizeOptions, few: int, many: int
) -> None:
    assert few <= count(diarize(meeting.first(6).recording(), options)) <= many


def test_of_few_words_no_hundred_speakers_are_made(meeting: Meeting) -> None:
    found = diarize(
        PcmRecording(Waveform(meeting.samples), meeting.speech[:1]),
        DiarizeOptions(num_speakers=100),
    )
    assert 1 <= count(found) <= meeting.speech[0][1] - meeting.speech[0][0]


def test_nobody_speaks_for_a_moment_only(meeting: Meeting) -> None:
    """Where a pause is heard as speech, the change of speakers may be found anywhere in it."""
    padded = [(start - 0.1, end + 0.1) for start, end in meeting.speech]
    found = diarize(PcmRecording(Waveform(meeting.samples), padded))
    assert count(found) == 3
    assert [t for t in found if t.end - t.start < SHORTEST and (t.start, t.end) not in padded] == []


def test_nobody_speaks_for_a_moment_only_at_the_end_of_a_long_recording(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pieces are looked at one by one; in the last half second somebody else begins."""
    begins, seconds = 26.1, 26.7
    monkeypatch.setattr(resegmentation, "_PIECE", round(begins * 10))
    found = diarize(PcmRecording(Waveform(meeting.samples), [(0.0, seconds)]))
    assert min(turn.end - turn.start for turn in found) > 1.5 - 1e-9


def test_the_same_recording_gives_the_same_whatever_is_beside_it(meeting: Meeting) -> None:
    three, two = meeting.first(6), meeting.only(*meeting.people[:2])
    alone = [diarize(one.recording()) for one in (three, two)]
    broken = PcmRecording(Broken(three.samples), three.speech)
    engine = BicDiarizer()
    engine.load()
    found = engine.diarize(
        [two.recording(), broken, three.recording(), PcmRecording(Waveform(noise(1)))],
        DiarizeOptions(),
    )
    assert isinstance(found[1], StorageFull)
    assert [found[2], found[0], found[3]] == [*alone, []]


def test_a_recording_is_read_a_minute_at_a_time_and_once(meeting: Meeting) -> None:
    waveform = Waveform(meeting.samples)
    seconds = waveform.length / SAMPLE_RATE
    diarize(PcmRecording(waveform, [(0.0, seconds)]))
    assert max(last - first for first, last in waveform.reads) <= BATCH * HOP + WINDOW
    assert BATCH * HOP == 60 * SAMPLE_RATE
    twice = sum(last - first for first, last in waveform.reads) - waveform.length
    assert twice <= WINDOW * len(waveform.reads)


# Parts


@st.composite
def labelled_spans(draw: st.DrawFn) -> tuple[list[_Span], Labels]:
    """Stretches of speech, and somebody of 150 for every block of them."""
    spans: list[_Span] = []
    at = 0
    for gap, blocks in draw(
        st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), min_size=1, max_size=8)
    ):
        first = at + gap
        at = first + blocks * BLOCK + draw(st.integers(0, BLOCK - 1))
        spans.append(_Span(first / 100, at / 100, first, blocks))
    labels: list[int] = []
    wanted = sum(span.blocks for span in spans)
    while len(labels) < wanted:
        labels += [draw(st.integers(0, 149))] * draw(st.integers(1, 20))
    return spans, np.array(labels[:wanted])


@settings(max_examples=50)
@given(labelled_spans())
def test_turns_are_the_speech_and_no_more(case: tuple[list[_Span], Labels]) -> None:
    spans, labels = case
    found = turns_of(spans, labels)
    check_turns(found, spans[-1].end)
    for span in spans:
        own = [turn for turn in found if span.start <= turn.start < span.end]
        assert (own[0].start, own[-1].end) == (span.start, span.end)
        assert all(a.end == b.start and a.speaker != b.speaker for a, b in pairwise(own))
        assert len(own) == 1 or min(turn.end - turn.start for turn in own) > SHORTEST - 1e-9


def test_more_than_a_hundred_speakers_stay_apart() -> None:
    spans = [_Span(float(k), k + 0.8, 100 * k, 8) for k in range(300)]
    who = np.random.default_rng(0).permutation(np.arange(300) % 150)
    found = turns_of(spans, np.repeat(who, 8))
    names = dict.fromkeys(who.tolist())
    numbers = {name: number for number, name in enumerate(names)}
    assert [turn.speaker for turn in found] == [numbers[name] for name in who.tolist()]
    assert count(found) == 150


@settings(max_examples=25)
@given(runs=st.lists(st.tuples(st.integers(0, 149), st.integers(15, 60)), min_size=1, max_size=12))
def test_the_best_path_is_found_among_many_voices(runs: list[tuple[int, int]]) -> None:
    labels = np.concatenate([np.full(length, who) for who, length in runs])
    scores = np.zeros((len(labels), 150), np.float32)
    scores[np.arange(len(labels)), labels] = 1.0
    np.testing.assert_array_equal(resegmentation._best_path(scores), labels)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), blocks=st.integers(1, 300), voices=st.integers(1, 6))
def test_no_path_has_a_turn_of_less_than_a_second_and_a_half(
    seed: int, blocks: int, voices: int
) -> None:
    scores = np.random.default_rng(seed).normal(size=(blocks, voices)).astype(np.float32)
    path = resegmentation._best_path(scores)
    edges = [0, *(np.flatnonzero(np.diff(path)) + 1), blocks]
    assert len(edges) == 2 or min(b - a for a, b in pairwise(edges)) >= 15
