"""The two places where a recording is transcribed: this machine, and a server."""

from __future__ import annotations

import re

LOCAL = ("--model", "scripted")
"""Options for this machine."""


def comparable(text: str) -> str:
    """What both tell: servers stream two decimals, and no segment's language or token ids."""
    lines = (line for line in text.splitlines(keepends=True) if "-->" not in line)
    return re.sub(r',"language":"en"|,"tokens":\[[^]]*\]', "", "".join(lines))
