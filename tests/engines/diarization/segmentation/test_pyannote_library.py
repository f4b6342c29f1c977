"""pyannote.audio itself, where it can be imported."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from reflector_gpu.engines.diarization.base import PcmRecording
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.diarization.pyannote import COMMUNITY, PyannoteDiarizer
from reflector_gpu.errors import ModelNotInstalled, ReflectorError
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples
from tests.api.support import upload, wav
from tests.engines.diarization.pyannote_files import Waveform, cached
from tests.engines.sounds import noise
from tests.live import KEY, LiveServer

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
