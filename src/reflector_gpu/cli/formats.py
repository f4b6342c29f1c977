"""What ``transcribe`` can write, by the name that is typed."""

from __future__ import annotations

from enum import StrEnum


class OutputFormat(StrEnum):
    TXT = "txt"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"
    WORDS = "words"

    @property
    def extension(self) -> str:
        """Of the files written into a folder; no two formats share one."""
        return _EXTENSIONS.get(self, self.value)


_EXTENSIONS = {OutputFormat.VERBOSE_JSON: "verbose.json", OutputFormat.WORDS: "words.txt"}
