"""pyannote pipelines on ONNX Runtime: VBx, against what pyannote.audio itself finds.

`recipes/pyannote_reference.py` ran pyannote's own pipeline and clustering on the same networks.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.diarization.base import PcmRecording
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.diarization.segmentation.kmeans import parted
from reflector_gpu.engines.diarization.segmentation.mixture import MixtureDiarizer, joined
from reflector_gpu.engines.diarization.segmentation.pairing import NOBODY, best_pairs
from reflector_gpu.engines.diarization.segmentation.plda import Plda
from reflector_gpu.engines.diarization.segmentation.vbx import People, Tuning, Voices, people
from reflector_gpu.errors import ModelNotInstalled
from reflector_gpu.pcm import PcmBytes, encoded
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn
from tests.engines.conversations import OVERLAPPING, TWO, conversation, error_rate
from tests.engines.diarization.embeddings import CASES, Case, embeddings
from tests.engines.tiny import PIPELINE

CONVERSATIONS = {"two": TWO * 2, "overlapping": OVERLAPPING * 3}
PYANNOTE: dict[str, Any] = json.loads((PIPELINE / "pyannote.json").read_text())
NOTHING_TOLD = DiarizeOptions()


@pytest.fixture(scope="module")
def engine() -> Iterator[MixtureDiarizer]:
    engine = MixtureDiarizer(str(PIPELINE))
    engine.load()
    yield engine
    engine.close()


def told(
    engine: MixtureDiarizer, samples: Samples, options: DiarizeOptions = NOTHING_TOLD
) -> list[SpeakerTurn]:
    (found,) = engine.diarize([PcmRecording(PcmBytes(encoded(samples)))], options)
    assert not isinstance(found, Exception), found
    return list(found)


@pytest.mark.parametrize(
    "name",
    [
        "two untold",
        pytest.param("overlapping untold", marks=pytest.mark.slow),
        pytest.param("overlapping 2", marks=pytest.mark.slow),
    ],
)
def test_turns_are_pyannotes_own(engine: MixtureDiarizer, name: str) -> None:
    """Within half a point of its error rate; frames differ by less than one at every edge."""
    kind, count = name.split()
    sound, truth = conversation(CONVERSATIONS[kind])
    options = DiarizeOptions(num_speakers=None if count == "untold" else int(count))
    turns = told(engine, sound, options)
    theirs = [SpeakerTurn(*turn) for turn in PYANNOTE["diarized"][name]]
    assert abs(error_rate(turns, truth) - error_rate(theirs, truth)) <= 0.005
    assert error_rate(turns, theirs) < 0.02


def test_the_clustering_is_pyannotes_own() -> None:
    plda = Plda(PIPELINE / "plda")
    for case, labels in zip(CASES, PYANNOTE["clustered"], strict=True):
        ours = clustered(case, plda)
        assert len({*zip(ours, labels, strict=True)}) == len(set(ours)) == len(set(labels)), case


def clustered(case: Case, plda: Plda) -> list[int]:
    voices = voices_of(embeddings(case))
    found = people(voices, plda, Tuning(threshold=case.threshold), NOTHING_TOLD)
    return nearest(voices, found)


def voices_of(vectors: npt.NDArray[np.float32]) -> Voices:
    lengths = np.linalg.norm(vectors, axis=1)
    return Voices((vectors / lengths[:, None]).astype(np.float16), lengths.astype(np.float32))


def nearest(voices: Voices, found: People) -> list[int]:
    owners: list[int] = (voices.units.astype(np.float32) @ found.centroids.T).argmax(1).tolist()
    return owners


def test_as_many_people_as_are_told(engine: MixtureDiarizer) -> None:
    sound, _ = conversation(TWO)
    for options, few, many in (
        (DiarizeOptions(num_speakers=1), 1, 1),
        (DiarizeOptions(min_speakers=90), 2, 90),
    ):
        found = {turn.speaker for turn in told(engine, sound, options)}
        assert found == set(range(len(found)))
        assert few <= len(found) <= many, options


def test_exclusive_turns_do_not_overlap(engine: MixtureDiarizer) -> None:
    sound, _ = conversation(OVERLAPPING)
    turns = told(engine, sound, DiarizeOptions(exclusive=True))
    assert all(one.end <= other.start for one, other in pairwise(turns))


@pytest.mark.parametrize("seconds", [0.0, 0.01, 12.0])
def test_silence_has_no_turns(engine: MixtureDiarizer, seconds: float) -> None:
    assert told(engine, np.zeros(int(seconds * SAMPLE_RATE), np.float32)) == []


@pytest.mark.slow
def test_hours_of_voices_are_clustered_in_parts() -> None:
    """More than are compared in pairs: each part by itself, then all of them together."""
    found = clustered(Case(1, 4, 5000, 0.3, 0.6), Plda(PIPELINE / "plda"))
    owners = np.random.default_rng(1)
    owners.standard_normal((4, 48))
    truth = owners.integers(0, 4, 5000).tolist()
    assert len({*zip(found, truth, strict=True)}) == 4


def test_pauses_are_part_of_a_turn() -> None:
    apart = [SpeakerTurn(0, 1, 0), SpeakerTurn(0.5, 2, 1), SpeakerTurn(1.2, 3, 0)]
    assert joined(apart, 0.0) == apart
    assert joined(apart, 0.2) == [SpeakerTurn(0, 3, 0), SpeakerTurn(0.5, 2, 1)]


# Which speaker of a window is who


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 10_000))
def test_pairs_are_the_best_of_all(speakers: int, count: int, seed: int) -> None:
    alike = np.round(np.random.default_rng(seed).uniform(-1, 1, (speakers, count)), 1)
    found = best_pairs(alike).tolist()
    chosen = [person for person in found if person != NOBODY]
    assert len(set(chosen)) == len(chosen) == min(speakers, count)
    wide = np.pad(alike, ((0, 0), (0, max(0, speakers - count))))
    best = max(
        sum(wide[speaker, person] for speaker, person in enumerate(order))
        for order in permutations(range(wide.shape[1]), speakers)
    )
    total = sum(alike[speaker, who] for speaker, who in enumerate(found) if who != NOBODY)
    assert total == pytest.approx(best)


@given(count=st.integers(1, 6), each=st.integers(1, 20), seed=st.integers(0, 100))
def test_k_means_finds_what_lies_apart(count: int, each: int, seed: int) -> None:
    owners = np.repeat(np.arange(count), each)
    noise = np.random.default_rng(seed).standard_normal((count * each, 8))
    labels = parted((10 * np.eye(count, 8)[owners] + 0.1 * noise).astype(np.float32), count)
    assert len({*zip(owners.tolist(), labels.tolist(), strict=True)}) == count


def test_k_means_of_fewer_points_than_clusters() -> None:
    assert parted(np.ones((3, 4), np.float32), 5).tolist() == [0, 0, 0]


# Folders


def test_a_folder_becomes_a_diarizer_by_its_name() -> None:
    model = DIARIZERS.known({"community": str(PIPELINE)})["community"]
    assert model.engine.endswith("MixtureDiarizer")
    assert not model.missing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(PIPELINE, tmp_path / "pipeline")


def refusal(folder: Path) -> str:
    with pytest.raises(ModelNotInstalled) as refused:
        MixtureDiarizer(str(folder)).load()
    assert str(folder) not in refused.value.message
    return refused.value.message


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("VBxClustering", "AgglomerativeClustering", "AgglomerativeClustering"),
        ("threshold: 0.6", "threshold: much", "'threshold' in config.yaml"),
        ("threshold: 0.6", "threshold: 6", "is 6, not from 0 to 2"),
        ("Fa: 0.07", "Fa: .nan", "'Fa' in config.yaml"),
        ("dependencies:", "dependencies: [", "no readable config.yaml"),
        ("dependencies:", "- dependencies:", "no readable config.yaml"),
    ],
)
def test_settings_that_cannot_be_are_named(folder: Path, old: str, new: str, told: str) -> None:
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace(old, new))
    assert told in refusal(folder)


def test_settings_that_are_left_out_are_pyannotes(folder: Path) -> None:
    (folder / "config.yaml").write_text("pipeline: {params: {embedding_exclude_overlap: true}}\n")
    engine = MixtureDiarizer(str(folder))
    engine.load()
    sound, _ = conversation(TWO)
    original = MixtureDiarizer(str(PIPELINE))
    original.load()
    assert told(engine, sound) == told(original, sound)


@pytest.mark.parametrize("name", ["plda.npz", "xvec_transform.npz"])
def test_a_plda_that_is_absent_or_damaged_is_named(folder: Path, name: str) -> None:
    file = folder / "plda" / name
    whole = file.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        file.write_bytes(content)
        assert f"{name} of this pipeline is damaged" in refusal(folder)
    file.unlink()
    assert f"no plda/{name}" in refusal(folder)


def test_parts_that_do_not_fit_each_other_are_named(folder: Path) -> None:
    transform = folder / "plda" / "xvec_transform.npz"
    np.savez(transform, mean1=np.zeros(40), mean2=np.zeros(12), lda=np.ones((40, 12)))
    assert "gives 48 numbers, and its PLDA takes 40" in refusal(folder)
    np.savez(transform, mean1=np.zeros(48), mean2=np.zeros(9), lda=np.ones((48, 9)))
    assert "do not fit together" in refusal(folder)
    shutil.copy(PIPELINE / "plda" / "xvec_transform.npz", transform)
    np.savez(folder / "plda" / "plda.npz", mu=np.zeros(12), tr=np.zeros((12, 12)), psi=np.ones(12))
    assert "plda.npz of this pipeline is damaged" in refusal(folder)
    shutil.copy(PIPELINE / "plda" / "plda.npz", folder / "plda" / "plda.npz")
    shutil.copy(folder / "segmentation" / "model.onnx", folder / "embedding" / "model.onnx")
    assert "has 1 inputs, not 2" in refusal(folder)
