"""Options of the commands that turn recordings or speech into words."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

from reflector_gpu.cli import completion
from reflector_gpu.environment import SERVER_VARIABLE

Server: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar=SERVER_VARIABLE,
        help="Let this server do the work, instead of this process.",
    ),
]
Language: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Spoken language: en, pt-BR, Spanish, ..."),
]
ModelName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=completion.recognisers,
        help="A name from `models list`; else the configured one.",
    ),
]
Prompt: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Text that sets the style and the spelling."),
]
Hotwords: TypeAlias = Annotated[
    str | None, typer.Option(metavar="WORDS", help="Words to expect, between commas.")
]
Diarize: TypeAlias = Annotated[
    bool, typer.Option("--diarize", show_default=False, help="Say who speaks.")
]
Speakers: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", min=1, help="How many people speak; implies --diarize."),
]
MinSpeakers: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", min=1, help="Least number of people; implies --diarize."),
]
MaxSpeakers: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", min=1, help="Largest number of people; implies --diarize."),
]
SpeakerVoices: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--speaker",
        metavar="NAME=FILE",
        show_default=False,
        help="A speaker's name, and a recording of their voice; implies --diarize. Repeatable.",
    ),
]
Strict: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--strict",
        show_default=False,
        help="Fail if the model fails on a part of a recording, instead of warning of it.",
    ),
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
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", show_default=False, help="No progress display.")
]
