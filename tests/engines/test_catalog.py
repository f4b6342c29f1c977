"""Names of models, and which languages they take."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace

import pytest

from reflector_gpu.engines.catalog import MODELS, Catalog
from reflector_gpu.errors import ConfigurationError, UnknownModel, UnsupportedLanguage
from tests.engines.tiny import PARAKEET, WHISPER


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_found_by_its_name(name: str) -> None:
    assert Catalog("sphinx").resolve(name) is MODELS[name]


@pytest.mark.parametrize("default", MODELS)
@pytest.mark.parametrize("name", [None, "", "whisper-1"])
def test_no_name_and_whisper_1_mean_the_configured_model(default: str, name: str | None) -> None:
    catalog = Catalog(default)
    assert catalog.resolve(name) is catalog.default is MODELS[default]


def test_aliases_add_names_and_override_them() -> None:
    catalog = Catalog("sphinx", {"mine": "scripted", "whisper-1": "scripted", "sphinx": "scripted"})
    for name in ("mine", "whisper-1", "sphinx"):
        assert catalog.resolve(name) is MODELS["scripted"]
    # What a request without a model gets is the configured name, read like any other.
    assert catalog.resolve(None) is MODELS["scripted"]


def test_the_default_may_be_an_alias() -> None:
    catalog = Catalog("house", {"house": "scripted"})
    assert catalog.default is MODELS["scripted"]
    assert catalog.resolve("whisper-1") is MODELS["scripted"]


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownModel) as refusal:
        Catalog("sphinx", {"mine": "scripted"}).resolve("gpt-9")
    message = refusal.value.message
    assert "'gpt-9'" in message
    assert all(name in message for name in ("sphinx", "scripted", "whisper-1", "mine"))
    assert refusal.value.param == "model"


@pytest.mark.parametrize(
    ("default", "aliases", "error"),
    [
        ("gpt-9", {}, UnknownModel),
        ("sphinx", {"mine": "gpt-9"}, ConfigurationError),
        ("sphinx", {"a": "b", "b": "a"}, ConfigurationError),
    ],
)
def test_a_catalog_of_names_without_models_is_refused(
    default: str, aliases: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Catalog(default, aliases)


def test_names_are_listed_once() -> None:
    names = Catalog("sphinx", {"mine": "scripted", "sphinx": "scripted"}).names
    assert sorted(names) == sorted({*MODELS, "mine", "whisper-1"})


@pytest.mark.parametrize("language", [None, "en"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_english(name: str, language: str | None) -> None:
    assert MODELS[name].own_language(language) == language


@pytest.mark.parametrize("language", ["fr", "French", "xx", "englsh"])
def test_a_model_of_one_language_says_so(language: str) -> None:
    with pytest.raises(UnsupportedLanguage, match="only supports English") as refusal:
        MODELS["sphinx"].own_language(language)
    assert refusal.value.param == "language"


def test_a_model_of_several_languages_lists_them() -> None:
    MODELS["scripted"].own_language("fr")
    with pytest.raises(UnsupportedLanguage, match="supports: de, en, es, fr"):
        MODELS["scripted"].own_language("ja")


def test_what_is_not_installed_is_told() -> None:
    model = replace(MODELS["sphinx"], packages=("numpy", "no_such_package", "nor.this_one"))
    assert model.missing == ("no_such_package", "nor.this_one")
    assert replace(model, packages=("numpy",)).missing == ()


def test_every_model_is_described() -> None:
    for name, model in MODELS.items():
        assert model.name == name
        assert model.summary
        assert model.licence
        module, _, _ = model.engine.partition(":")
        assert importlib.util.find_spec(module)


def test_reading_the_catalog_loads_no_engine_library() -> None:
    heavy = sorted({package for model in MODELS.values() for package in model.packages})
    code = (
        "import sys, reflector_gpu.engines.catalog\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_auto_takes_the_first_that_knows_the_language() -> None:
    catalog = Catalog("auto", automatic=("sphinx", "scripted"))
    assert catalog.resolve(None, "en").name == "sphinx"
    assert catalog.resolve("whisper-1", "fr").name == "scripted"
    assert catalog.resolve("auto", None).name == "scripted"
    assert catalog.resolve(None, "en", "translate").name == "scripted"
    assert [model.name for model in catalog.defaults] == ["sphinx", "scripted"]


def test_auto_passes_over_what_is_not_installed() -> None:
    catalog = Catalog("auto", automatic=("nvidia/parakeet-tdt-0.6b-v2", "scripted"))
    assert catalog.resolve(None, "en").name == "scripted"
    assert [model.name for model in catalog.defaults] == ["scripted"]


def test_a_language_that_no_automatic_model_knows_is_left_to_the_broadest() -> None:
    model = Catalog("auto", automatic=("sphinx", "scripted")).resolve(None, "xx")
    with pytest.raises(UnsupportedLanguage):
        model.own_language("xx")


def test_folders_add_models_by_their_files() -> None:
    catalog = Catalog("mine", folders={"mine": str(PARAKEET), "other": str(WHISPER)})
    assert catalog.default.spec.languages == {"en"}
    assert catalog.resolve("other").spec.translates
    assert "mine" not in MODELS


@pytest.mark.parametrize(
    ("variable", "arguments"),
    [
        ("REFLECTOR_MODEL_PATHS", {"folders": {"mine": "/nowhere"}}),
        ("REFLECTOR_AUTO_MODELS", {"automatic": ("gpt-9",)}),
        ("REFLECTOR_MODEL_ALIASES", {"aliases": {"mine": "gpt-9"}}),
    ],
)
def test_a_setting_that_leads_nowhere_is_named(
    variable: str, arguments: dict[str, dict[str, str]]
) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        Catalog("sphinx", **arguments)  # type: ignore[arg-type]
