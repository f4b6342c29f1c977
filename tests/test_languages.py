"""Languages by code, tag and name, and which of a model's languages they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.recognition.whisper import MODELS
from reflector_gpu.errors import UnsupportedLanguage
from reflector_gpu.languages import (
    LONGEST,
    WHISPER_CODES,
    check,
    language_name,
    match,
    match_spoken,
    not_a_language,
    read,
)
from tests import reflector

M2M100 = tuple(
    "af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu "
    "ha he hi hr ht hu hy id ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms "
    "my ne nl no ns oc or pa pl ps pt ro ru sd si sk sl so sq sr ss su sv sw ta th tl tn tr uk ur "
    "uz vi wo xh yi yo zh zu".split()
)
"""The codes of facebook/m2m100_418M."""

NLLB = tuple(
    "afr_Latn als_Latn amh_Ethi arb_Arab ary_Arab arz_Arab asm_Beng azb_Arab azj_Latn bel_Cyrl "
    "ben_Beng bos_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn ckb_Arab cym_Latn dan_Latn deu_Latn "
    "ell_Grek eng_Latn est_Latn eus_Latn fin_Latn fra_Latn gaz_Latn gle_Latn glg_Latn guj_Gujr "
    "heb_Hebr hin_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ind_Latn isl_Latn ita_Latn jav_Latn "
    "jpn_Jpan kan_Knda kat_Geor kaz_Cyrl khk_Cyrl khm_Khmr kir_Cyrl kmr_Latn kor_Hang lao_Laoo "
    "lit_Latn lug_Latn luo_Latn lvs_Latn mai_Deva mal_Mlym mar_Deva mkd_Cyrl mlt_Latn mni_Beng "
    "mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva nya_Latn ory_Orya pan_Guru pbt_Arab pes_Arab "
    "pol_Latn por_Latn prs_Arab ron_Latn rus_Cyrl slk_Latn slv_Latn sna_Latn snd_Arab som_Latn "
    "spa_Latn srp_Cyrl swe_Latn swh_Latn tam_Taml tel_Telu tgk_Cyrl tgl_Latn tha_Thai tur_Latn "
    "ukr_Cyrl urd_Arab uzn_Latn vie_Latn yor_Latn yue_Hant zho_Hans zho_Hant zsm_Latn "
    "zul_Latn".split()
)
"""Those of facebook/nllb-200 that Reflector's languages could be, and their neighbours."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("en", "en"),
        ("EN", "en"),
        (" en\n", "en"),
        ("eng", "en"),
        ("en-US", "en-US"),
        ("pt_BR", "pt-BR"),
        ("zh-hans", "zh-Hans"),
        ("zho_Hant", "zh-Hant"),
        ("ger", "de"),
        ("Spanish", "es"),
        ("SPANISH", "es"),
        ("Castilian", "es"),
        ("Español", "es"),
        ("Haitian  Creole", "ht"),
        ("Javanese", "jv"),
        ("jw", "jv"),
        ("日本語", "ja"),
        ("Brazilian Portuguese", "pt-BR"),
    ],
)
def test_a_language_is_read_as_it_is_written(text: str, found: str) -> None:
    assert read(text) == check(text, "language") == found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("englsh", "'english'"),
        ("frech", "'french'"),
        ("Spansih", "'spanish'"),
        ("jap", "'japanese'"),
        ("norw", "'norwegian'"),
        ("xx", "a code such as 'en'"),
        ("*", "a code such as 'en'"),
        ("", "a code such as 'en'"),
        ("en_US.UTF-8", "a code such as 'en'"),
    ],
)
def test_what_is_no_language_is_told_what_it_may_mean(text: str, hint: str) -> None:
    assert read(text) is None
    with pytest.raises(UnsupportedLanguage) as refusal:
        check(text, "target_language")
    assert hint in refusal.value.message
    assert refusal.value.param == "target_language"


@given(st.text(max_size=LONGEST))
def test_any_text_is_a_language_or_not(text: str) -> None:
    found = read(text)
    assert found is None or read(found) == found
    assert len(not_a_language(text)) < 200
    assert match_spoken(text, WHISPER_CODES) in {None, *WHISPER_CODES}
    assert match(text, NLLB) in {None, *NLLB}


@pytest.mark.parametrize(
    ("code", "whisper"),
    [
        ("en-US", "en"),
        ("EN", "en"),
        ("zh-Hans", "zh"),
        ("zh-TW", "zh"),
        ("cmn", "zh"),
        ("yue", "yue"),
        ("nb", "no"),
        ("nn", "nn"),
        ("jv", "jw"),
        ("pes", "fa"),
        ("fas", "fa"),
        ("pbt", "ps"),
        ("khk", "mn"),
        ("arz", "ar"),
        ("ary", "ar"),
        ("sr-Latn", "sr"),
        ("fil", "tl"),
        ("Mandarin", "zh"),
        ("tlh", None),
        ("nan", None),
        ("zu", None),
    ],
)
def test_whisper_is_told_its_own_code(code: str, whisper: str | None) -> None:
    assert match_spoken(code, WHISPER_CODES) == whisper


def test_cantonese_is_no_chinese_where_it_is_not_known() -> None:
    for name, found in (("large-v2", None), ("large-v3", "yue")):
        (model,) = (model for model in MODELS if model.name == name)
        assert match_spoken("yue", model.spec.languages) == found


def test_every_language_of_reflector_means_what_it_calls_it() -> None:
    for code, name in reflector.LANGUAGES.items():
        if code != "ku":  # by which it means Central Kurdish, whose code is ckb
            assert match(name, (code,)) == code, name


def test_every_language_of_reflector_for_whisper_and_for_translators() -> None:
    codes = set(reflector.LANGUAGES)
    assert {code for code in codes if not match_spoken(code, WHISPER_CODES)} == reflector.UNHEARD
    assert {code for code in codes if not match(code, M2M100)} == reflector.UNTRANSLATED
    assert {code for code in codes if not match(code, NLLB)} == set()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("ar", "arb_Arab"),
        ("arz", "arz_Arab"),
        ("ary", "ary_Arab"),
        ("cmn", "zho_Hans"),
        ("zh-TW", "zho_Hant"),
        ("Chinese", "zho_Hans"),
        ("yue", "yue_Hant"),
        ("no", "nob_Latn"),
        ("nn", "nno_Latn"),
        ("fa", "pes_Arab"),
        ("ps", "pbt_Arab"),
        ("mn", "khk_Cyrl"),
        ("lv", "lvs_Latn"),
        ("tl", "tgl_Latn"),
        ("ko", "kor_Hang"),
        ("sr-Latn", None),
    ],
)
def test_a_translator_is_told_the_nearest_of_its_codes(code: str, found: str | None) -> None:
    assert match(code, NLLB) == found


def test_northern_sotho_has_a_code_of_its_own_in_m2m100() -> None:
    assert match("nso", M2M100) == match("ns", M2M100) == "ns"


def test_codes_of_whisper_have_names() -> None:
    assert all(language_name(code).isascii() for code in WHISPER_CODES)
    assert language_name("jw") == language_name("jv") == "javanese"
    assert language_name("nb") == "norwegian bokmål"
    assert language_name("no") == "norwegian"
