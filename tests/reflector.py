"""What Reflector's web app offers (www/app/supportedLanguages.ts): codes, and how it calls them."""

from __future__ import annotations

_TABLE = """
af Afrikaans, am Amharic, ar Modern Standard Arabic, ary Moroccan Arabic, arz Egyptian Arabic,
as Assamese, az North Azerbaijani, be Belarusian, bn Bengali, bs Bosnian, bg Bulgarian, ca Catalan,
ceb Cebuano, cs Czech, ku Central Kurdish, cmn Mandarin Chinese, cy Welsh, da Danish, de German,
el Greek, en English, et Estonian, eu Basque, fi Finnish, fr French, gaz West Central Oromo,
ga Irish, gl Galician, gu Gujarati, he Hebrew, hi Hindi, hr Croatian, hu Hungarian, hy Armenian,
ig Igbo, id Indonesian, is Icelandic, it Italian, jv Javanese, ja Japanese, kn Kannada, ka Georgian,
kk Kazakh, khk Halh Mongolian, km Khmer, ky Kyrgyz, ko Korean, lo Lao, lt Lithuanian, lg Ganda,
luo Luo, lv Standard Latvian, mai Maithili, ml Malayalam, mr Marathi, mk Macedonian, mt Maltese,
mni Meitei, my Burmese, nl Dutch, nn Norwegian Nynorsk, nb Norwegian Bokmål, ne Nepali, ny Nyanja,
or Odia, pa Punjabi, pbt Southern Pashto, pes Western Persian, pl Polish, pt Portuguese,
ro Romanian, ru Russian, sk Slovak, sl Slovenian, sn Shona, sd Sindhi, so Somali, es Spanish,
sr Serbian, sv Swedish, sw Swahili, ta Tamil, te Telugu, tg Tajik, tl Tagalog, th Thai, tr Turkish,
uk Ukrainian, ur Urdu, uz Northern Uzbek, vi Vietnamese, yo Yoruba, yue Cantonese,
ms Standard Malay, zu Zulu
"""

LANGUAGES = {
    code: name
    for entry in _TABLE.split(",")
    for code, _, name in [" ".join(entry.split()).partition(" ")]
}

UNHEARD = frozenset("ceb ku gaz ga ig ky lg luo mai mni ny or zu".split())
"""Those that no Whisper knows."""

UNTRANSLATED = frozenset("as ku eu gaz ky luo mai mt mni nn ny sn te tg yue".split())
"""Those that M2M100 does not know."""
