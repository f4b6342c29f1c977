"""The diarizer of two networks: who speaks when, on the tiny pair that was trained for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from reflector_gpu.engines.diarization.base import PcmRecording
from reflector_gpu.engines.diarization.segmentation import SegmentationDiarizer, diarize
from reflector_gpu.errors import ModelNotInstalled
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn
from tests.engines.conversations import (
    OVERLAPPING,
    THREE,
    TWO,
    Line,
    conversation,
    error_rate,
    said,
)
from tests.engines.tiny import SEGMENTATION

NOTHING_TOLD = DiarizeOptions()


@dataclass(frozen=True)
class Waveform:
    """A `Pcm` in memory; ``widest`` is the longest stretch that was read of it."""

    samples: Samples
    reads: list[int]

    @property
    def length(self) -> int:
        return len(self.samples)

    def read(self, first: int, last: int) -> Samples:
        self.reads.append(last - first)
        found = np.zeros(last - first, np.float32)
        part = self.samples[max(first, 0) : max(last, 0)]
        found[max(-first, 0) : max(-first, 0) + len(part)] = part
        return found


def recording(samples: Samples) -> PcmRecording:
    return PcmRecording(Waveform(samples, []))


@pytest.fixture(scope="module")
def engine() -> Iterator[SegmentationDiarizer]:
    engine = SegmentationDiarizer(str(SEGMENTATION))
    engine.load()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def of_two(engine: SegmentationDiarizer) -> list[SpeakerTurn]:
    return told(engine, conversation(TWO)[0])


@pytest.fixture(scope="module")
def of_overlapping(engine: SegmentationDiarizer) -> list[SpeakerTurn]:
    return told(engine, conversation(OVERLAPPING)[0])


def told(
    engine: SegmentationDiarizer, samples: Samples, options: DiarizeOptions = NOTHING_TOLD
) -> list[SpeakerTurn]:
    (found,) = engine.diarize([recording(samples)], options)
    assert not isinstance(found, Exception), found
    return list(found)


def speakers(turns: Sequence[SpeakerTurn]) -> list[int]:
    """In the order in which they first speak."""
    return list(dict.fromkeys(turn.speaker for turn in turns))


@pytest.mark.parametrize(("lines", "count"), [(TWO, 2), (THREE, 3)], ids=["two", "three"])
def test_who_speaks_when(engine: SegmentationDiarizer, lines: list[Line], count: int) -> None:
    sound, truth = conversation(lines)
    turns = told(engine, sound)
    assert speakers(turns) == list(range(count))
    assert error_rate(turns, truth) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("step", [0.1, 0.5])
def test_windows_may_be_as_dense_as_a_device_can_afford(
    engine: SegmentationDiarizer, step: float
) -> None:
    """A GPU takes a tenth."""
    sound, truth = conversation(THREE)
    assert engine._networks
    told = DiarizeOptions(num_speakers=3)
    turns = diarize(recording(sound), told, *engine._networks, step=step)
    assert speakers(turns) == [0, 1, 2]
    assert error_rate(turns, truth) < 0.2


def test_turns_are_in_order_and_inside_the_recording(of_overlapping: list[SpeakerTurn]) -> None:
    sound, turns = conversation(OVERLAPPING)[0], of_overlapping
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    for turn in turns:
        assert 0 <= turn.start < turn.end <= len(sound) / SAMPLE_RATE
    for speaker in speakers(turns):
        own = [turn for turn in turns if turn.speaker == speaker]
        assert all(one.end < other.start for one, other in pairwise(own))


def test_overlapping_speech_has_overlapping_turns(
    of_overlapping: list[SpeakerTurn], of_two: list[SpeakerTurn]
) -> None:
    truth, turns = conversation(OVERLAPPING)[1], of_overlapping
    assert together(turns) == pytest.approx(together(truth), rel=0.5)
    assert together(truth) > 1.5
    assert error_rate(turns, truth) < 0.15
    assert together(of_two) < 0.3


def together(turns: Sequence[SpeakerTurn]) -> float:
    """Seconds in which two speak."""
    return sum(
        max(0.0, min(one.end, other.end) - max(one.start, other.start))
        for i, one in enumerate(turns)
        for other in turns[i + 1 :]
        if one.speaker != other.speaker
    )


def test_somebody_alone_is_one_speaker(engine: SegmentationDiarizer) -> None:
    sound, truth = conversation([Line("kal16", take, 0.4) for take in range(6)])
    turns = told(engine, sound)
    assert speakers(turns) == [0]
    assert error_rate(turns, truth) < 0.15


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
def test_where_nobody_speaks_there_are_no_turns(
    engine: SegmentationDiarizer, sound: Samples
) -> None:
    assert told(engine, sound) == []


@pytest.mark.parametrize("seconds", [1.0, 2.5])
def test_a_few_words_are_enough(engine: SegmentationDiarizer, seconds: float) -> None:
    clip = said("kal16")[0]
    sound = clip.samples[: int((clip.words[0].start + seconds) * SAMPLE_RATE)]
    turns = told(engine, sound)
    assert speakers(turns) == [0]
    assert turns[0].start == pytest.approx(clip.words[0].start, abs=0.2)


@pytest.mark.parametrize(
    ("options", "few", "many"),
    [
        (DiarizeOptions(num_speakers=1), 1, 1),
        (DiarizeOptions(num_speakers=2), 2, 2),
        (DiarizeOptions(num_speakers=3), 3, 3),
        (DiarizeOptions(max_speakers=2), 1, 2),
        (DiarizeOptions(min_speakers=2, max_speakers=5), 2, 5),
        (DiarizeOptions(min_speakers=90), 3, 90),
    ],
)
def test_the_limits_on_speakers_are_respected(
    engine: SegmentationDiarizer, options: DiarizeOptions, few: int, many: int
) -> None:
    sound, _ = conversation(THREE)
    found = speakers(told(engine, sound, options))
    assert found == list(range(len(found)))
    assert few <= len(found) <= many


def test_a_single_speaker_never_overlaps_themselves(engine: SegmentationDiarizer) -> None:
    sound, _ = conversation(OVERLAPPING)
    turns = told(engine, sound, DiarizeOptions(num_speakers=1))
    assert all(one.end < other.start for one, other in pairwise(turns))


def test_the_same_recording_gives_the_same_turns(of_overlapping: list[SpeakerTurn]) -> None:
    sound, _ = conversation(OVERLAPPING)
    again = SegmentationDiarizer(str(SEGMENTATION))
    again.load()
    assert told(again, sound) == of_overlapping


def test_recordings_of_one_call_do_not_mix(
    engine: SegmentationDiarizer, of_two: list[SpeakerTurn], of_overlapping: list[SpeakerTurn]
) -> None:
    sounds = [conversation(lines)[0] for lines in (TWO, OVERLAPPING)]
    both = engine.diarize([recording(sound) for sound in sounds], NOTHING_TOLD)
    found = [list(turns) for turns in both if not isinstance(turns, Exception)]
    assert found == [of_two, of_overlapping]


def test_the_level_does_not_matter(engine: SegmentationDiarizer) -> None:
    sound, truth = conversation(TWO)
    for gain in (0.1, 0.5):
        assert error_rate(told(engine, sound * np.float32(gain)), truth) < 0.15


def test_a_recording_is_read_window_by_window(engine: SegmentationDiarizer) -> None:
    sound, _ = conversation(THREE)
    pcm = Waveform(sound, [])
    engine.diarize([PcmRecording(pcm)], NOTHING_TOLD)
    assert max(pcm.reads) <= 10 * SAMPLE_RATE


# Files that are not what they should be


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(SEGMENTATION, tmp_path / "pair")


def refusal(pair: Path) -> str:
    with pytest.raises(ModelNotInstalled) as refused:
        SegmentationDiarizer(str(pair)).load()
    assert str(pair) not in refused.value.message
    return refused.value.message


def describe(file: Path, key: str, value: str | None) -> None:
    model = onnx.load(file)
    kept = [(e.key, e.value) for e in model.metadata_props if e.key != key]
    del model.metadata_props[:]
    for name, text in [*kept, *([(key, value)] if value is not None else [])]:
        entry = model.metadata_props.add()
        entry.key, entry.value = name, text
    onnx.save(model, file)


@pytest.mark.parametrize("name", ["segmentation.onnx", "embedding.onnx"])
def test_a_file_that_is_absent_or_damaged_is_named(pair: Path, name: str) -> None:
    whole = (pair / name).read_bytes()
    for content in (b"", b"no network", whole[: len(whole) // 2]):
        (pair / name).write_bytes(content)
        assert f"{name} cannot be read" in refusal(pair)
    (pair / name).unlink()
    assert f"has no {name}" in refusal(pair)


@pytest.mark.parametrize(
    ("name", "key", "value", "told"),
    [
        ("segmentation", "num_speakers", None, "lack 'num_speakers'"),
        ("segmentation", "num_speakers", "three", "'num_speakers' is 'three'"),
        ("segmentation", "num_speakers", "4", "7 sets of speakers, not 11"),
        ("segmentation", "num_speakers", "9" * 5000, "'num_speakers' is '999"),
        ("segmentation", "powerset_max_classes", "3", "7 sets of speakers, not 8"),
        ("segmentation", "num_classes", "8", "8 sets of speakers, not 7"),
        ("segmentation", "receptive_field_shift", "0", "'receptive_field_shift' is '0'"),
        ("segmentation", "receptive_field_shift", "271", "its metadata promise"),
        ("segmentation", "sample_rate", "8000", "wants 8000 samples a second"),
        ("embedding", "framework", None, "lack 'framework'"),
        ("embedding", "framework", "nemo", "is of 'nemo'"),
        ("embedding", "output_dim", "256", "its metadata promise"),
        ("embedding", "normalize_samples", "2", "'normalize_samples' is '2'"),
        ("embedding", "feature_normalize_type", "per_feature", "'per_feature'"),
        ("embedding", "sample_rate", "-16000", "'sample_rate' is '-16000'"),
    ],
)
def test_metadata_that_do_not_fit_are_named(
    pair: Path, name: str, key: str, value: str | None, told: str
) -> None:
    describe(pair / f"{name}.onnx", key, value)
    message = refusal(pair)
    assert told in message
    assert f"The {name} network" in message


def test_networks_in_each_others_place_are_refused(pair: Path) -> None:
    swapped = (pair / "embedding.onnx").rename(pair / "other.onnx")
    (pair / "segmentation.onnx").rename(pair / "embedding.onnx")
    swapped.rename(pair / "segmentation.onnx")
    assert "lack" in refusal(pair)


def test_3d_speakers_form_is_known(pair: Path) -> None:
    describe(pair / "embedding.onnx", "framework", "3d-speaker")
    describe(pair / "embedding.onnx", "feature_normalize_type", "global-mean")
    describe(pair / "embedding.onnx", "normalize_samples", "1")
    engine = SegmentationDiarizer(str(pair))
    engine.load()
    sound, truth = conversation(TWO)
    assert error_rate(told(engine, sound), truth) < 0.3
