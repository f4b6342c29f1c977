"""The diarizer that comes with the package, on synthetic voices and on arrays of voices."""

from __future__ import annotations

import functools
import json
import os
import re
import wave
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.diarization.base import PcmRecording
from reflector_gpu.engines.diarization.pyannet import PyannetDiarizer, mel, networks
from reflector_gpu.engines.diarization.pyannet.clustering import assigned, people
from reflector_gpu.engines.diarization.pyannet.joining import probability
from reflector_gpu.pipeline.attribution import attribute
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, Segment, SpeakerTurn, Word
from tests.engines.conversations import error_rate

NOTHING_TOLD = DiarizeOptions()

Meeting = Callable[..., tuple[list[SpeakerTurn], list[SpeakerTurn]]]

SAMPLE = Path(__file__).parents[4] / "samples"


def conversation(
    names: str, gap: float = 0.5, limit: int | None = None
) -> tuple[Samples, list[SpeakerTurn]]:
    """What those of the sample meeting with these initials say, a ``gap`` apart, and when.

    Where ``gap`` is less than none, they speak at once.
    """
    with wave.open(str(SAMPLE / "standup.wav")) as file:
        data = file.readframes(file.getnframes())
    meeting = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    told = json.loads((SAMPLE / "standup.json").read_text())["turns"]
    sound = np.zeros(len(meeting) + SAMPLE_RATE, np.float32)
    turns: list[SpeakerTurn] = []
    at = 0.5
    for turn in [one for one in told if one["speaker"][0] in names][:limit]:
        said = meeting[round(turn["start"] * SAMPLE_RATE) : round(turn["end"] * SAMPLE_RATE)]
        begin = round(at * SAMPLE_RATE)
        sound[begin : begin + len(said)] += said
        end = at + len(said) / SAMPLE_RATE
        turns.append(SpeakerTurn(at, end, names.index(turn["speaker"][0])))
        at = end + gap
    return sound[: round((turns[-1].end + 0.5) * SAMPLE_RATE)], turns


@dataclass(frozen=True)
class Waveform:
    """A `Pcm` in memory."""

    samples: Samples

    @property
    def length(self) -> int:
        return len(self.samples)

    def read(self, first: int, last: int) -> Samples:
        found = np.zeros(last - first, np.float32)
        part = self.samples[max(first, 0) : max(last, 0)]
        found[max(-first, 0) : max(-first, 0) + len(part)] = part
        return found


@pytest.fixture(scope="module")
def engine() -> Iterator[PyannetDiarizer]:
    engine = PyannetDiarizer()
    engine.load()
    yield engine
    engine.close()


def told(
    engine: PyannetDiarizer, samples: Samples, options: DiarizeOptions = NOTHING_TOLD
) -> list[SpeakerTurn]:
    (found,) = engine.diarize([PcmRecording(Waveform(samples))], options)
    assert not isinstance(found, Exception), found
    return list(found)


@pytest.fixture(scope="module")
def meeting(engine: PyannetDiarizer) -> Meeting:
    """Who speaks when in a conversation of these people, and who truly does."""

    def heard(names: str, gap: float = 0.5) -> tuple[list[SpeakerTurn], list[SpeakerTurn]]:
        sound, truth = conversation(names, gap)
        return told(engine, sound), truth

    return functools.cache(heard)


def speakers(turns: Sequence[SpeakerTurn]) -> list[int]:
    """In the order in which they first speak."""
    return list(dict.fromkeys(turn.speaker for turn in turns))


@pytest.mark.parametrize("names", ["AD", pytest.param("ADH", marks=pytest.mark.slow)])
def test_who_speaks_when(meeting: Meeting, names: str) -> None:
    turns, truth = meeting(names)
    assert speakers(turns) == list(range(len(names)))
    assert error_rate(turns, truth) < 0.12


def test_the_same_recording_has_the_same_turns(engine: PyannetDiarizer, meeting: Meeting) -> None:
    assert told(engine, conversation("AD")[0]) == meeting("AD")[0]


def test_no_turn_begins_after_its_first_word(meeting: Meeting) -> None:
    turns, truth = meeting("ADH")
    for known in truth:
        last = [turn for turn in turns if turn.start <= known.start + 0.03][-1]
        assert last.speaker == known.speaker


@pytest.mark.slow
def test_a_true_count_does_not_hurt(engine: PyannetDiarizer, meeting: Meeting) -> None:
    turns, truth = meeting("ADH")
    known = told(engine, conversation("ADH")[0], DiarizeOptions(num_speakers=3))
    assert error_rate(known, truth) <= error_rate(turns, truth) + 0.01


def test_turns_are_sound(meeting: Meeting) -> None:
    turns, truth = meeting("AD", -1.5)
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    for turn in turns:
        assert 0 <= turn.start < turn.end <= truth[-1].end + 0.5
    for speaker in speakers(turns):
        own = [turn for turn in turns if turn.speaker == speaker]
        assert all(one.end < other.start for one, other in pairwise(own))


def test_people_who_speak_at_once_have_overlapping_turns(
    engine: PyannetDiarizer, meeting: Meeting
) -> None:
    turns, truth = meeting("AD", -1.5)
    sound, _ = conversation("AD", -1.5)
    assert together(turns) == pytest.approx(together(truth), rel=0.5)
    assert together(told(engine, sound, DiarizeOptions(exclusive=True))) == 0


def together(turns: Sequence[SpeakerTurn]) -> float:
    """Seconds in which two speak."""
    return sum(
        max(0.0, min(one.end, other.end) - max(one.start, other.start))
        for i, one in enumerate(turns)
        for other in turns[i + 1 :]
    )


def test_somebody_alone_is_one_speaker(engine: PyannetDiarizer) -> None:
    sound, truth = conversation("D")
    turns = told(engine, sound)
    assert speakers(turns) == [0]
    assert error_rate(turns, truth) < 0.15, "pauses of pure silence are pauses"


@pytest.mark.parametrize("gain", [0.01, 30.0])
def test_loudness_is_no_matter(engine: PyannetDiarizer, gain: float) -> None:
    sound, truth = conversation("AD", limit=5)
    assert error_rate(told(engine, sound * np.float32(gain)), truth) < 0.12


def test_one_person_may_be_far_from_the_microphone(engine: PyannetDiarizer) -> None:
    sound, truth = conversation("AD", limit=5)
    for turn in truth:
        if turn.speaker == 1:
            sound[round(turn.start * SAMPLE_RATE) : round(turn.end * SAMPLE_RATE)] *= 0.05
    assert error_rate(told(engine, sound), truth) < 0.15


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(12 * SAMPLE_RATE, np.float32),
        np.random.default_rng(1).normal(0, 0.01, 12 * SAMPLE_RATE).astype(np.float32),
        np.zeros(100, np.float32),
        np.zeros(0, np.float32),
    ],
    ids=["silence", "noise", "a blink", "nothing"],
)
def test_where_nobody_speaks_there_are_no_turns(engine: PyannetDiarizer, sound: Samples) -> None:
    assert told(engine, sound) == []


def test_a_few_words_are_enough(engine: PyannetDiarizer) -> None:
    sound, _ = conversation("D", limit=1)
    (turn,) = told(engine, sound[: round(1.5 * SAMPLE_RATE)])
    assert turn.speaker == 0
    assert turn.start == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_the_number_of_speakers_is_respected(engine: PyannetDiarizer) -> None:
    sound, _ = conversation("ADH")
    for most in (1, 2):
        assert len(speakers(told(engine, sound, DiarizeOptions(max_speakers=most)))) == most
    assert len(speakers(told(engine, sound, DiarizeOptions(min_speakers=90)))) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "3"])
def test_threads_change_nothing(
    engine: PyannetDiarizer, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.tile(conversation("AD", limit=5)[0], 2)
    before = told(engine, sound)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert told(engine, sound) == before


def test_words_have_the_right_speakers(engine: PyannetDiarizer) -> None:
    known = json.loads((SAMPLE / "standup.json").read_text())["words"]
    with wave.open(str(SAMPLE / "standup.wav")) as file:
        data = file.readframes(file.getnframes())
    sound: Samples = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
    words = [Word(one["word"], one["start"], one["end"], speaker=one["speaker"]) for one in known]
    assert wrong(engine, sound, words) <= 0.03


def wrong(engine: PyannetDiarizer, sound: Samples, words: Sequence[Word]) -> float:
    """The share of ``words``, whose speakers are true, that a transcript gives to somebody else."""
    turns = told(engine, sound, DiarizeOptions(exclusive=True))
    nameless = Segment.of([replace(word, speaker=None) for word in words])
    found = [word for part in attribute([nameless], turns) for word in part.words]
    pairs = [(str(one.speaker), str(word.speaker)) for one, word in zip(found, words, strict=True)]
    whose: dict[str, str] = {}
    for (label, name), _ in Counter(pairs).most_common():
        if label not in whose and name not in whose.values():
            whose[label] = name
    return sum(whose.get(label) != name for label, name in pairs) / len(pairs)


# Clusters of voices


def voices_of(owners: Sequence[int], noise: float = 0.05, seed: int = 0) -> Samples:
    """A vector of length 1 for each owner, with ``noise`` in each of its dimensions."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (max(owners) + 1, 256))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    found = centres[list(owners)] + rng.normal(0, noise, (len(owners), 256))
    unit: Samples = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


@given(st.integers(1, 6), st.integers(9, 20), st.sampled_from([0.02, 0.05]))
def test_people_are_counted_through_noise(count: int, each: int, noise: float) -> None:
    owners = np.repeat(np.arange(count), each).tolist()
    voices = voices_of(owners, noise)
    centroids = people(voices, NOTHING_TOLD)
    assert len(centroids) == count
    found = (voices @ centroids.T).argmax(axis=1)
    assert len(set(zip(owners, found.tolist(), strict=True))) == count


@pytest.mark.slow
def test_hours_are_clustered_in_parts() -> None:
    owners = (np.arange(5000) * 7 // 5000).tolist()
    assert len(people(voices_of(owners), NOTHING_TOLD)) == 7


def test_somebody_barely_heard_is_no_speaker_unless_a_number_is_given() -> None:
    owners = [0] * 100 + [1] * 100 + [2]
    assert len(people(voices_of(owners), NOTHING_TOLD)) == 2
    assert len(people(voices_of(owners), DiarizeOptions(num_speakers=3))) == 3


def test_one_voice_is_not_split_to_reach_the_given_number() -> None:
    assert len(people(voices_of([0] * 40, 0.01), DiarizeOptions(num_speakers=4))) == 1


@pytest.mark.parametrize(("times", "count"), [(1, 1), (2, 2)])
def test_nobody_is_told_apart_by_one_window_alone(times: int, count: int) -> None:
    """Voices that might be the same person's are two people's if somebody says that there are two,
    but whoever speaks for a second is heard in several windows."""
    voices = voices_of([0] * 20 + [1] * times, 0.01)
    voices[20:] = 0.55 * voices[:times] + np.sqrt(1 - 0.55**2) * voices[20:]
    voices /= np.linalg.norm(voices, axis=1, keepdims=True)
    assert len(people(voices, NOTHING_TOLD)) == 1
    assert len(people(voices, DiarizeOptions(num_speakers=2))) == count


def test_the_speakers_of_a_window_are_different_people() -> None:
    alike = voices_of([0, 0])
    assert sorted(assigned(alike @ np.eye(256, 3, dtype=np.float32))) != [0, 0]
    assert list(assigned(alike @ np.eye(256, 1, dtype=np.float32))) == [0, 0]


# Features


def test_a_voice_between_two_people_is_anybodys() -> None:
    assert probability(np.array([0.9, 0.2]), 0, clear=True) > 0.99
    assert probability(np.array([0.9, 0.2]), 0, clear=False) > 0.9
    assert probability(np.array([0.5, 0.5, 0.1]), 1, clear=True) == 0.5
    assert probability(np.array([0.3]), 0, clear=False) == 1.0


def test_the_features_are_librosas() -> None:
    """A tone has its power in the bands around it, whatever the frame."""
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE)
    found = mel.mel_power(tone.astype(np.float32))
    assert found.shape == (1 + (len(tone) - 2 * mel.MARGIN) // mel.HOP, mel.BANDS)
    assert np.allclose(found, found[0], rtol=1e-3)
    # Slaney's scale has 1 kHz at 15 of 42.2 mels, which 42 edges divide.
    assert int(found[0].argmax()) in (13, 14)


@pytest.mark.parametrize("rows", [1, 160, 161, 320, 500])
def test_pieces_cover_all_rows(rows: int) -> None:
    starts = mel.piece_starts(rows)
    covered = {row for begin in starts for row in range(begin, begin + mel.PIECE)}
    assert covered >= set(range(rows))
    assert len(starts) == max(1, -(-rows // mel.PIECE))


def test_silence_is_a_longer_pause_than_any_in_a_word() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, networks.WINDOW).astype(np.float32)
    sound[16_000:17_600] = 0  # 0.1 s
    sound[32_000:40_000] = 0  # 0.5 s
    silent = networks._silent(sound)
    middles = (networks.FIELD // 2 + np.arange(networks.FRAMES) * networks.SHIFT) / SAMPLE_RATE
    assert silent[(middles > 2.1) & (middles < 2.4)].all()
    assert not silent[(middles < 1.9) | (middles > 2.6)].any()


# Real recordings, where there are any

RECORDINGS = Path(os.environ.get("REFLECTOR_BENCH_AUDIO", "/none")) / "meetings"


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="REFLECTOR_BENCH_AUDIO names no recordings")
def test_a_real_phone_call(engine: PyannetDiarizer) -> None:
    from benchmarks.audio import heard
    from benchmarks.conversations import recorded

    (call,) = (one for one in recorded(RECORDINGS) if one.name == "phone_call")
    names = sorted({name for name, _, _ in call.turns})
    truth = [SpeakerTurn(start, end, names.index(name)) for name, start, end in call.turns]
    turns = told(engine, heard(call.audio))
    assert speakers(turns) == [0, 1]
    assert error_rate(turns, truth) < 0.1
    assert wrong(engine, heard(call.audio), utterances(RECORDINGS / "phone_call.stm")) <= 0.03


def utterances(path: Path) -> list[Word]:
    """Their words, which are taken to be equally long."""
    found: list[Word] = []
    for line in path.read_text().splitlines():
        if not line.startswith(";"):
            _, _, who, begin, end, text = re.sub("<[^>]*> ?", "", line).split(maxsplit=5)
            said = text.split()
            edges = np.linspace(float(begin), float(end), len(said) + 1).tolist()
            found += map(functools.partial(Word, speaker=who), said, edges, edges[1:])
    return sorted(found, key=lambda word: word.start)
