"""The formats that ``transcribe`` can write, by the names that are typed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path


class OutputFormat(StrEnum):
    TXT = "txt"
    TEXT = "text"
    """The same by the name that it has in OpenAI's API."""
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"
    WORDS = "words"

    @classmethod
    def of(cls, file: Path) -> OutputFormat | None:
        """The format that the name of ``file`` ends with, if there is one."""
        name = file.name.lower()
        fitting = [form for form in cls if name.endswith(f".{form.extension}")]
        return max(fitting, key=lambda form: len(form.extension), default=None)

    @property
    def extension(self) -> str:
        """The ending of files in a folder, which no other format has."""
        return _EXTENSIONS.get(self, self.value)


_EXTENSIONS = {
    OutputFormat.TEXT: "txt",
    OutputFormat.VERBOSE_JSON: "verbose.json",
    OutputFormat.WORDS: "words.txt",
}
