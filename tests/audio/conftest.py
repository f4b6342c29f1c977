"""What is known about the sample meeting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference(standup: Path) -> list[tuple[float, float]]:
    """When each word of the sample meeting is spoken: its start and end in seconds."""
    known = json.loads(standup.with_suffix(".json").read_text(encoding="utf-8"))
    return [(word["start"], word["end"]) for word in known["words"]]
