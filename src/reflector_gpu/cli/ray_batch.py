"""``ray batch``: a folder of recordings to a folder of transcripts, over a Ray cluster.

Ray Data streams the recordings through actors that have loaded the model. A transcript that exists
is a checkpoint: the command, run again, does what is left.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from reflector_gpu import Transcriber
from reflector_gpu.cli.output import render
from reflector_gpu.cli.output_formats import OutputFormat
from reflector_gpu.deploy.on_ray.settings import RaySettings, load_ray_settings
from reflector_gpu.errors import InvalidRequest, ReflectorError
from reflector_gpu.settings import load_settings
from reflector_gpu.transcriber import Options

FAILURES = "failures.txt"
"""What could not be transcribed, and why: a line each, in the folder of transcripts."""

_EACH_BLOCK = 4  # recordings; few, because they are lost with the actor that works on them
_OBJECT_STORE_BYTES = 200_000_000  # paths pass through it, and no audio

Row = Mapping[str, Any]


def run(
    folder: Path, out: Path, form: OutputFormat, options: Options, actors: int, address: str | None
) -> int:
    """Transcribe what is left; the exit status: 1 if some of it failed.

    Raises:
        ReflectorError: there is no such folder, or a setting does not work.
    """
    if not folder.is_dir():
        raise InvalidRequest(f"{folder}: there is no such folder.")
    out.mkdir(parents=True, exist_ok=True)
    names = recordings(folder, out)
    todo = [name for name in names if not place(out, name, form).exists()]
    _say(f"{len(names)} recordings, {len(names) - len(todo)} of them done before")
    if not todo:
        return 0
    Transcriber(load_settings(), **options)  # says at once what does not fit
    given = load_ray_settings()
    _connect(address, given, actors)
    try:
        failures = _work(folder.resolve(), out.resolve(), form, options, given, actors, todo)
    finally:
        ray.shutdown()
    listed = out / FAILURES
    listed.write_text("".join(f"{line}\n" for line in failures))
    if failures:
        _say(f"{len(failures)} failed: see {listed}")
    return int(bool(failures))


def recordings(folder: Path, out: Path) -> list[str]:
    """The files below ``folder``, sorted, without hidden ones and those of ``out``."""
    found: list[str] = []
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(name for name in folders if name[0] != "." and here / name != out)
        found += [str((here / name).relative_to(folder)) for name in files if name[0] != "."]
    return sorted(found)


def place(out: Path, name: str, form: OutputFormat) -> Path:
    """Where the transcript of a recording is written."""
    return out / f"{name}.{form.extension}"


def _connect(address: str | None, given: RaySettings, actors: int) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, log_to_driver=False)
        return
    ray.init(
        address="local",
        num_cpus=int(actors * given.cpus) + 1,
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
    )


def _work(
    folder: Path,
    out: Path,
    form: OutputFormat,
    options: Options,
    given: RaySettings,
    actors: int,
    todo: Sequence[str],
) -> list[str]:
    """Transcribe ``todo``; a line for each that failed."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = ray.data.from_items(
        [{"name": name} for name in todo], override_num_blocks=-(-len(todo) // _EACH_BLOCK)
    )
    done = rows.map(
        _Transcribe,
        fn_constructor_args=(folder, out, form, options),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        num_cpus=given.cpus,
        num_gpus=given.share_of_gpu(load_settings()) or None,
    )
    failures: list[str] = []
    for number, row in enumerate(done.iter_rows(), 1):
        if problem := row["problem"]:
            failures.append(f"{row['name']}: {problem}")
        _say(f"[{number}/{len(todo)}] {row['name']}{': ' if problem else ''}{problem}")
    return sorted(failures)


class _Transcribe:
    """An actor of Ray Data: a loaded model, and an event loop of its own."""

    def __init__(self, folder: Path, out: Path, form: OutputFormat, options: Options) -> None:
        self._folder, self._out, self._form = folder, out, form
        settings = load_settings(workers=1)
        self._spaces = settings.word_spaces
        self._loop = asyncio.new_event_loop()
        self._transcriber = Transcriber(settings, **options)
        self._loop.run_until_complete(self._transcriber.__aenter__())

    def __call__(self, row: Row) -> dict[str, str]:
        name = str(row["name"])
        try:
            transcript = self._loop.run_until_complete(
                self._transcriber.transcribe(self._folder / name)
            )
        except ReflectorError as error:
            return {"name": name, "problem": error.message}
        except OSError as error:
            return {"name": name, "problem": error.strerror or str(error)}
        text = render(transcript, self._form, Path(name).name, self._spaces)
        _write(place(self._out, name, self._form), text)
        return {"name": name, "problem": ""}


def _write(path: Path, text: str) -> None:
    """Write the file whole or not at all: its existence means that the recording is done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
