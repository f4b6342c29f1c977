"""What clients call models elsewhere: OpenAI's names, and those of the hub."""

from __future__ import annotations

import re

OPENAI = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-transcribe-diarize",
    "gpt-live-transcribe",
    "gpt-realtime-whisper",
)
"""OpenAI's speech models. Here each means the configured model."""

LLM = "llm"
"""The name that stands for the configured language model."""

_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_TELLS_SPEAKERS = "-diarize"

_OWNERS = {
    "",
    "deepdml",
    "distil-whisper",
    "dropbox-dash",
    "guillaumekln",
    "istupakov",
    "mobiuslabsgmbh",
    "nvidia",
    "openai",
    "systran",
}
"""Accounts that publish these models on the hub. Others publish models that are trained further."""

_DRESSING = re.compile(r"^(faster-)?(distil-)?(whisper-)?(.+?)(-ct2|-onnx)?$")
_SAME = {"large": "large-v3", "turbo": "large-v3-turbo"}
"""Short names of openai/whisper and faster-whisper."""


def is_openai(name: str) -> bool:
    """Whether ``name`` is one of OpenAI's, with or without a date."""
    return _DATE.sub("", name.lower().removeprefix("openai/")) in OPENAI


def tells_speakers(name: str) -> bool:
    """Whether ``name`` asks for speakers, as OpenAI's names that end in ``-diarize`` do."""
    return _DATE.sub("", name.lower()).endswith(_TELLS_SPEAKERS)


def essence(name: str) -> str | None:
    """A hub's ``name`` for a model without its owner and the form of its files.

    It is ``base`` for ``Systran/faster-whisper-base`` and for ``openai/whisper-base``. None if the
    owner publishes other models than these.
    """
    owner, _, plain = name.lower().rpartition("/")
    if owner not in _OWNERS:
        return None
    found = _DRESSING.match(plain)
    if found is None:
        return None
    bare = f"{found[2] or ''}{found[4]}"
    return bare if owner else _SAME.get(bare, bare)
