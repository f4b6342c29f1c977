"""The field that picks one of a file's audio tracks."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _text(value: object) -> object:
    """A number is its digits; nothing is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return (value.strip() or None) if isinstance(value, str) else value


class TrackFields(BaseModel):
    """What is to be heard of a file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    track: Annotated[str | None, BeforeValidator(_text)] = Field(
        None,
        max_length=100,
        description="Of a file with several audio tracks: the number of one, from 0, or the "
        "language that the file gives for it. Left out: the only one in `language`, if that is "
        "told; else the file's default, and `warnings.tracks` names the others.",
        examples=["1", "de"],
    )
