"""The commands after ``reflector-gpu jobs``. Importing this must stay cheap."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from reflector_gpu.cli.options import AsJson, Key
from reflector_gpu.cli.recording_options import (
    Channels,
    Diarize,
    Hotwords,
    Language,
    MaxSpeakers,
    MinSpeakers,
    Prompt,
    Quiet,
    Speakers,
    SpeakerVoices,
    Strict,
    Track,
)
from reflector_gpu.environment import SERVER_VARIABLE

if TYPE_CHECKING:
    from pydantic import JsonValue

jobs = typer.Typer(
    help="Recordings that a server works on in the background.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Format = Literal[
    "text",
    "txt",
    "json",
    "srt",
    "vtt",
    "verbose_json",
    "diarized_json",
    "reflector",
    "rttm",
]

Server: TypeAlias = Annotated[
    str, typer.Option(metavar="URL", envvar=SERVER_VARIABLE, help="The server.")
]
Ids: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="ID", show_default=False, help="From `jobs list`.")
]

_SERVER = "http://127.0.0.1:8000"


@jobs.command("submit")
def submit_jobs(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|FOLDER|URL",
            show_default=False,
            help="Recordings, or folders of recordings.",
        ),
    ],
    wait: Annotated[
        bool,
        typer.Option("--wait", "-w", show_default=False, help="Wait, and write the results."),
    ] = False,
    result_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            show_default=False,
            help="Their format. Left out: what the ending of --output says, else text; json for "
            "diarization.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File to write; a folder for several, in which all lie side by side. "
            "Left out: standard output.",
        ),
    ] = None,
    server: Server = _SERVER,
    key: Key = None,
    kind: Annotated[
        Literal["transcription", "diarization", "translation"],
        typer.Option(help="What to do with the recordings."),
    ] = "transcription",
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="A model of the server.")
    ] = None,
    language: Language = None,
    prompt: Prompt = None,
    hotwords: Hotwords = None,
    translate_to: Annotated[
        str | None, typer.Option(metavar="CODE", help="Translate what is said.")
    ] = None,
    diarize: Diarize = False,
    speakers: Speakers = None,
    min_speakers: MinSpeakers = None,
    max_speakers: MaxSpeakers = None,
    speaker: SpeakerVoices = None,
    strict: Strict = False,
    track: Track = None,
    channels: Channels = None,
    priority: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=-100, max=100, help="Jobs with a higher one run first."),
    ] = 0,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Where to report the end of a job.")
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=TEXT", help="A text of your own, which the job shows. Repeatable."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Submit recordings, and print the ids of their jobs.

    Files are sent in pieces, which go on after a broken connection. A file that was submitted
    before with the same options is the same job, so a command that was broken off can be run again.
    """
    from reflector_gpu.cli.jobs import metadata_of, submit, voice_fields

    fields: dict[str, JsonValue] = {
        "kind": kind,
        "model": model,
        "language": language,
        "prompt": prompt,
        "hotwords": hotwords,
        "translate_to": translate_to,
        "diarize": diarize or None,
        "num_speakers": speakers,
        "min_speakers": min_speakers,
        "max_speakers": max_speakers,
        **voice_fields(speaker or ()),
        "strict": strict or None,
        "track": track,
        "channels": channels,
        "priority": priority or None,
        "webhook_url": webhook,
        "metadata": metadata_of(metadata or ()) or None,
    }
    status = submit(
        inputs,
        {name: value for name, value in fields.items() if value is not None},
        server=server,
        key=key,
        form=result_format,
        output=output,
        wait=wait,
        quiet=quiet,
    )
    raise typer.Exit(status)


@jobs.command("watch")
def watch_jobs(ids: Ids, server: Server = _SERVER, key: Key = None, quiet: Quiet = False) -> None:
    """Show how far jobs have come, until all have ended. The exit status is 1 if one fails."""
    from reflector_gpu.cli.jobs import watch

    raise typer.Exit(watch(ids, server=server, key=key, quiet=quiet))


@jobs.command("list")
def list_jobs(
    status: Annotated[
        Literal["queued", "running", "completed", "failed", "cancelled"] | None,
        typer.Option(help="Only jobs with this status."),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, max=100, help="How many to show.")
    ] = 20,
    server: Server = _SERVER,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List your jobs, the newest first."""
    from reflector_gpu.cli.jobs import show

    show(server=server, key=key, status=status, limit=limit, as_json=as_json)


@jobs.command("result")
def get_result(
    job_id: Annotated[
        str, typer.Argument(metavar="ID", show_default=False, help="From `jobs list`.")
    ],
    result_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            show_default=False,
            help="Left out: what the ending of --output says, else the one it was submitted with, "
            "else JSON.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="PATH", help="File to write.")
    ] = None,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            show_default=False,
            help="Of a job that is not completed, write what it has recognised.",
        ),
    ] = False,
    server: Server = _SERVER,
    key: Key = None,
) -> None:
    """Write the result of a job. The exit status is 1 if there is no such job."""
    from reflector_gpu.cli.jobs import result

    status = result(
        job_id, server=server, key=key, form=result_format, output=output, partial=partial
    )
    raise typer.Exit(status)


@jobs.command("cancel")
def cancel_jobs(ids: Ids, server: Server = _SERVER, key: Key = None) -> None:
    """End jobs. What they have recognised stays for a while.

    The exit status is 1 if there is no such job.
    """
    from reflector_gpu.cli.jobs import cancel

    raise typer.Exit(cancel(ids, server=server, key=key))


@jobs.command("delete")
def delete_jobs(ids: Ids, server: Server = _SERVER, key: Key = None) -> None:
    """End jobs, and keep nothing of them: neither words nor results.

    The exit status is 1 if there is no such job.
    """
    from reflector_gpu.cli.jobs import delete

    raise typer.Exit(delete(ids, server=server, key=key))
