"""What ``transcribe`` can write, by the name that is typed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path


class OutputFormat(StrEnum):
    TXT = "txt"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"
    WORDS = "words"

    @classmethod
    def of(cls, file: Path) -> OutputFormat | None:
        """The format that the ending of ``file`` stands for, if it is one's."""
        name = file.name.lower()
        fitting = [form for form in cls if name.endswith(f".{form.extension}")]
        return max(fitting, key=lambda form: len(form.extension), default=None)

    @property
    def extension(self) -> str:
        """Of the files written into a folder; no two formats share one."""
        return _EXTENSIONS.get(self, self.value)


_EXTENSIONS = {OutputFormat.VERBOSE_JSON: "verbose.json", OutputFormat.WORDS: "words.txt"}
