"""pyannote.audio's pipelines behind our seam, with a stand-in for the library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.diarization import pyannote
from reflector_gpu.engines.diarization.base import PcmRecording
from reflector_gpu.engines.diarization.pyannote import PyannoteDiarizer
from reflector_gpu.errors import EngineFailed, ReflectorError, TooLarge
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn
from tests.engines.diarization.pyannote_files import Waveform
from tests.engines.sounds import noise, silence

Track = tuple[float, float, str]


@dataclass(frozen=True)
class Long(Waveform):
    """Hours of nothing."""

    @property
    def length(self) -> int:
        return int(pyannote.LONGEST_SECONDS * SAMPLE_RATE) + 1


@dataclass(frozen=True)
class When:
    start: float
    end: float


@dataclass(frozen=True)
class Tracks:
    """`pyannote.Annotation` of some tracks."""

    found: Sequence[Track]

    def itertracks(self, *, yield_label: bool) -> Iterable[tuple[When, object, str]]:
        assert yield_label
        return ((When(start, end), object(), who) for start, end, who in self.found)


@dataclass(frozen=True)
class Answer:
    """`pyannote.Output`."""

    speaker_diarization: Tracks
    exclusive_speaker_diarization: Tracks


BOTH = Answer(
    Tracks([(0.0, 2.0, "SPEAKER_01"), (1.0, 3.0, "SPEAKER_00")]),
    Tracks([(0.0, 1.5, "SPEAKER_01"), (1.5, 3.0, "SPEAKER_00")]),
)


class Pipeline:
    """Knows the answer, and cannot tell more than ``most`` apart."""

    def __init__(self, most: int = 2, answer: Answer = BOTH) -> None:
        self._most, self._answer = most, answer
        self.asked: list[tuple[tuple[int, ...], int, int | None]] = []

    def __call__(self, samples: Samples, fewest: int, most: int | None) -> Answer:
        assert samples.dtype == np.float32
        self.asked.append((samples.shape, fewest, most))
        if fewest > self._most:
            raise ValueError(f"n_samples={self._most} should be >= n_clusters={fewest}")
        return self._answer


def diarize(
    pipeline: Pipeline, *recordings: PcmRecording, options: DiarizeOptions | None = None
) -> list[Sequence[SpeakerTurn] | ReflectorError]:
    engine = PyannoteDiarizer("nowhere")
    engine.pipeline = pipeline
    return list(engine.diarize(recordings, options or DiarizeOptions()))


RECORDING = PcmRecording(Waveform(noise(4)))


# Turns


def test_people_who_speak_at_once_have_turns_that_overlap() -> None:
    assert diarize(Pipeline(), RECORDING) == [[SpeakerTurn(0, 2, 0), SpeakerTurn(1, 3, 1)]]


def test_of_those_who_speak_at_once_words_go_to_one() -> None:
    found = diarize(Pipeline(), RECORDING, options=DiarizeOptions(exclusive=True))
    assert found == [[SpeakerTurn(0, 1.5, 0), SpeakerTurn(1.5, 3, 1)]]


@given(
    tracks=st.lists(
        st.tuples(
            st.floats(-1, 20), st.floats(-1, 20), st.integers(0, 120).map("SPEAKER_{:02d}".format)
        ),
        max_size=30,
    ),
    seconds=st.floats(0.1, 15),
)
def test_turns_are_as_every_diarizers(tracks: list[Track], seconds: float) -> None:
    found = pyannote.turns(tracks, seconds)
    assert all(0 <= turn.start < turn.end <= seconds for turn in found)
    assert [turn.start for turn in found] == sorted(turn.start for turn in found)
    speakers = [turn.speaker for turn in found]
    assert list(dict.fromkeys(speakers)) == list(range(len(set(speakers))))
    for speaker in set(speakers):
        own = [turn for turn in found if turn.speaker == speaker]
        assert all(one.end < other.start for one, other in pairwise(own))


@given(
    tracks=st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.sampled_from("abc")), max_size=20
    )
)
def test_turns_cover_what_the_tracks_do(tracks: list[tuple[int, int, str]]) -> None:
    found = pyannote.turns(tracks, 20)

    def at(spans: Iterable[tuple[float, float]], time: float) -> int:
        return sum(start <= time < end for start, end in spans)

    for time in range(20):
        speaking = {who for start, end, who in tracks if start <= time < end}
        assert at(((t.start, t.end) for t in found), time + 0.5) == len(speaking)


# Recordings


def test_numbers_of_speakers_reach_the_pipeline() -> None:
    pipeline = Pipeline()
    diarize(pipeline, RECORDING)
    diarize(pipeline, RECORDING, options=DiarizeOptions(num_speakers=2))
    diarize(pipeline, RECORDING, options=DiarizeOptions(max_speakers=5))
    shape = (1, 4 * SAMPLE_RATE)
    assert pipeline.asked == [(shape, 1, None), (shape, 2, 2), (shape, 1, 5)]


def test_where_there_are_too_few_voices_for_so_many_speakers_those_are_found() -> None:
    pipeline = Pipeline(most=2)
    (found,) = diarize(pipeline, RECORDING, options=DiarizeOptions(num_speakers=50))
    assert not isinstance(found, ReflectorError)
    assert {turn.speaker for turn in found} == {0, 1}


def test_a_recording_that_fails_does_not_fail_the_others() -> None:
    found = diarize(
        Pipeline(most=0),
        RECORDING,
        PcmRecording(Long(silence(0))),
        PcmRecording(Waveform(silence(0))),
    )
    assert isinstance(found[0], EngineFailed)
    assert isinstance(found[1], TooLarge)
    assert "4 hours" in found[1].message
    assert found[2] == []


def test_the_waveform_is_converted_a_minute_at_a_time() -> None:
    samples = noise(150)
    np.testing.assert_array_equal(pyannote.waveform(Waveform(samples)), samples[None])
