"""The tiny trained translators and the sentences that they know (tests/fixtures)."""

from __future__ import annotations

from pathlib import Path

from tests.engines.tiny import FIXTURES

TRANSLATION = FIXTURES / "translation-tiny"
OPUS = FIXTURES / "opus-mt-en-fr"


def sentences(folder: Path = TRANSLATION) -> list[dict[str, str]]:
    """What the model in ``folder`` says rightly, each by its language: ``en``, ``fr``, ``es``."""
    header, *lines = (folder / "sentences.tsv").read_text(encoding="utf-8").splitlines()
    codes = header.split("\t")
    return [dict(zip(codes, line.split("\t"), strict=True)) for line in lines]
