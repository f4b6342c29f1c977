"""Options of the commands that turn recordings or speech into words."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

Server: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Let this server do the work, instead of this process."),
]
Language: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Spoken language: en, pt-BR, Spanish, ..."),
]
Track: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|CODE",
        help="Audio track of a file that has several: its number, from 0, or its language.",
    ),
]
Channels: TypeAlias = Annotated[
    Literal["mixed", "separate"] | None,
    typer.Option(
        show_default=False,
        help="separate: each channel is a speaker, or each track of a file that has several.",
    ),
]
