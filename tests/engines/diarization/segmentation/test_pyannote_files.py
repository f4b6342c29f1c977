"""Where a pipeline of pyannote's and its parts lie, and by which names they are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflector_gpu.engines.diarization import pyannote
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.diarization.pyannote import COMMUNITY
from reflector_gpu.errors import ModelNotInstalled
from tests.engines.diarization.pyannote_files import cached
from tests.engines.hub import Hub
from tests.engines.test_weights import pull


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
