"""The tiny Parakeet in each form that PyTorch reads, and what ONNX Runtime hears."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from reflector_gpu.engines.recognition.parakeet.onnx import ParakeetRecogniser
from tests.engines.tiny import PARAKEET, Clip, clips
from tests.torch.hearing import Heard, hear

collect_ignore_glob: list[str] = []
if find_spec("torch") and find_spec("transformers"):
    import torch

    torch.set_num_threads(1)  # threads that wait for each other take longer on a busy machine
else:
    collect_ignore_glob.append("test_*.py")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each form, by its name."""
    from tests.torch.conversion import write_nemo, write_transformers

    forms = {"transformers": write_transformers, "nemo": write_nemo}
    return {name: write(tmp_path_factory.mktemp(name)) for name, write in forms.items()}


@pytest.fixture(scope="session")
def tiny(folders: dict[str, Path]) -> Path:
    return folders["transformers"]


@pytest.fixture(scope="session")
def spoken() -> list[Clip]:
    """Of many lengths."""
    return clips("en")


@pytest.fixture(scope="session")
def expected(spoken: list[Clip]) -> list[Heard]:
    """What the engine on ONNX Runtime hears in each clip."""
    engine = ParakeetRecogniser(str(PARAKEET))
    engine.load()
    return hear(engine, [clip.samples for clip in spoken])
