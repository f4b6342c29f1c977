"""Media files that no honest encoder writes, made by code: crafted ones, and mutated samples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Media:
    """A file, and what it is called in a report."""

    name: str
    data: bytes
