"""Languages by code and by English name, spelled as in openai/whisper."""

from __future__ import annotations

UNKNOWN = "unknown"
"""The name of a language that nobody told and nothing detected: the field may not be null."""

_TABLE = """
af afrikaans, am amharic, ar arabic, as assamese, az azerbaijani, ba bashkir, be belarusian,
bg bulgarian, bn bengali, bo tibetan, br breton, bs bosnian, ca catalan, cs czech, cy welsh,
da danish, de german, el greek, en english, es spanish, et estonian, eu basque, fa persian,
fi finnish, fo faroese, fr french, gl galician, gu gujarati, ha hausa, haw hawaiian,
he hebrew, hi hindi, hr croatian, ht haitian creole, hu hungarian, hy armenian,
id indonesian, is icelandic, it italian, ja japanese, jv javanese, jw javanese, ka georgian,
kk kazakh, km khmer, kn kannada, ko korean, la latin, lb luxembourgish, ln lingala, lo lao,
lt lithuanian, lv latvian, mg malagasy, mi maori, mk macedonian, ml malayalam, mn mongolian,
mr marathi, ms malay, mt maltese, my myanmar, nb norwegian, ne nepali, nl dutch, nn nynorsk,
no norwegian, oc occitan, pa punjabi, pl polish, ps pashto, pt portuguese, ro romanian,
ru russian, sa sanskrit, sd sindhi, si sinhala, sk slovak, sl slovenian, sn shona,
so somali, sq albanian, sr serbian, su sundanese, sv swedish, sw swahili, ta tamil,
te telugu, tg tajik, th thai, tk turkmen, tl tagalog, tr turkish, tt tatar, uk ukrainian,
ur urdu, uz uzbek, vi vietnamese, yi yiddish, yo yoruba, yue cantonese, zh chinese
"""
_NAMES = dict(entry.strip().split(" ", 1) for entry in _TABLE.split(","))

WHISPER_CODES = frozenset(_NAMES) - {"jv", "nb"}
"""What Whisper has tokens for."""

_CODES = {name: code for code, name in reversed(_NAMES.items())}


def language_name(code: str | None) -> str:
    """The name that whisper-1 answers for ``code``: lower case, spelled as in openai/whisper.

    A region is ignored (``en-US`` is english); a code without a name stays as it is.
    """
    if not code:
        return UNKNOWN
    primary = code.replace("_", "-").split("-", 1)[0].lower()
    return _NAMES.get(primary, code)


def language_code(text: str) -> str:
    """The ISO 639-1 code for a code, a tag with a region (``en-US``) or an English name.

    What is none of these comes back in lower case: the model that is asked for it says no.
    """
    lowered = text.strip().lower()
    return _CODES.get(lowered, lowered.replace("_", "-").split("-", 1)[0])
