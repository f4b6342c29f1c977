"""The commands. Importing this must stay cheap: heavy imports belong in their bodies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reflector_gpu.cli.job_commands import jobs
from reflector_gpu.cli.key_commands import keys
from reflector_gpu.cli.modal_commands import modal
from reflector_gpu.cli.model_commands import models
from reflector_gpu.cli.options import (
    AsJson,
    Host,
    Insecure,
    Key,
    LogLevel,
    Model,
    Port,
    Profile,
    Workers,
    Wyoming,
)
from reflector_gpu.cli.output_formats import OutputFormat
from reflector_gpu.cli.ray_commands import ray
from reflector_gpu.cli.recording_options import (
    Channels,
    Diarize,
    Hotwords,
    Language,
    MaxSpeakers,
    MinSpeakers,
    ModelName,
    Prompt,
    Quiet,
    Server,
    Speakers,
    SpeakerVoices,
    Strict,
    Track,
)
from reflector_gpu.version import __version__


class _Program(typer.core.TyperGroup):
    """The program. Its errors about wrong values do not name Python's exception."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer says Any
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    cls=_Program,
    context_settings={"help_option_names": ["-h", "--help"]},  # commands inherit it
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help drawn by rich takes twice as long to appear
)
app.add_typer(models, name="models")
app.add_typer(modal, name="modal")
app.add_typer(ray, name="ray")
app.add_typer(jobs, name="jobs")
app.add_typer(keys, name="keys")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"reflector-gpu {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Self-hosted speech inference behind one HTTP API.

    Settings are environment variables: `reflector-gpu config` lists them with their values.
    """


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    profile: Profile = None,
    model: Model = None,
    workers: Workers = None,
    insecure: Insecure = False,
    log_level: LogLevel = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Write the server's URL here once it can work, and delete the file when it stops.",
        ),
    ] = None,
    wyoming: Wyoming = None,
) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Requests that are running then get time to finish. [env var: REFLECTOR_SHUTDOWN_SECONDS]

    Scripts that use port 0 read the address from --ready-file, whose one line is complete as soon
    as the file exists.
    """
    from reflector_gpu.cli.serve import run

    run(
        ready_file,
        wyoming=wyoming,
        host=host,
        port=port,
        profile=profile,
        model=model,
        workers=workers,
        insecure=insecure or None,
        log_level=log_level,
    )


@app.command()
def transcribe(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|FOLDER|URL|-",
            show_default=False,
            help="Recordings to transcribe, or folders of them; - is standard input.",
        ),
    ],
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format",
            "-f",
            show_default=False,
            help="json holds text and words, verbose_json segments too; words is a table. "
            "Left out: what the ending of --output says, else txt.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File to write; a folder for several inputs, which get <name>.<format>. "
            "Left out: standard output.",
        ),
    ] = None,
    server: Server = None,
    key: Key = None,
    model: ModelName = None,
    language: Language = None,
    track: Track = None,
    channels: Channels = None,
    profile: Profile = None,
    prompt: Prompt = None,
    hotwords: Hotwords = None,
    translate_to: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Translate what is said. Text and subtitles are in this language; JSON has "
            "both languages.",
        ),
    ] = None,
    diarize: Diarize = False,
    speakers: Speakers = None,
    min_speakers: MinSpeakers = None,
    max_speakers: MaxSpeakers = None,
    speaker: SpeakerVoices = None,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Turn recordings into text, subtitles or timed words.

    Progress and errors go to standard error. An input that fails does not stop the others; the
    exit status is then 1.
    """
    from reflector_gpu.cli.transcribe import options_of, run

    options = options_of(
        speaker or (),
        model=model,
        language=language,
        track=track,
        channels=channels,
        prompt=prompt,
        hotwords=hotwords,
        translate_to=translate_to,
        diarize=diarize or None,
        num_speakers=speakers,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
        strict=strict or None,
    )
    raise typer.Exit(
        run(
            inputs,
            options,
            output_format,
            output,
            server=server,
            key=key,
            profile=profile,
            quiet=quiet,
        )
    )


@app.command()
def listen(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            show_default=False,
            help="A recording, heard as fast as it was spoken. Left out: the microphone.",
        ),
    ] = None,
    server: Server = None,
    key: Key = None,
    model: Model = None,
    language: Language = None,
    profile: Profile = None,
) -> None:
    """Print words while they are spoken.

    On a terminal, words that may still change are dim.
    """
    from reflector_gpu.cli.listening import run

    run(source, server=server, key=key, model=model, language=language, profile=profile)


@app.command()
def translate(
    text: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", show_default=False, help="Left out: standard input."),
    ] = None,
    source: Annotated[
        str,
        typer.Option("--from", metavar="LANGUAGE", help="Its language: en, pt-BR, Spanish, ..."),
    ] = "en",
    target: Annotated[
        str, typer.Option("--to", metavar="LANGUAGE", help="What to translate to.")
    ] = "fr",
    profile: Profile = None,
) -> None:
    """Translate text. White space and line breaks stay.

    A setting names the translator. [env var: REFLECTOR_TRANSLATOR]
    """
    from reflector_gpu.cli.translate import run

    run(text, source, target, profile=profile)


@app.command()
def llm(
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="[PROMPT]", show_default=False, help="Left out: standard input."),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="System prompt: the role of the model."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, help="Longest answer, in tokens.")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            min=0,
            max=2,
            help="Randomness; 0 takes the likeliest words.",
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="JSON schema; the answer is JSON that fits it."),
    ] = None,
    server: Server = None,
    key: Key = None,
) -> None:
    """Ask a language model.

    Settings name the model. [env var: REFLECTOR_LLM_ENGINE, REFLECTOR_LLM_MODEL, ...] The exit
    status is 1 if the answer was cut off.
    """
    from reflector_gpu.cli.llm import run

    raise typer.Exit(
        run(
            prompt,
            system=system,
            max_tokens=max_tokens,
            temperature=temperature,
            schema_file=schema,
            server=server,
            key=key,
        )
    )


@app.command()
def config(
    host: Host = None,
    port: Port = None,
    profile: Profile = None,
    model: Model = None,
    workers: Workers = None,
    insecure: Insecure = False,
    log_level: LogLevel = None,
    as_json: AsJson = False,
) -> None:
    """Show every setting, its value, and where that comes from.

    Takes the options of `serve`, to show what they would change. Keys are never shown.
    """
    from reflector_gpu.cli.config import run

    run(
        as_json=as_json,
        host=host,
        port=port,
        profile=profile,
        model=model,
        workers=workers,
        insecure=insecure or None,
        log_level=log_level,
    )


@app.command()
def doctor(
    host: Host = None,
    port: Port = None,
    profile: Profile = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Check what works on this machine.

    The last checks recognise a sentence with every engine that is installed. The exit status is 1
    if the server could not do its work here.
    """
    from reflector_gpu.cli.doctor import run

    raise typer.Exit(run(as_json=as_json, host=host, port=port, profile=profile, model=model))
