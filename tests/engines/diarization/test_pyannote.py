"""pyannote.audio's pipelines behind our seam; the real library too, where it can be imported."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.diarization import pyannote
from reflector_gpu.engines.diarization.base import PcmRecording
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.diarization.pyannote import COMMUNITY, PyannoteDiarizer
from reflector_gpu.errors import EngineFailed, ModelNotInstalled, ReflectorError, TooLarge
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn
from tests.api.support import upload, wav
from tests.engines.hub import Hub
from tests.engines.sounds import noise, silence
from tests.engines.test_weights import pull
from tests.live import KEY, LiveServer

Track = tuple[float, float, str]


@dataclass(frozen=True)
class Waveform:
    """`Pcm` in memory."""

    samples: Samples

    @property
    def length(self) -> int:
        return len(self.samples)

    def read(self, first: int, last: int) -> Samples:
        assert last - first <= 60 * SAMPLE_RATE
        return self.samples[first:last]


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


# Where its parts are


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cached(cache: Path, repository: str, *files: str) -> Path:
    """As the hub library keeps ``files``."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / file).touch()
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("abc")
    return snapshot


@pytest.mark.parametrize("part", ["$model/embedding", "$model/embedding@main", "embedding"])
def test_a_part_may_lie_in_the_folder(part: str, tmp_path: Path) -> None:
    (tmp_path / "embedding").mkdir()
    found = pyannote.located(part, tmp_path, ["pytorch_model.bin"])
    assert Path(found["checkpoint"], found.get("subfolder", "")) == tmp_path / "embedding"


def test_a_part_may_be_a_repository_that_was_pulled(cache: Path, tmp_path: Path) -> None:
    files = ("plda/plda.npz", "plda/xvec_transform.npz")
    snapshot = cached(cache, COMMUNITY, *files)
    part = {"checkpoint": COMMUNITY, "subfolder": "plda"}
    found = pyannote.located(part, tmp_path, ["plda.npz", "xvec_transform.npz"])
    assert found == {"checkpoint": str(snapshot), "subfolder": "plda"}
    with pytest.raises(ModelNotInstalled):
        pyannote.located({**part, "subfolder": "segmentation"}, tmp_path, ["pytorch_model.bin"])


def test_a_part_that_was_not_pulled_names_the_page_to_open(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotInstalled) as refusal:
        pyannote.located("pyannote/segmentation-3.0", tmp_path, ["pytorch_model.bin"])
    assert "https://huggingface.co/pyannote/segmentation-3.0" in refusal.value.message
    assert "HF_TOKEN" in refusal.value.message


# Names


def test_the_family_has_a_short_name() -> None:
    assert (
        DIARIZERS.find("pyannote", {})
        is DIARIZERS.models[DIARIZERS.aliases["pyannote"]]
        is DIARIZERS.models[COMMUNITY]
    )


def test_an_operators_folder_is_found_by_its_config(tmp_path: Path) -> None:
    assert pyannote.local("mine", tmp_path) is None
    (tmp_path / "config.yaml").write_text("pipeline:\n  name: something.else\n")
    assert pyannote.local("mine", tmp_path) is None
    (tmp_path / "config.yaml").write_text("pipeline:\n  name: pyannote.audio.pipelines.X\n")
    assert DIARIZERS.find("mine", {"mine": str(tmp_path)}).arguments == {"weights": str(tmp_path)}


def test_the_earlier_pipeline_is_here_when_all_that_it_takes_is(cache: Path) -> None:
    weights = DIARIZERS.models["pyannote/speaker-diarization-3.1"].weights
    assert weights
    folder = cached(cache, "pyannote/speaker-diarization-3.1", "config.yaml")
    cached(cache, "pyannote/segmentation-3.0", "pytorch_model.bin")
    cached(cache, "pyannote/wespeaker-voxceleb-resnet34-LM", "pytorch_model.bin")
    assert weights.folder is None
    cached(cache, COMMUNITY, "plda/plda.npz", "plda/xvec_transform.npz")
    assert weights.folder == folder


def test_weights_are_pulled_whole(cache: Path) -> None:
    weights = DIARIZERS.models[COMMUNITY].weights
    assert weights
    files = {name: name.encode() for name in weights.required}
    with Hub(COMMUNITY, {**files, "README.md": b"not needed"}) as hub:
        done = pull(cache.parent, hub.url, weights=weights)
    assert done.returncode == 0, done.stderr
    assert hub.fetched == sorted(files)
    assert weights.folder == Path(done.stdout.strip())
    for name, data in files.items():
        assert (weights.folder / name).read_bytes() == data


# The library itself

HERE = not DIARIZERS.models[COMMUNITY].missing or DIARIZERS.models[COMMUNITY].missing == (
    "weights",
)
library = pytest.mark.skipif(not HERE, reason="pyannote.audio is not installed")


def build(folder: Path) -> None:
    """A pipeline whose networks were never trained: of three voices one speaks at any time."""
    import lightning.pytorch
    import torch
    import yaml
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import XVectorMFCC
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_layers": 1}
    segmentation = PyanNet(lstm=small, linear=small)
    segmentation.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        classes=["one", "two", "three"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    embedding = XVectorMFCC(dimension=32)
    embedding.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=3.0, classes=["a"]
    )
    for name, model in {"segmentation": segmentation, "embedding": embedding}.items():
        model.setup()
        (folder / name).mkdir()
        checkpoint = {
            "state_dict": model.state_dict(),
            "hyper_parameters": dict(model.hparams),
            "pytorch-lightning_version": lightning.pytorch.__version__,
        }
        if name == "segmentation":
            checkpoint["state_dict"]["classifier.weight"] *= 30  # or it would hear no change
            checkpoint["state_dict"]["classifier.bias"][:] = torch.tensor(
                [-1e3, 0, 0, 0, -1e3, -1e3, -1e3]  # nobody; one of three; two of three
            )
        model.on_save_checkpoint(checkpoint)
        torch.save(checkpoint, folder / name / "pytorch_model.bin")
    (folder / "plda").mkdir()
    rng, d = np.random.default_rng(0), 32
    mean = np.zeros(d)
    np.savez(folder / "plda" / "xvec_transform.npz", mean1=mean, mean2=mean, lda=np.eye(d))
    turned = np.eye(d) + 0.01 * rng.standard_normal((d, d))
    np.savez(folder / "plda" / "plda.npz", mu=mean, tr=turned, psi=np.linspace(5, 0.1, d))
    config = {
        "dependencies": {"pyannote.audio": "4.0.0"},
        "pipeline": {
            "name": "pyannote.audio.pipelines.SpeakerDiarization",
            "params": {
                "clustering": "VBxClustering",
                "segmentation": "$model/segmentation",
                "segmentation_step": 0.5,
                "embedding": "$model/embedding",
                "embedding_batch_size": 8,
                "embedding_exclude_overlap": True,
                "plda": "$model/plda",
            },
        },
        "params": {
            "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
            "segmentation": {"min_duration_off": 0.0},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pyannote")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def real(tiny: Path) -> PyannoteDiarizer:
    model = DIARIZERS.find("tiny", {"tiny": str(tiny)})
    assert not model.missing
    engine = PyannoteDiarizer(model.arguments["weights"])
    engine.load()
    return engine


@library
@pytest.mark.parametrize("told", [1, 2, 3])
def test_the_number_of_speakers_reaches_the_library(
    real: PyannoteDiarizer, speech: Samples, told: int
) -> None:
    recording = PcmRecording(Waveform(speech[: 20 * SAMPLE_RATE]))
    (found,) = real.diarize([recording], DiarizeOptions(num_speakers=told))
    assert not isinstance(found, ReflectorError)
    assert {turn.speaker for turn in found} == set(range(told))
    assert all(0 <= turn.start < turn.end <= recording.seconds for turn in found)


@library
@pytest.mark.parametrize("samples", [1, 1_600, 150_000])
@pytest.mark.parametrize("told", [1, 50])
def test_the_library_takes_next_to_nothing(real: PyannoteDiarizer, samples: int, told: int) -> None:
    recording = PcmRecording(Waveform(noise(10)[:samples]))
    (found,) = real.diarize([recording], DiarizeOptions(min_speakers=told))
    assert not isinstance(found, ReflectorError)
    assert all(turn.end <= recording.seconds for turn in found)


@library
def test_the_library_does_not_report(real: PyannoteDiarizer) -> None:
    from pyannote.audio.telemetry.metrics import is_metrics_enabled

    assert not is_metrics_enabled()


@library
def test_the_library_behind_the_door(tiny: Path, speech: Samples) -> None:
    folders, audio = {"ours": str(tiny)}, wav(speech[: 15 * SAMPLE_RATE])
    with (
        LiveServer(model="scripted", diarizer="ours", model_paths=folders, apikey=KEY) as server,
        server.client() as client,
    ):
        answer = client.post("/diarize", files={"file": audio}, params={"num_speakers": 2})
        turns = answer.raise_for_status().json()["diarization"]
        assert {turn["speaker"] for turn in turns} == {0, 1}
        words = upload(server, audio, data={"diarize": "true"}).raise_for_status().json()["words"]
    assert all(word["speaker"] for word in words)


@library
def test_the_earlier_pipeline_is_put_together_from_the_cache(
    tiny: Path, cache: Path, speech: Samples
) -> None:
    import yaml

    places = {
        "segmentation": cached(cache, "pyannote/segmentation-3.0"),
        "embedding": cached(cache, "pyannote/wespeaker-voxceleb-resnet34-LM"),
        "plda": cached(cache, COMMUNITY) / "plda",
    }
    for name, place in places.items():
        shutil.copytree(tiny / name, place)
    folder = cached(cache, "pyannote/speaker-diarization-3.1", "config.yaml")
    config = {
        "version": "3.1.0",
        "pipeline": {
            "name": "pyannote.audio.pipelines.SpeakerDiarization",
            "params": {
                "clustering": "AgglomerativeClustering",
                "segmentation": "pyannote/segmentation-3.0",
                "segmentation_step": 0.5,
                "embedding": "pyannote/wespeaker-voxceleb-resnet34-LM",
            },
        },
        "params": {
            "clustering": {"method": "centroid", "min_cluster_size": 2, "threshold": 0.7},
            "segmentation": {"min_duration_off": 0.0},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    model = DIARIZERS.models["pyannote/speaker-diarization-3.1"]
    assert model.weights
    engine = PyannoteDiarizer(os.pathsep.join(map(str, model.weights.folders)))
    engine.load()
    recording = PcmRecording(Waveform(speech[: 20 * SAMPLE_RATE]))
    (found,) = engine.diarize([recording], DiarizeOptions(num_speakers=2))
    assert not isinstance(found, ReflectorError)
    assert {turn.speaker for turn in found} == {0, 1}


@library
def test_a_part_on_the_hub_is_not_downloaded(tiny: Path, cache: Path, tmp_path: Path) -> None:
    config = (tiny / "config.yaml").read_text().replace("$model/embedding", "somebody/embedding")
    (tmp_path / "config.yaml").write_text(config.replace("$model", str(tiny)))
    with pytest.raises(ModelNotInstalled, match=r"https://huggingface\.co/somebody/embedding"):
        PyannoteDiarizer(str(tmp_path)).load()
    assert not cache.exists()


@library
def test_a_folder_without_a_config_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelNotInstalled, match=r"no readable config\.yaml"):
        PyannoteDiarizer(str(tmp_path)).load()


@pytest.mark.skipif(HERE, reason="pyannote.audio is installed")
def test_without_the_library_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotInstalled, match=r"reflector-gpu\[pyannote\]"):
        PyannoteDiarizer(str(tmp_path)).load()
    assert "pyannote.audio" in DIARIZERS.models[COMMUNITY].missing
    assert "'reflector-gpu[pyannote]'" in DIARIZERS.models[COMMUNITY].installation
