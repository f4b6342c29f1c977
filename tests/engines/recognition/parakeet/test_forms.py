"""Which Parakeets run on PyTorch instead of ONNX Runtime, and where that is chosen by itself."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.recognition.parakeet.models import on_torch
from reflector_gpu.engines.recognition.resolution import Recognisers
from reflector_gpu.service.catalogs import recognisers_of
from reflector_gpu.settings import load_settings

V2, V2_TORCH = "nvidia/parakeet-tdt-0.6b-v2", "nvidia/parakeet-tdt-0.6b-v2-torch"
V3_TORCH = "nvidia/parakeet-tdt-0.6b-v3-torch"


class Machine:
    """What is installed and downloaded here."""

    def __init__(self, folder: Path) -> None:
        self._packages = folder / "packages"
        self._cache = folder / "cache" / "hub"
        self._packages.mkdir()

    @property
    def packages(self) -> str:
        return str(self._packages)

    @property
    def cache(self) -> str:
        return str(self._cache)

    def install(self, name: str, version: str = "1.0") -> None:
        (self._packages / name).mkdir()
        (self._packages / name / "__init__.py").touch()
        information = self._packages / f"{name}-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        importlib.invalidate_caches()

    def download(self, name: str) -> None:
        weights = MODELS[name].weights
        assert weights is not None
        repository = self._cache / f"models--{weights.repository.replace('/', '--')}"
        snapshot = repository / "snapshots" / "abc"
        for folder in (repository / "refs", snapshot):
            folder.mkdir(parents=True)
        (repository / "refs" / "main").write_text("abc")
        for file in weights.required:
            (snapshot / file).touch()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One with PyTorch for CUDA, and without weights."""
    machine = Machine(tmp_path)
    monkeypatch.syspath_prepend(machine.packages)
    monkeypatch.setenv("HF_HUB_CACHE", machine.cache)
    machine.install("transformers")
    return machine


def test_on_cuda_with_pytorch_the_names_mean_its_forms(machine: Machine) -> None:
    machine.install("torch", "2.13.0+cu130")
    found = on_torch("auto", ("cuda:1",))
    assert found[V2] == V2_TORCH
    assert set(found.values()) == {name for name in MODELS if name.endswith("-torch")}
    assert on_torch("auto", ("cpu",)) == {}
    assert on_torch("auto", ("tensorrt", "cuda")) == {}


def test_weights_that_are_here_are_used_rather_than_others_downloaded(machine: Machine) -> None:
    machine.install("torch")
    machine.download(V2)
    assert V2 not in on_torch("auto", ("cuda",))
    machine.download(V2_TORCH)
    assert on_torch("auto", ("cuda",))[V2] == V2_TORCH


def test_a_pytorch_for_cpus_is_chosen_by_nobody_but_the_operator(machine: Machine) -> None:
    machine.install("torch", "2.13.0+cpu")
    assert on_torch("auto", ("cuda",)) == {}
    assert on_torch("torch", ("cpu",))[V2] == V2_TORCH
    assert on_torch("onnx", ("cuda",)) == {}


@pytest.mark.parametrize(
    "name", [V2, "parakeet-tdt-0.6b-v2", "house", "NVIDIA/Parakeet-TDT-0.6B-v2"]
)
def test_every_name_of_a_model_means_the_form_that_the_settings_choose(name: str) -> None:
    settings = load_settings(
        parakeet_runtime="torch", model_aliases={"house": V2}, auto_models=(V2, "sphinx")
    )
    recognisers = recognisers_of(settings)
    assert recognisers.resolve(name) is MODELS[V2_TORCH]
    assert [model.name for model in recognisers.automatic] == [V2_TORCH, "sphinx"]
    assert recognisers_of(load_settings()).resolve(V2) is MODELS[V2]


def test_a_form_can_be_named_itself() -> None:
    assert Recognisers("sphinx").resolve(V2_TORCH) is MODELS[V2_TORCH]


def test_an_operators_own_model_of_that_name_stays_theirs(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "parakeet_ctc", "vocab_size": 1025}')
    own = Recognisers("sphinx", folders={V2: str(tmp_path)}, instead={V2: V2_TORCH})
    assert own.resolve(V2).arguments == {"weights": str(tmp_path)}


def test_the_forms_know_the_same_languages() -> None:
    for name, other in on_torch("torch", ()).items():
        assert MODELS[name].spec.languages == MODELS[other].spec.languages
    assert len(MODELS[V3_TORCH].spec.languages) == 25
