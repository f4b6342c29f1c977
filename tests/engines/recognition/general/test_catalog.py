"""Names of models, and which languages they take."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.recognition.resolution import (
    ABSENT,
    COMING,
    FAILED,
    HERE,
    PULLABLE,
    READY,
    Recognisers,
)
from reflector_gpu.errors import ConfigurationError, UnknownModel, UnsupportedLanguage
from tests.engines.tiny import PARAKEET, WHISPER


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_found_by_its_name(name: str) -> None:
    assert Recognisers("sphinx").resolve(name) is MODELS[name]


@pytest.mark.parametrize("default", MODELS)
@pytest.mark.parametrize("name", [None, "", "whisper-1"])
def test_no_name_and_whisper_1_mean_the_configured_model(default: str, name: str | None) -> None:
    catalog = Recognisers(default)
    assert catalog.resolve(name) is catalog.default is MODELS[default]


def test_aliases_add_names_and_override_them() -> None:
    catalog = Recognisers(
        "sphinx", {"mine": "scripted", "whisper-1": "scripted", "sphinx": "scripted"}
    )
    for name in ("mine", "whisper-1", "sphinx"):
        assert catalog.resolve(name) is MODELS["scripted"]
    # What a request without a model gets is the configured name, read like any other.
    assert catalog.resolve(None) is MODELS["scripted"]


def test_the_default_may_be_an_alias() -> None:
    catalog = Recognisers("house", {"house": "scripted"})
    assert catalog.default is MODELS["scripted"]
    assert catalog.resolve("whisper-1") is MODELS["scripted"]


def test_an_alias_may_mean_another_alias() -> None:
    catalog = Recognisers("sphinx", {"a": "b", "b": "c", "c": "scripted"})
    assert all(catalog.resolve(name) is MODELS["scripted"] for name in "abc")


def test_an_alias_for_all_that_is_not_known_otherwise() -> None:
    catalog = Recognisers("sphinx", {"*": "house", "house": "scripted"})
    for name in ("gpt-9", "*", "house"):
        assert catalog.resolve(name) is MODELS["scripted"]
    for known in ("sphinx", "whisper-1", None):
        assert catalog.resolve(known) is MODELS["sphinx"]


@pytest.mark.parametrize(
    "name",
    [
        "whisper-1",
        "gpt-transcribe",
        "gpt-4o-transcribe",
        "GPT-4o-Transcribe",
        "openai/gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-4o-transcribe-diarize",
        "gpt-live-transcribe",
        "gpt-realtime-whisper",
    ],
)
def test_names_of_openai_mean_the_configured_model(name: str) -> None:
    assert Recognisers("scripted").resolve(name) is MODELS["scripted"]
    assert Recognisers("scripted").meaning(name).speakers == name.endswith("-diarize")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("Systran/faster-whisper-base", "base"),
        ("openai/whisper-large-v3", "large-v3"),
        ("whisper-large-v3-turbo", "large-v3-turbo"),
        ("whisper-base", "base"),
        ("faster-whisper-base.en", "base.en"),
        ("deepdml/faster-whisper-large-v3-turbo-ct2", "large-v3-turbo"),
        ("mobiuslabsgmbh/faster-whisper-large-v3-turbo", "large-v3-turbo"),
        ("turbo", "large-v3-turbo"),
        ("distil-whisper/distil-large-v3", "distil-large-v3"),
        ("Systran/faster-distil-whisper-small.en", "distil-small.en"),
        ("istupakov/parakeet-tdt-0.6b-v2-onnx", "nvidia/parakeet-tdt-0.6b-v2"),
        ("parakeet-tdt-0.6b-v2", "nvidia/parakeet-tdt-0.6b-v2"),
        ("NVIDIA/Parakeet-TDT-0.6B-v3", "nvidia/parakeet-tdt-0.6b-v3"),
        ("parakeet-tdt-0.6b-v3-int8", "nvidia/parakeet-tdt-0.6b-v3-int8"),
        ("SPHINX", "sphinx"),
    ],
)
def test_names_of_the_hub_mean_our_models(name: str, model: str) -> None:
    assert Recognisers("scripted").resolve(name) is MODELS[model]


@pytest.mark.parametrize(
    "name", ["someone/whisper-base", "openai/sphinx", "whisper-9", "gpt-4o", "gpt-4o-transcribe-x"]
)
def test_what_others_made_is_not_taken_for_ours(name: str) -> None:
    with pytest.raises(UnknownModel):
        Recognisers("scripted").resolve(name)


def test_a_hub_name_means_the_form_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    small = MODELS["nvidia/parakeet-tdt-0.6b-v2-int8"]
    here = replace(small, packages=(), arguments={"weights": "/here"})
    monkeypatch.setitem(cast("dict[str, RecogniserModel]", MODELS), small.name, here)
    assert Recognisers("scripted").resolve("parakeet-tdt-0.6b-v2") is here


@pytest.mark.parametrize(
    ("aliases", "name", "speakers"),
    [
        ({"meeting-diarize": "sphinx"}, "meeting-diarize", True),
        ({"gpt-4o-transcribe-diarize": "sphinx"}, "gpt-4o-transcribe-diarize", True),
        ({"house": "gpt-4o-transcribe-diarize"}, "house", True),
        ({}, "gpt-4o-transcribe-diarize-2025-10-01", True),
        ({"*": "sphinx"}, "whatever", False),
        ({}, None, False),
    ],
)
def test_some_names_ask_for_speakers(
    aliases: dict[str, str], name: str | None, speakers: bool
) -> None:
    assert Recognisers("sphinx", aliases).meaning(name).speakers == speakers


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownModel) as refusal:
        Recognisers("sphinx", {"mine": "scripted"}).resolve("gpt-9")
    message = refusal.value.message
    assert "'gpt-9'" in message
    assert all(name in message for name in ("sphinx", "scripted", "whisper-1", "mine"))
    assert refusal.value.param == "model"


def test_a_misspelt_name_is_told_the_right_one() -> None:
    with pytest.raises(UnknownModel, match=r"Did you mean 'large-v3-turbo'\?"):
        Recognisers("sphinx").resolve("large-v3-trubo")


@pytest.mark.parametrize(
    ("default", "aliases", "error"),
    [
        ("gpt-9", {}, UnknownModel),
        ("sphinx", {"mine": "gpt-9"}, ConfigurationError),
        ("sphinx", {"a": "b", "b": "a"}, ConfigurationError),
        ("sphinx", {"a": "a"}, ConfigurationError),
        ("sphinx", {"sphinx": "scripted", "scripted": "sphinx"}, ConfigurationError),
        ("sphinx", {"large-v3": "openai/whisper-large-v3"}, ConfigurationError),
        ("sphinx", {"*": "house"}, ConfigurationError),
        ("sphinx", {"house": "*"}, ConfigurationError),
        ("sphinx", {"house": "auto"}, ConfigurationError),
        ("sphinx", {"": "scripted"}, ConfigurationError),
        ("sphinx", {"Mine": "scripted", "mine": "sphinx"}, ConfigurationError),
        ("whisper-1", {}, ConfigurationError),
        ("house", {"house": "whisper-1"}, ConfigurationError),
        ("gpt-9", {"*": "scripted"}, UnknownModel),
    ],
)
def test_a_catalog_of_names_without_models_is_refused(
    default: str, aliases: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Recognisers(default, aliases)


def test_names_are_listed_once() -> None:
    names = Recognisers("sphinx", {"mine": "scripted", "sphinx": "scripted"}).names
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
    with pytest.raises(UnsupportedLanguage, match=r"supports: 99 languages; GET /v1/models lists"):
        MODELS["base"].own_language("klingon")


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
        "import sys, reflector_gpu.engines.recognition.catalog\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_auto_takes_the_first_that_knows_the_language() -> None:
    catalog = Recognisers("auto", automatic=("sphinx", "scripted"))
    assert catalog.resolve(None, "en").name == "sphinx"
    assert catalog.resolve("whisper-1", "fr").name == "scripted"
    assert catalog.resolve("auto", None).name == "scripted"
    assert catalog.resolve(None, "en", "translate").name == "scripted"
    assert [model.name for model in catalog.defaults] == ["sphinx", "scripted"]


def test_auto_passes_over_what_is_not_installed() -> None:
    catalog = Recognisers("auto", automatic=("nvidia/parakeet-tdt-0.6b-v2", "scripted"))
    assert catalog.resolve(None, "en").name == "scripted"
    assert [model.name for model in catalog.defaults] == ["scripted"]


def test_a_language_that_no_automatic_model_knows_is_left_to_the_broadest() -> None:
    model = Recognisers("auto", automatic=("sphinx", "scripted")).resolve(None, "xx")
    assert model.name == "scripted"
    with pytest.raises(UnsupportedLanguage):
        model.own_language("xx")


PARAKEETS = ("nvidia/parakeet-tdt-0.6b-v2", "nvidia/parakeet-tdt-0.6b-v3")
BOTH = ("nvidia/parakeet-tdt-0.6b-v2", "large-v3-turbo")


def being(**found: int) -> Callable[[RecogniserModel], int]:
    """How close models are, by the last letters of their names; others are not here."""
    return lambda model: next((c for end, c in found.items() if model.name.endswith(end)), ABSENT)


@pytest.mark.parametrize(
    ("automatic", "closeness", "chosen"),
    [
        (BOTH, being(v2=READY, turbo=READY), "large-v3-turbo"),
        (BOTH, being(v2=READY, turbo=HERE), "large-v3-turbo"),
        (BOTH, being(v2=READY, turbo=COMING), "large-v3-turbo"),
        (BOTH, being(v2=READY, turbo=PULLABLE), "nvidia/parakeet-tdt-0.6b-v2"),
        (BOTH, being(v2=READY), "nvidia/parakeet-tdt-0.6b-v2"),
        ((*BOTH, "tiny"), being(v2=READY, turbo=HERE, tiny=READY), "tiny"),
        ((*BOTH, "tiny"), being(v2=READY, turbo=READY, tiny=READY), "large-v3-turbo"),
        (PARAKEETS, being(v2=READY, v3=READY), "nvidia/parakeet-tdt-0.6b-v3"),
        (PARAKEETS, being(v2=READY, v3=COMING), "nvidia/parakeet-tdt-0.6b-v2"),
    ],
)
def test_without_a_language_a_model_that_detects_it_is_chosen(
    automatic: tuple[str, ...], closeness: Callable[[RecogniserModel], int], chosen: str
) -> None:
    catalog = Recognisers("auto", automatic=automatic)
    model = catalog.resolve(None, closeness=closeness)
    assert model.name == chosen
    assert bool(catalog.caveat(model)) == (not model.spec.detects)


def test_with_a_language_the_preferred_model_is_waited_for() -> None:
    catalog = Recognisers("auto", automatic=BOTH)
    for language in ("en", "English", "en-GB"):
        model = catalog.resolve(None, language, closeness=being(v2=HERE, turbo=READY))
        assert model.name == BOTH[0]
    assert catalog.resolve(None, "fr", closeness=being(v2=READY, turbo=HERE)).name == BOTH[1]
    assert catalog.resolve(None, "en", closeness=being(v2=FAILED, turbo=READY)).name == BOTH[1]


def test_translation_goes_to_a_model_that_translates() -> None:
    catalog = Recognisers("auto", automatic=(*BOTH, "small"))
    for language in (None, "en", "fr"):
        model = catalog.resolve(None, language, "translate", being(v2=READY, turbo=HERE))
        assert model.name == "small"


def test_where_nothing_translates_english_stays_as_it_is() -> None:
    catalog = Recognisers("auto", automatic=("base", "sphinx"))
    bare, whole = being(sphinx=READY), being(base=HERE, sphinx=READY)
    assert catalog.resolve(None, None, "translate", bare).name == "sphinx"
    assert catalog.resolve(None, "en", "translate", bare).name == "sphinx"
    assert catalog.resolve(None, "fr", "translate", bare).name == "base"
    assert catalog.resolve(None, "en", "translate", whole).name == "base"


@pytest.mark.parametrize(
    ("automatic", "needed"),
    [
        (("base", "tiny.en", "sphinx"), ("base",)),
        (("tiny.en", "sphinx", "base"), ("tiny.en", "base")),
        (("sphinx", "base"), ("sphinx", "base")),
        (("base", "large-v3"), ("base", "large-v3")),  # which knows Cantonese
        (("large-v3", "base"), ("large-v3",)),
        (BOTH, BOTH),
        (PARAKEETS, PARAKEETS),
        (("nvidia/parakeet-tdt-0.6b-v3", "base"), ("nvidia/parakeet-tdt-0.6b-v3", "base")),
    ],
)
def test_what_is_never_chosen_is_not_needed(
    automatic: tuple[str, ...], needed: tuple[str, ...]
) -> None:
    catalog = Recognisers("auto", automatic=automatic)
    assert tuple(model.name for model in catalog.needed(catalog.automatic)) == needed


def test_a_caveat_is_for_those_who_left_the_choice_to_us() -> None:
    assert Recognisers("sphinx").caveat(MODELS["sphinx"]) is None


def test_what_the_operator_calls_auto_is_not_chosen_from_several() -> None:
    assert (
        Recognisers("auto", {"auto": "scripted"}, automatic=BOTH).resolve("auto").name == "scripted"
    )
    own = Recognisers("auto", folders={"auto": str(WHISPER)}, automatic=BOTH)
    assert own.resolve(None) is own.models["auto"]


def test_a_folder_named_as_a_model_of_ours_takes_its_place() -> None:
    folders = {"Sphinx": str(WHISPER), "whisper-1": str(PARAKEET)}
    catalog = Recognisers("scripted", folders=folders)
    assert catalog.resolve("sphinx") is catalog.models["Sphinx"]
    assert catalog.resolve("WHISPER-1") is catalog.models["whisper-1"]
    assert catalog.resolve("gpt-4o-transcribe") is MODELS["scripted"]


def test_an_alias_counts_in_every_setting() -> None:
    aliases = {"sphinx": "scripted", "default": "auto"}
    catalog = Recognisers("default", aliases, automatic=("sphinx", "Scripted", "whisper-base"))
    assert [model.name for model in catalog.automatic] == ["scripted", "base"]
    assert catalog.configured == catalog.automatic


def test_folders_add_models_by_their_files() -> None:
    catalog = Recognisers("mine", folders={"mine": str(PARAKEET), "other": str(WHISPER)})
    assert catalog.default.spec.languages == {"en"}
    assert catalog.resolve("other").spec.translates
    assert "mine" not in MODELS


@pytest.mark.parametrize(
    ("variable", "arguments"),
    [
        ("REFLECTOR_MODEL_PATHS", {"folders": {"mine": "/nowhere"}}),
        ("REFLECTOR_AUTO_MODELS", {"automatic": ("gpt-9",)}),
        ("REFLECTOR_AUTO_MODELS", {"automatic": ("sphinx", "auto")}),
        ("REFLECTOR_MODEL_ALIASES", {"aliases": {"mine": "gpt-9"}}),
        ("REFLECTOR_MODEL_PATHS", {"folders": {"*": str(WHISPER)}}),
        ("REFLECTOR_MODEL_PATHS", {"folders": {" ": str(WHISPER)}}),
        (
            "REFLECTOR_MODEL_ALIASES",
            {"aliases": {"mine": "sphinx"}, "folders": {"Mine": str(WHISPER)}},
        ),
    ],
)
def test_a_setting_that_leads_nowhere_is_named(
    variable: str, arguments: dict[str, dict[str, str]]
) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        Recognisers("sphinx", **arguments)  # type: ignore[arg-type]  # wrong on purpose
