"""``transcribe``: recordings to text, by one code path for this process and for servers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack, aclosing
from typing import cast

from reflector_gpu import logs
from reflector_gpu.cli import interrupt
from reflector_gpu.cli.hints import message_of
from reflector_gpu.cli.local_transcription import LocalTranscriber
from reflector_gpu.cli.output import Destination, dialogue, form_of, outputs, painted, render
from reflector_gpu.cli.output_formats import OutputFormat
from reflector_gpu.cli.progress import ProgressBars
from reflector_gpu.cli.server_transcription import RemoteTranscriber
from reflector_gpu.cli.sources import STANDARD_INPUT, RecordingTranscriber, Source, with_folders
from reflector_gpu.cli.transcript_warnings import warnings
from reflector_gpu.cli.voices import voices_of
from reflector_gpu.errors import InvalidRequest, ReflectorError
from reflector_gpu.pipeline.transcription import collect
from reflector_gpu.settings import load_settings
from reflector_gpu.transcriber import Options
from reflector_gpu.types import Transcript, WordSpaces


def options_of(voices: Sequence[str], **typed: object) -> Options:
    """The options that were given. Each of ``voices`` is NAME=FILE.

    Raises:
        InvalidRequest: a voice has no name, the name of another, or cannot be read.
    """
    given = {name: value for name, value in typed.items() if value is not None}
    return cast(
        "Options", {**given, "voices": voices_of(voices)}
    )  # the command line has checked their types


def run(
    inputs: Sequence[str],
    options: Options,
    asked: OutputFormat | None,
    output: str | None,
    *,
    server: str | None,
    key: str | None,
    profile: str | None,
    quiet: bool,
) -> int:
    """Transcribe ``inputs``; the exit status: 1 if one of them failed."""
    if server and profile:
        raise InvalidRequest(
            "A server has a profile of its own: leave out --profile, "
            "or --server (REFLECTOR_SERVER)."
        )
    inputs = with_folders(inputs)
    form = form_of(asked, output if len(inputs) == 1 else None)
    if inputs.count(STANDARD_INPUT) > 1:
        raise InvalidRequest("Standard input (-) can be read once.")
    with ExitStack() as files:
        sources = [Source.of(typed, files) for typed in inputs]
        places = outputs(sources, form, output)
        problems = [(source, source.problem) for source in sources]
        if all(problem for _, problem in problems):
            for source, problem in problems:
                _complain(source, str(problem))
            return 1
        settings = load_settings(profile=profile)
        transcriber: RecordingTranscriber = (
            RemoteTranscriber(server, key, options)
            if server
            else LocalTranscriber(options, settings)
        )
        for source in sources:
            source.fill()
        progress = ProgressBars(shown=sys.stderr.isatty() and not quiet)
        logs.discard()
        interrupt.raise_error()
        spaces = settings.word_spaces
        return asyncio.run(_run(transcriber, sources, places, form, spaces, progress))


async def _run(
    transcriber: RecordingTranscriber,
    sources: Sequence[Source],
    places: Sequence[Destination],
    form: OutputFormat,
    spaces: WordSpaces,
    progress: ProgressBars,
) -> int:
    failed = False
    async with transcriber.running():
        gate = asyncio.Semaphore(transcriber.concurrency)
        with progress:
            tasks = [
                asyncio.create_task(_one(transcriber, source, progress, gate)) for source in sources
            ]
            try:
                for source, place, task in zip(sources, places, tasks, strict=True):
                    outcome = await task
                    with progress.hidden():
                        failed |= not _deliver(outcome, source, place, form, spaces)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    return int(failed)


async def _one(
    transcriber: RecordingTranscriber,
    source: Source,
    progress: ProgressBars,
    gate: asyncio.Semaphore,
) -> Transcript | ReflectorError:
    async with gate:
        try:
            with progress.bar(source.label, source.seconds()) as bar:
                async with aclosing(transcriber.parts(source, bar.report)) as parts:
                    return await collect(bar.watch(parts))
        except ReflectorError as error:
            return error


def _deliver(
    outcome: Transcript | ReflectorError,
    source: Source,
    place: Destination,
    form: OutputFormat,
    spaces: WordSpaces,
) -> bool:
    """Write the outcome to its place. False if there is no transcript, or it cannot be written."""
    if isinstance(outcome, ReflectorError):
        problem = message_of(outcome)
    else:
        try:
            text = render(outcome, form, source.label, spaces)
            if form is OutputFormat.TXT and place.path is None and sys.stdout.isatty():
                text = dialogue(outcome, painted) or text
            place.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            where = place.path or "standard output"
            problem = f"the transcript cannot be written to {where}: {error.strerror}"
        else:
            for warning in warnings(outcome):
                _complain(source, f"warning: {warning}")
            return True
    _complain(source, problem)
    return False


def _complain(source: Source, problem: str) -> None:
    sys.stderr.write(f"{source.name}: {problem}\n")
