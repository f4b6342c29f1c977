"""``config`` and ``models``: what they know, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reflector_gpu.engines.base import Installable
from reflector_gpu.engines.catalog import MODELS
from reflector_gpu.engines.diarizers import DIARIZERS
from reflector_gpu.engines.translators import TRANSLATORS
from reflector_gpu.engines.weights import Weights, size
from reflector_gpu.settings import Settings, variables
from tests.cli.conftest import Typed

SECRET = "a-key-that-nobody-may-read"


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is installed must not hang on what this machine has downloaded."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))


def test_config_knows_every_setting_and_its_origin(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_GPU_APIKEY", SECRET)
    monkeypatch.setenv("REFLECTOR_URL_ALLOW", "10.0.0.0/8,minio")
    done = typed("config", "--profile", "gpu", "--port", 9, "--insecure", "--json")
    assert SECRET not in done.out
    records = {record["variable"]: record for record in json.loads(done.out)}
    assert list(records) == [variables(name)[0] for name in Settings.model_fields]
    assert {name: (r["value"], r["origin"]) for name, r in records.items()} | {
        "REFLECTOR_HOST": ("0.0.0.0", "profile gpu"),
        "REFLECTOR_PORT": (9, "command line"),
        "REFLECTOR_INSECURE": (True, "command line"),
        "REFLECTOR_APIKEY": ("********", "REFLECTOR_GPU_APIKEY"),
        "REFLECTOR_URL_ALLOW": (["10.0.0.0/8", "minio"], "REFLECTOR_URL_ALLOW"),
        "REFLECTOR_SPOOL_DIR": (None, "default"),
    } == {name: (r["value"], r["origin"]) for name, r in records.items()}
    assert all(record["description"] for record in records.values())


def test_config_as_a_table_has_a_line_each(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_APIKEY", SECRET)
    heading, *lines = typed("config").out.splitlines()
    assert heading.split() == ["Variable", "Value", "From", "What", "it", "is"]
    assert len(lines) == len(Settings.model_fields)
    assert SECRET not in "".join(lines)


def test_models_are_listed(typed: Typed) -> None:
    records = json.loads(typed("models", "list", "--model", "scripted", "--json").out)
    assert [record["name"] for record in records] == [*MODELS, *DIARIZERS, *TRANSLATORS]
    assert [record["name"] for record in records if record["default"]] == [
        "scripted",
        "bic",
        "apertium",
    ]
    by_name = {record["name"]: record for record in records}
    assert by_name["sphinx"]["installed"]
    assert by_name["sphinx"]["languages"] == ["en"]
    assert {name for name, r in by_name.items() if r["type"] == "diarizer"} == set(DIARIZERS)
    missing = by_name["large-v2"]
    assert not missing["installed"]
    assert (missing["megabytes"], missing["folder"]) == (3090, None)
    assert missing["installation"].endswith("reflector-gpu models pull large-v2")


def test_models_as_a_table_have_a_line_each(typed: Typed) -> None:
    table = typed("models", "list").out
    for model in (*MODELS.values(), *DIARIZERS.values(), *TRANSLATORS.values()):
        [line] = [line for line in table.splitlines() if line.split()[:1] == [model.name]]
        assert model.licence in line
        assert model.summary in line
        assert (size(model.weights.megabytes) if model.weights else model.name) in line
    assert "3.1 GB" in table


def test_weights_are_pulled(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Weights, "pull", lambda weights: Path("/cache") / weights.repository)
    repository = weights_of(MODELS["tiny"]).repository
    done = typed("models", "pull", "tiny", "sphinx")
    assert done == (0, f"/cache/{repository}\n", "sphinx: needs no download\n")
    done = typed("models", "pull", "bic", "segmentation")
    repository = weights_of(DIARIZERS["segmentation"]).repository
    assert done == (0, f"/cache/{repository}\n", "bic: needs no download\n")


def test_nothing_is_pulled_if_a_name_is_wrong(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Weights, "pull")
    done = typed("models", "pull", "tiny", "nonesuch")
    assert done.status == 2
    assert "'nonesuch' does not exist" in done.err


def weights_of(model: Installable) -> Weights:
    assert model.weights
    return model.weights
