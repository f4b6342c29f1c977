"""Translators: what they know, and what comes out of a model that was trained for these tests."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.translation import apertium
from reflector_gpu.engines.translation.apertium import ApertiumTranslator
from reflector_gpu.engines.translation.base import Directions
from reflector_gpu.engines.translation.catalog import TRANSLATORS
from reflector_gpu.engines.translation.neural import CTranslate2Translator
from reflector_gpu.errors import (
    ConfigurationError,
    EngineFailed,
    ModelNotInstalled,
    UnsupportedLanguage,
)
from reflector_gpu.languages import alike
from reflector_gpu.types import TranslateOptions
from tests.engines.tongues import OPUS, TRANSLATION, sentences

EN_FR = TranslateOptions("en", "fr")

EXACT = "float32"
"""In int8, which is the default on CPUs, some processors translate some sentences differently."""


@pytest.fixture(scope="module")
def tiny() -> Iterator[CTranslate2Translator]:
    translator = CTranslate2Translator(str(TRANSLATION), compute_type=EXACT)
    translator.load()
    yield translator
    translator.close()


@pytest.mark.parametrize(("source", "target"), list(permutations(("en", "fr", "es"), 2)))
def test_the_tiny_model_translates_its_corpus_in_every_direction(
    tiny: CTranslate2Translator, source: str, target: str
) -> None:
    known = sentences()
    said = tiny.translate([one[source] for one in known], TranslateOptions(source, target))
    assert said == [one[target] for one in known]


def test_a_sentence_is_the_same_whatever_is_beside_it(tiny: CTranslate2Translator) -> None:
    some = [one["en"] for one in sentences()][::7]
    together = tiny.translate(some, EN_FR)
    assert [tiny.translate([text], EN_FR)[0] for text in some] == together


def test_text_does_not_choose_a_language(tiny: CTranslate2Translator) -> None:
    told, *_ = tiny.translate(["__es__ Thank you."], EN_FR)
    assert "Gracias" not in str(told)
    assert "__" not in str(told)


def test_what_cannot_be_read_stays(tiny: CTranslate2Translator) -> None:
    assert tiny.translate(["", " "], EN_FR) == ["", " "]


def test_the_vocabulary_tells_the_family(tmp_path: Path) -> None:
    """The same weights with the tokens of an NLLB-200."""
    folder = shutil.copytree(TRANSLATION, tmp_path / "nllb")
    file = folder / "shared_vocabulary.json"
    names = {"__en__": "eng_Latn", "__fr__": "fra_Latn", "__zh__": "zho_Hant"}
    pieces: list[str] = [names.get(p, p) for p in json.loads(file.read_text())]
    pieces = [p.replace("__", "") if p.startswith("__") else p for p in pieces]
    file.write_text(json.dumps(pieces))
    model = TRANSLATORS.find(str(folder), {})
    assert model.directions.sources == ["en", "fr", "zh-Hant"]
    options = model.directions.resolve("en-GB", "fra")
    assert options == TranslateOptions("eng_Latn", "fra_Latn")
    translator = CTranslate2Translator(**model.arguments)
    translator.load()
    assert translator.translate(["Thank you."], options) == ["Merci."]


@pytest.mark.parametrize("missing", ["model.bin", "sentencepiece.bpe.model"])
def test_an_incomplete_folder_is_refused(tmp_path: Path, missing: str) -> None:
    folder = shutil.copytree(TRANSLATION, tmp_path / "mine")
    (folder / missing).unlink()
    with pytest.raises(ConfigurationError, match="holds no CTranslate2 model"):
        TRANSLATORS.find(str(folder), {})
    translator = CTranslate2Translator(str(folder))
    with pytest.raises(ModelNotInstalled):
        translator.load()


def test_a_compute_type_that_the_machine_lacks_is_named() -> None:
    translator = CTranslate2Translator(str(TRANSLATION), compute_type="int7")
    with pytest.raises(ModelNotInstalled, match="cannot compute in 'int7'"):
        translator.load()


# Names


def test_every_translator_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for model in TRANSLATORS.models.values():
        with pytest.raises(ModelNotInstalled) as caught:
            _ = model.directions
        assert model.installation in caught.value.message
        assert ("apt-get install" if model.programs else "models pull") in model.installation


def test_without_the_extra_pip_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelNotInstalled, match=r"pip install 'reflector-gpu\[translation\]'"):
        _ = TRANSLATORS.find(str(TRANSLATION), {}).directions


def test_opus_is_known_by_its_pair() -> None:
    model = TRANSLATORS.find("opus-mt-en-fr", {})
    assert model.weights
    assert model.weights.repository == "gaudi/opus-mt-en-fr-ctranslate2"
    directions = model.read(model.arguments)
    assert directions.pairs is None
    assert (directions.sources, directions.targets) == (["en"], ["fr"])
    with pytest.raises(UnsupportedLanguage):
        directions.resolve("fr", "en")


def test_an_opus_folder_translates_its_pair() -> None:
    """A Marian model, with SentencePiece models of its own for source and target."""
    model = TRANSLATORS.find(str(OPUS), {})
    options = model.directions.resolve("eng", "fr-CA")
    translator = CTranslate2Translator(**{**model.arguments, "compute_type": EXACT})
    translator.load()
    known = sentences(OPUS)
    assert len(known) > 150
    said = translator.translate([one["en"] for one in known], options)
    assert said == [one["fr"] for one in known]


def test_a_folder_without_languages_is_named_for_its_pair(tmp_path: Path) -> None:
    folder = shutil.copytree(TRANSLATION, tmp_path / "some-model")
    (folder / "shared_vocabulary.json").write_text('["</s>", "<unk>"]')
    with pytest.raises(ConfigurationError, match="names no languages"):
        TRANSLATORS.find(str(folder), {})
    model = TRANSLATORS.find(str(folder.rename(tmp_path / "our-opus-mt-de-en")), {})
    assert model.directions.resolve("deu", "en-US") == TranslateOptions("de", "en")


@pytest.mark.parametrize("name", ["babelfish", "opus-mt-en", "/nowhere/at/all"])
def test_a_name_that_leads_nowhere_is_a_setting_that_does_not_work(name: str) -> None:
    with pytest.raises(ConfigurationError, match="REFLECTOR_TRANSLATOR"):
        TRANSLATORS.find(name, {})


# Languages

EVERYBODY = ("en", "fr", "pt", "zh", "no", "hr", "fil", "ar")
DIRECTIONS = Directions(dict.fromkeys(EVERYBODY, EVERYBODY))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("eng", "en"),
        ("en-US", "en"),
        ("en_GB", "en"),
        ("eng_Latn", "en"),
        ("pt-BR", "pt"),
        ("fra", "fr"),
        ("fre", "fr"),
        ("cmn", "zh"),
        ("zh-Hans-CN", "zh"),
        ("nb", "no"),
        ("tl", "fil"),
        ("arb", "ar"),
    ],
)
def test_a_language_is_known_by_all_its_codes(code: str, found: str) -> None:
    assert DIRECTIONS.resolve(code, "en").source == found
    assert alike(code, found)


@pytest.mark.parametrize("code", ["zh-TW", "yue", "da", "bs", "nn", "br", "xx", "", "english?"])
def test_a_language_is_not_taken_for_its_neighbour(code: str) -> None:
    with pytest.raises(UnsupportedLanguage, match="ar, en, fil, fr, hr, no, pt, zh"):
        DIRECTIONS.resolve("en", code)


@pytest.mark.parametrize(
    ("one", "other"), [("sr-Latn", "srp_Cyrl"), ("sr", "sr-Latn"), ("uz-Latn", "uz-Cyrl")]
)
def test_a_script_is_not_taken_for_the_other_one_of_its_language(one: str, other: str) -> None:
    assert not alike(one, other)
    for wanted, known in ((one, other), (other, one)):
        with pytest.raises(UnsupportedLanguage):
            Directions({"en": (known,)}).resolve("en", wanted)
    both = Directions(dict.fromkeys((one, other), (one, other)))
    assert both.resolve(one, other) == TranslateOptions(one, other)


@pytest.mark.parametrize(
    ("code", "found"), [("pt-BR", "pt_BR"), ("pt-PT", "pt_PT"), ("pt", "pt_BR")]
)
def test_of_several_regions_the_nearest_is_taken(code: str, found: str) -> None:
    regions = ("pt_PT", "pt_BR")
    assert Directions({"en": regions}).resolve("en", code).target == found


def test_only_the_listed_pairs_are_translated() -> None:
    some = Directions({"eng": ("spa", "cat_valencia", "not a language"), "spa": ("eng",)})
    assert some.pairs == [("en", "ca-valencia"), ("en", "es"), ("es", "en")]
    assert some.resolve("en", "ca-valencia") == TranslateOptions("eng", "cat_valencia")
    with pytest.raises(UnsupportedLanguage, match="to 'ca', but to: en") as caught:
        some.resolve("es", "ca")
    assert caught.value.param == "target_language"
    some.check_target("en")
    with pytest.raises(UnsupportedLanguage):
        some.check_target("fr")


def test_a_refusal_is_short() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    codes = [f"q{one}{other}" for one in "abcdefghijklmnopqrst" for other in letters]
    many = Directions(dict.fromkeys(codes, codes))
    with pytest.raises(UnsupportedLanguage, match="and 420 more") as caught:
        many.resolve("x" * 5000, "en")
    assert len(caught.value.message) < 1000


# Apertium

installed = pytest.mark.skipif(
    shutil.which("apertium") is None, reason="Debian's apertium is not installed"
)


@pytest.fixture(scope="module")
def rules() -> Iterator[ApertiumTranslator]:
    translator = ApertiumTranslator()
    translator.load()
    yield translator
    translator.close()


@installed
def test_apertium_translates_by_its_pairs(rules: ApertiumTranslator) -> None:
    directions = apertium.MODELS[0].directions
    there = directions.resolve("en", "es")
    back = directions.resolve("es", "en")
    text = "We need to talk about the meeting tomorrow"
    assert rules.translate([text], there) == ["Necesitamos hablar sobre la reunión mañana"]
    assert rules.translate(["La reunión"], back) == ["The meeting"]
    assert rules.translate([text, "Thank you"], there)[1] == "Gracias"


@installed
def test_apertium_does_not_mark_what_it_does_not_know(rules: ApertiumTranslator) -> None:
    directions = apertium.MODELS[0].directions
    told, *_ = rules.translate(["the xyzzyq"], directions.resolve("en", "es"))
    assert str(told).lower() == "el xyzzyq"


@installed
@settings(max_examples=8)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=40))
def test_apertium_gives_a_line_for_each_whatever_it_holds(
    rules: ApertiumTranslator, texts: list[str]
) -> None:
    found = rules.translate([*texts, "Thank you"], TranslateOptions("eng", "spa"))
    assert len(found) == len(texts) + 1
    assert str(found[-1]).lower() == "gracias"


@installed
@pytest.mark.parametrize("marks", [".", "..", "...", "?", "!", ""])
def test_apertium_leaves_the_marks_at_the_end(rules: ApertiumTranslator, marks: str) -> None:
    english = [f"The house is red{marks}", f"The house is red. It is red{marks}", marks]
    assert rules.translate(english, TranslateOptions("eng", "spa")) == [
        f"La casa es roja{marks}",
        f"La casa es roja. Es rojo{marks}",
        marks,
    ]


@installed
def test_apertium_gives_what_it_has_though_its_next_process_cannot_start(
    rules: ApertiumTranslator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = TranslateOptions("eng", "spa")
    rules.translate(["Thank you"], there)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        assert rules.translate(["Thank you"], there) == ["Gracias"]
    assert rules.translate(["Thank you"], there) == ["Gracias"]


@installed
def test_apertium_goes_on_after_a_failure(rules: ApertiumTranslator) -> None:
    for _ in range(2):
        with pytest.raises(EngineFailed, match="failed on 1 lines of eng-tlh"):
            rules.translate(["Thank you"], TranslateOptions("eng", "tlh"))
    assert rules.translate(["Thank you"], TranslateOptions("eng", "spa")) == ["Gracias"]


@pytest.mark.parametrize("name", [pytest.param("apertium", marks=installed), str(TRANSLATION)])
def test_the_directions_of_a_translator_are_made_once(name: str) -> None:
    model = TRANSLATORS.find(name, {})
    assert model.directions is model.directions


def test_apertium_that_lists_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "apertium"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    apertium._installed.cache_clear()
    model: AnyModel = TRANSLATORS.models["apertium"]
    assert not model.missing
    with pytest.raises(ModelNotInstalled, match="apt-get install apertium apertium-eng-spa"):
        _ = TRANSLATORS.models["apertium"].directions
