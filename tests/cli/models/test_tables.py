"""``config`` and ``models``: what they know, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manual import settings_page
from reflector_gpu.cli import console
from reflector_gpu.cli.hints import here
from reflector_gpu.cli.inventory import megabytes, state
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.catalogs import CATALOGS
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.translation.catalog import TRANSLATORS
from reflector_gpu.engines.weights import Weights, size
from reflector_gpu.service import Service
from reflector_gpu.settings import Settings, load_settings, variables
from tests.cli.conftest import Typed
from tests.engines.tiny import WHISPER

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
    in_manual = [name for names in settings_page.sections().values() for name in names]
    assert list(records) == [variables(name)[0] for name in in_manual]
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
    assert [record["name"] for record in records] == [
        name for catalog in CATALOGS.values() for name in catalog.models
    ]
    assert [record["name"] for record in records if record["default"]] == [
        "scripted",
        "pyannet",
        "apertium",
        "smart-turn",
    ]
    by_name = {record["name"]: record for record in records}
    assert by_name["sphinx"]["installed"]
    assert by_name["sphinx"]["languages"] == ["en"]
    assert {name for name, r in by_name.items() if r["type"] == "diarizer"} == set(DIARIZERS.models)
    missing = by_name["large-v2"]
    assert not missing["installed"]
    assert (missing["megabytes"], missing["folder"]) == (3090, None)
    assert missing["installation"].endswith("reflector-gpu models pull large-v2")


KNOWN = (*MODELS.values(), *DIARIZERS.models.values(), *TRANSLATORS.models.values())


def test_models_as_a_table_have_a_line_each(typed: Typed) -> None:
    table = typed("models", "list").out
    assert not [line for line in table.splitlines() if line.endswith(" ")]
    for model in KNOWN:
        [line] = [line for line in table.splitlines() if line.split()[:1] == [model.name]]
        assert model.licence in line
        assert model.summary in line
        assert (size(model.weights.megabytes) if model.weights else model.name) in line
        assert state(model) in line
    assert "3.1 GB" in table
    assert "\nsphinx * " in table


def test_names_of_ones_own_are_listed_with_what_they_lack(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    aliases = {"house": "large-v2", "home": "scripted", "any": "auto"}
    monkeypatch.setenv("REFLECTOR_MODEL_ALIASES", json.dumps(aliases))
    monkeypatch.setenv("REFLECTOR_AUTO_MODELS", "sphinx")
    table = [line.split() for line in typed("models", "list").out.splitlines()]
    assert ["house", "large-v2", "not", "downloaded"] in table
    assert ["home", "scripted", "installed"] in table
    assert ["any", "auto"] in table
    assert "aliases    house\n" in typed("models", "show", "large-v2").out
    assert json.loads(typed("models", "show", "house", "--json").out)["aliases"] == ["house"]


def test_the_default_is_what_a_server_with_these_settings_answers_with(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_AUTO_MODELS", "large-v2,sphinx")
    for auto_pull, expected in (("true", "large-v2"), ("false", "sphinx")):
        monkeypatch.setenv("REFLECTOR_AUTO_PULL", auto_pull)
        arguments = ("models", "list", "--model", "auto", "--json")
        records = json.loads(typed(*arguments).out)
        recognisers = [one for one in records if one["type"] == "recogniser"]
        named = [one["name"] for one in recognisers if one["default"]]
        service = Service(load_settings(model="auto"))
        assert service.default
        assert named == [service.default.name] == [expected]


def test_a_narrow_terminal_shows_names_sizes_and_states(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_WIDE", 80)
    table = typed("models", "list").out
    assert max(map(len, table.splitlines())) <= 80
    for model in KNOWN:
        [line] = [line for line in table.splitlines() if line.split()[:1] == [model.name]]
        assert state(model) in line
        assert megabytes(model) in line
    config = typed("config").out
    assert max(map(len, config.splitlines())) <= 80
    for name in Settings.model_fields:
        assert variables(name)[0] in config


@pytest.mark.parametrize("model", KNOWN, ids=lambda model: model.name)
def test_a_model_shows_all_there_is_to_know(model: AnyModel, typed: Typed) -> None:
    shown = typed("models", "show", model.name).out
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert lines["name"] == model.name
    assert lines["summary"] == model.summary
    assert lines["licence"] == model.licence
    assert lines["state"] == state(model)
    assert lines.get("install", "") == here(model.installation)
    if model.weights:
        assert lines["size"] == size(model.weights.megabytes)
        assert f"https://huggingface.co/{model.weights.repository}" in shown
    if isinstance(model, RecogniserModel):
        assert lines["languages"] == ", ".join(sorted(model.spec.languages))
    record = json.loads(typed("models", "show", model.name, "--json").out)
    assert record["name"] == model.name
    assert record["installed"] == (not model.missing)


def test_a_model_of_ones_own_shows_its_folder(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_MODEL_PATHS", json.dumps({"mine": str(WHISPER)}))
    shown = typed("models", "show", "mine").out
    assert f"folder     {WHISPER}\n" in shown
    refused = typed("models", "rm", "mine", "--yes")
    assert refused.status == 2
    assert f"a folder of your own, {WHISPER}" in refused.err
    assert WHISPER.exists()


def test_a_model_that_is_half_there_says_so(typed: Typed) -> None:
    blob = weights_of(MODELS["tiny"]).cached.path / "blobs" / "hash.incomplete"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(bytes(5_000_000))
    assert "state      5 MB downloaded\n" in typed("models", "show", "tiny").out


@pytest.mark.parametrize("command", ["show", "rm", "pull"])
def test_a_wrong_name_leads_to_the_right_ones(typed: Typed, command: str) -> None:
    done = typed("models", command, "nonesuch")
    assert (done.status, done.out) == (2, "")
    assert "'nonesuch' does not exist. `reflector-gpu models list` has all." in done.err
    assert "Did you mean 'sphinx'? " in typed("models", command, "sphynx").err


def test_deleting_asks_first(typed: Typed) -> None:
    blob = weights_of(MODELS["tiny"]).cached.path / "blobs" / "hash"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(bytes(5_000_000))
    unasked = typed("models", "rm", "tiny")
    assert unasked.status == 2
    assert "Pass --yes" in unasked.err
    assert blob.exists()
    done = typed("models", "rm", "tiny", "sphinx", "--yes")
    assert done == (0, "tiny: deleted, 5 MB freed\n", "sphinx: nothing of it is downloaded\n")
    assert not blob.exists()


def test_weights_are_pulled(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Weights, "pull", lambda weights, _: Path("/cache") / weights.repository)
    repository = weights_of(MODELS["tiny"]).repository
    done = typed("models", "pull", "tiny", "sphinx")
    assert done == (0, f"/cache/{repository}\n", "sphinx: needs no download\n")
    done = typed("models", "pull", "bic", "segmentation")
    repository = weights_of(DIARIZERS.models["segmentation"]).repository
    assert done == (0, f"/cache/{repository}\n", "bic: needs no download\n")


def test_nothing_is_pulled_if_a_name_is_wrong(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Weights, "pull")
    done = typed("models", "pull", "tiny", "nonesuch")
    assert done.status == 2
    assert "'nonesuch' does not exist" in done.err


def weights_of(model: AnyModel) -> Weights:
    assert model.weights
    return model.weights
