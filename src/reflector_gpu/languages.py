"""Reads languages that are written as codes, tags or names.

``es``, ``spa``, ``es-MX``, ``ES`` and ``Spanish`` are one language; so are ``cmn`` and ``zh``. Tags
are those of BCP 47, and Unicode's CLDR says how far they are apart: ``zh-Hant`` and ``zh-Hans`` are
two languages, and so are ``sr-Latn`` and ``sr``, which is written in Cyrillic.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf

from reflector_gpu.errors import UnsupportedLanguage
from reflector_gpu.suggest import suggestion

UNKNOWN = "unknown"
"""The name of an unknown language, for fields that may not be null."""

LONGEST = 100
"""Characters that a client's language may have, far more than any needs."""

_WHISPER = """
af afrikaans, am amharic, ar arabic, as assamese, az azerbaijani, ba bashkir, be belarusian,
bg bulgarian, bn bengali, bo tibetan, br breton, bs bosnian, ca catalan, cs czech, cy welsh,
da danish, de german, el greek, en english, es spanish, et estonian, eu basque, fa persian,
fi finnish, fo faroese, fr french, gl galician, gu gujarati, ha hausa, haw hawaiian,
he hebrew, hi hindi, hr croatian, ht haitian creole, hu hungarian, hy armenian,
id indonesian, is icelandic, it italian, ja japanese, jw javanese, ka georgian,
kk kazakh, km khmer, kn kannada, ko korean, la latin, lb luxembourgish, ln lingala, lo lao,
lt lithuanian, lv latvian, mg malagasy, mi maori, mk macedonian, ml malayalam, mn mongolian,
mr marathi, ms malay, mt maltese, my myanmar, ne nepali, nl dutch, nn nynorsk,
no norwegian, oc occitan, pa punjabi, pl polish, ps pashto, pt portuguese, ro romanian,
ru russian, sa sanskrit, sd sindhi, si sinhala, sk slovak, sl slovenian, sn shona,
so somali, sq albanian, sr serbian, su sundanese, sv swedish, sw swahili, ta tamil,
te telugu, tg tajik, th thai, tk turkmen, tl tagalog, tr turkish, tt tatar, uk ukrainian,
ur urdu, uz uzbek, vi vietnamese, yi yiddish, yo yoruba, yue cantonese, zh chinese
"""
"""Whisper's codes, and the names as openai/whisper spells them."""

_FURTHER = """
ace acehnese, ak akan, an aragonese, apc levantine arabic, ary moroccan arabic,
arz egyptian arabic, ast asturian, av avaric, awa awadhi, ay aymara, bm bambara, bho bhojpuri,
ceb cebuano, ckb central kurdish, ckb sorani, co corsican, crh crimean tatar, cv chuvash,
dv dhivehi, dz dzongkha, ee ewe, eo esperanto, ff fulah, fil filipino, fj fijian, fur friulian,
fy western frisian, ga irish, gaz west central oromo, gd scottish gaelic, gn guarani, gsw swiss
german, gv manx, hil hiligaynon, hsb upper sorbian, ia interlingua, ig igbo, ilo iloko,
iu inuktitut, jv javanese, kab kabyle, kg kongo, khk halh mongolian, kl kalaallisut, ku kurdish,
kw cornish, ky kyrgyz, lg ganda, lg luganda, lij ligurian, lmo lombard, luo luo, mai maithili,
mni meitei, mni manipuri, nb norwegian bokmål, nb bokmål, nso northern sotho, ny nyanja,
ny chichewa, om oromo, or odia, or oriya, os ossetian, pap papiamento, pbt southern pashto,
pes western persian, prs dari, qu quechua, rm romansh, rn rundi, rw kinyarwanda, sc sardinian,
scn sicilian, se northern sami, sg sango, sm samoan, ss swati, st southern sotho, szl silesian,
ti tigrinya, tn tswana, to tongan, ts tsonga, ug uyghur, vec venetian, wo wolof, wuu wu chinese,
xh xhosa, za zhuang, zh-Hans simplified chinese, zh-Hant traditional chinese, zu zulu
"""
"""Other languages that translators know, or that clients offer."""

_ALSO = """
ar modern standard arabic, az north azerbaijani, ca valencian, cmn mandarin,
cmn mandarin chinese, el modern greek, es castilian, fa farsi, ht haitian, km cambodian,
lb letzeburgesch, lv standard latvian, ms standard malay, my burmese, nl flemish,
nn norwegian nynorsk, pa panjabi, ps pushto, pt-BR brazilian portuguese, ro moldavian,
ro moldovan, si sinhalese, uz northern uzbek,
ar العربية, bg български, ca català, cs čeština, da dansk, de deutsch, el ελληνικά, es español,
et eesti, eu euskara, fa فارسی, fi suomi, fr français, gl galego, he עברית, hi हिन्दी,
hr hrvatski, hu magyar, id bahasa indonesia, is íslenska, it italiano, ja 日本語, ko 한국어,
lt lietuvių, lv latviešu, ms bahasa melayu, nl nederlands, no norsk, pl polski, pt português,
ro română, ru русский, sk slovenčina, sl slovenščina, sr српски, sv svenska, th ไทย, tr türkçe,
uk українська, vi tiếng việt, yue 粵語, zh 中文
"""
"""Other names of the same languages, their own among them."""


def _entries(table: str) -> list[tuple[str, str]]:
    """The (code, name) pairs of ``table``."""
    entries = (" ".join(entry.split()).partition(" ") for entry in table.split(","))
    return [(code, name) for code, _, name in entries]


WHISPER_CODES = frozenset(code for code, _ in _entries(_WHISPER))
"""The languages for which Whisper has tokens, as the tokens spell them."""

_NAMES = dict(reversed([*_entries(_WHISPER), *_entries(_FURTHER)]))
"""The name of each code; the first one if there are several."""

_CODES = {name: code for code, name in _entries(_WHISPER + "," + _FURTHER + "," + _ALSO)}
_CODES["javanese"] = "jv"  # as ISO 639 has it

_MISSPELT = {"ns": "nso", "pbt": "ps"}
"""M2M100 misspells Northern Sotho, and CLDR does not know how Southern Pashto is related."""

_ALIKE = 5
"""CLDR's distance of two regions, or of two names of one language. From 8 on they are two languages
(Bosnian and Croatian, German and Luxembourgish)."""

_VARIETY = 10
"""CLDR's distance of a variety from its language, as of Egyptian Arabic from Arabic."""

_SHOWN = 20  # characters of what a client sent that an error repeats


def language_name(code: str | None) -> str:
    """The name that whisper-1 has for ``code``: lower case, spelled as in openai/whisper.

    A region is ignored (``en-US`` is english). A code without a name stays as it is.
    """
    if not code:
        return UNKNOWN
    primary = code.replace("_", "-").split("-", 1)[0].lower()
    return _NAMES.get(primary, code)


@lru_cache(4096)
def tag(code: str) -> str | None:
    """``code`` as a tag of BCP 47; None if it cannot be one."""
    import langcodes

    try:
        primary, rest = code[:3].lower(), code[3:]
        found = langcodes.standardize_tag(_MISSPELT.get(primary, code[:3]) + rest)
    except ValueError:  # LanguageTagError is one
        return None
    return found.replace("ko-Hang", "ko")  # modern Korean, without Chinese characters


@lru_cache(4096)
def read(text: str) -> str | None:
    """The tag of the language that a client writes as a code, a tag or a name, if it exists."""
    import langcodes

    plain = " ".join(text.split())[:LONGEST]
    if named := _CODES.get(plain.lower()):
        return tag(named)
    found = tag(plain)
    return found if found and langcodes.Language.get(found).is_valid() else None


def check(text: str, param: str) -> str:
    """As `read`, but raises an error if there is no such language.

    Raises:
        UnsupportedLanguage: the message suggests a language.
    """
    if (found := read(text)) is None:
        raise UnsupportedLanguage(not_a_language(text), param=param)
    return found


def not_a_language(text: str) -> str:
    """The message for a client that sent ``text`` as a language."""
    plain = " ".join(text.split()).lower()[:_SHOWN]
    begin = [name for name in _CODES if len(plain) > 1 and name.startswith(plain)]
    near = begin or [name for name in [suggestion(plain, _CODES)] if name]
    hint = (
        f"did you mean {' or '.join(repr(one) for one in near[:3])}?"
        if near
        else "send a code such as 'en', 'eng' or 'pt-BR', or an English name such as 'Spanish'."
    )
    return f"'{text[:_SHOWN]}' is not a language; {hint}"


@lru_cache(4096)
def alike(one: str, other: str) -> bool:
    """Whether both are the same language in the same script, in whatever region."""
    return _distance(read(one), read(other)) <= _ALIKE


@lru_cache(4096)
def match(text: str, known: tuple[str, ...]) -> str | None:
    """The nearest of a model's ``known`` codes to what ``text`` means, if one is near enough.

    It is the same language, or the language of which ``text`` is a variety (``ar`` for ``arz``).
    """
    wanted = read(text)
    exact = [one for one in known if tag(one) == wanted is not None]
    near = exact or [one for one in known if _distance(wanted, tag(one)) <= _ALIKE]
    wide = near or [one for one in known if _is_variety(wanted, tag(one))]
    return min(wide, key=lambda one: _distance(wanted, tag(one)), default=None)


@lru_cache(4096)
def match_spoken(text: str, known: frozenset[str]) -> str | None:
    """As `match`, but for speech, so that the script does not count."""
    import langcodes

    wanted = read(text)
    language = langcodes.Language.get(wanted).language if wanted else None
    return match(language, tuple(sorted(known))) if language else None


def _distance(one: str | None, other: str | None) -> float:
    """CLDR's distance, but infinite for two scripts, which CLDR hardly tells apart in Serbian."""
    import langcodes

    if one is None or other is None or _parts(one)[1] != _parts(other)[1]:
        return inf
    return langcodes.tag_distance(one, other)


def _is_variety(one: str | None, other: str | None) -> bool:
    """Whether ``one`` belongs to the language ``other``, in the same script.

    Varieties of Chinese do not: their speakers do not understand each other.
    """
    import langcodes

    if one is None or other is None:
        return False
    (variety, script), (language, written) = _parts(one), _parts(other)
    if script != written or language == "zh":
        return False
    # In the same script and region, so that only the languages count.
    somewhere = f"{script}-001" if script else "001"
    distance = langcodes.tag_distance(f"{variety}-{somewhere}", f"{language}-{somewhere}")
    return distance == _VARIETY


@lru_cache(4096)
def _parts(tag: str) -> tuple[str | None, str | None]:
    """The language and the script of ``tag``. The script may follow from language and region."""
    import langcodes

    found = langcodes.Language.get(tag).maximize()
    return found.language, found.script
