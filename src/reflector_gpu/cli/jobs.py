"""``jobs``: recordings that a server works on while this program need not run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue
from rich.table import Table
from rich.text import Text

from reflector_gpu.cli import interrupt
from reflector_gpu.cli.console import print_json, print_table
from reflector_gpu.cli.hints import message_of
from reflector_gpu.cli.job_client import JobClient, Json, Result, key_of
from reflector_gpu.cli.job_results import ending_of, fetched, format_of, format_of_file
from reflector_gpu.cli.progress import Bar, ProgressBars, clock
from reflector_gpu.cli.server_errors import ServerAway
from reflector_gpu.cli.sources import is_url, with_folders
from reflector_gpu.cli.voices import reference, voices_of
from reflector_gpu.errors import InvalidRequest, NotFound, ReflectorError, UpstreamTimeout

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds between looks
_MOST_UNANSWERED = 60  # looks in a row: five minutes, in which a server can start again


@dataclass(slots=True)
class _Entry:
    """One recording on the command line, and where its result goes."""

    typed: str
    path: Path | None
    target: Path | None
    job: Json | None = None
    problem: str | None = None
    unanswered: int = 0
    """Looks in a row to which the server gave no answer."""

    @property
    def label(self) -> str:
        return self.path.name if self.path else self.typed.partition("?")[0].rpartition("/")[2]


def metadata_of(typed: Sequence[str]) -> dict[str, JsonValue]:
    """The metadata of jobs, of which each is NAME=TEXT.

    Raises:
        InvalidRequest: one is not.
    """
    found: dict[str, JsonValue] = {}
    for one in typed:
        name, equals, text = one.partition("=")
        if not (name and equals):
            raise InvalidRequest(f"--metadata: '{one}' is not NAME=TEXT.")
        found[name] = text
    return found


def voice_fields(typed: Sequence[str]) -> dict[str, JsonValue]:
    """The fields of jobs that tell known voices apart, each of which is NAME=FILE.

    Raises:
        InvalidRequest: as `voices_of`.
    """
    voices = voices_of(typed)
    if not voices:
        return {}
    return {
        "known_speaker_names": list(voices),
        "known_speaker_references": [reference(audio) for audio in voices.values()],
    }


def submit(
    inputs: Sequence[str],
    fields: Json,
    *,
    server: str,
    key: str | None,
    form: str | None,
    output: Path | None,
    wait: bool,
    quiet: bool,
) -> int:
    """Submit recordings and, if asked to ``wait``, write their results; the exit status.

    What was submitted before, with the same ``fields``, is the same job.

    Raises:
        InvalidRequest: results are asked for in a way in which there are none.
    """
    if not wait and (form or output):
        raise InvalidRequest(
            "--format and --output are for results, which only --wait waits for: add it, or pass "
            "them to `reflector-gpu jobs result` later."
        )
    entries = _entries(inputs)
    file = output if output and len(entries) == 1 and not output.is_dir() else None
    form = format_of(form, fields.get("kind"), file)
    if file:
        entries[0].target = file
    elif output:
        _place_in(output, entries, form)
    interrupt.raise_error()
    bars = ProgressBars(shown=sys.stderr.isatty() and not quiet)
    with JobClient(server, key) as client, bars:
        for entry in entries:
            with bars.bar(entry.label, None, told=False) as bar:
                _submit(client, entry, fields, bar)
        if wait:
            _watch(
                client,
                entries,
                bars,
                lambda job_id: fetched(client, job_id, form),
            )
    for entry in entries:
        if entry.problem:
            sys.stderr.write(f"{entry.typed}: {entry.problem}\n")
        elif entry.job and not wait:
            label = "" if quiet else f"  {entry.label}"
            sys.stdout.write(f"{entry.job['id']}{label}\n")
    return int(any(entry.problem for entry in entries))


def watch(job_ids: Sequence[str], *, server: str, key: str | None, quiet: bool) -> int:
    """Show how far jobs have come until all have ended; 1 if one of them has no result."""
    interrupt.raise_error()
    entries = [_Entry(job_id, None, None) for job_id in job_ids]
    bars = ProgressBars(shown=sys.stderr.isatty() and not quiet)
    with JobClient(server, key) as client, bars:
        for entry in entries:
            try:
                entry.job = client.get(entry.typed)
            except ReflectorError as error:
                entry.problem = message_of(error)
        _watch(client, entries, bars)
    for entry in entries:
        status = entry.problem or (entry.job and entry.job["status"])
        (sys.stderr if entry.problem else sys.stdout).write(f"{entry.typed}  {status}\n")
    return int(any(entry.problem for entry in entries))


def show(*, server: str, key: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs."""
    with JobClient(server, key) as client:
        jobs = client.listed(status, limit)
    if as_json:
        print_json(jobs)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "status", "kind", "done", "file", "why"):
        table.add_column(heading, no_wrap=heading not in ("file", "why"), overflow="fold")
    for job in jobs:
        cells = (job["id"], job["status"], job["kind"], _done(job), job["filename"], _failure(job))
        table.add_row(*(Text(str(cell or "")) for cell in cells))
    print_table(table)


def result(
    job_id: str,
    *,
    server: str,
    key: str | None,
    form: str | None,
    output: Path | None,
    partial: bool,
) -> int:
    """Write the result of a job; 1 if there is no such job.

    Raises:
        InvalidRequest: no format has the ending of ``output``.
    """
    if form is None and output:
        form = format_of_file(output)
    with JobClient(server, key) as client:
        try:
            found = fetched(client, job_id, "text" if form == "txt" else form, partial=partial)
        except NotFound as error:
            sys.stderr.write(f"{job_id}  {error.message}\n")
            return 1
    _write(found.text, output)
    _warn(job_id, found)
    return 0


def cancel(job_ids: Sequence[str], *, server: str, key: str | None) -> int:
    """End jobs; 1 if one of them does not exist."""
    with JobClient(server, key) as client:
        return _each(job_ids, lambda job_id: str(client.cancel(job_id)["status"]))


def delete(job_ids: Sequence[str], *, server: str, key: str | None) -> int:
    """End jobs and keep nothing of them; 1 if one of them does not exist."""
    with JobClient(server, key) as client:
        return _each(job_ids, client.delete)


def _each(job_ids: Sequence[str], end: Callable[[str], str]) -> int:
    """Print what became of each job; 1 if one of them does not exist."""
    status = 0
    for job_id in job_ids:
        try:
            sys.stdout.write(f"{job_id}  {end(job_id)}\n")
        except NotFound as error:
            sys.stderr.write(f"{job_id}  {error.message}\n")
            status = 1
    return status


def _entries(inputs: Sequence[str]) -> list[_Entry]:
    """The recordings of ``inputs``, of which some may be folders.

    Raises:
        InvalidRequest: one does not exist, or is a folder without recordings.
    """
    found: list[_Entry] = []
    for typed in with_folders(inputs):
        path = None if is_url(typed) else Path(typed)
        if path and path.is_dir():
            raise InvalidRequest(f"There are no recordings in {typed}.")
        if path and not path.is_file():
            raise InvalidRequest(f"{typed}: no such file or folder.")
        found.append(_Entry(typed, path, None))
    return found


def _place_in(folder: Path, entries: Sequence[_Entry], form: str) -> None:
    """Have the results of ``entries`` written side by side into ``folder``.

    Raises:
        InvalidRequest: two would be written to the same file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken: dict[Path, _Entry] = {}
    for entry in entries:
        entry.target = folder / f"{Path(entry.label).stem}.{ending_of(form)}"
        if other := taken.get(entry.target):
            raise InvalidRequest(
                f"{other.typed} and {entry.typed} would both be written to {entry.target}: submit "
                "them one by one."
            )
        taken[entry.target] = entry


def _submit(client: JobClient, entry: _Entry, fields: Json, bar: Bar) -> None:
    try:
        if entry.path is None:
            entry.job = client.submit({**fields, "audio_file_url": entry.typed})
            return
        key = key_of(entry.path, fields)
        entry.job = client.with_key(key)
        if entry.job is None or entry.job["status"] in ("failed", "cancelled"):
            again = f"-{time.time_ns()}" if entry.job else ""
            upload_id = client.upload(entry.path, bar.report)
            entry.job = client.submit(
                {**fields, "upload_id": upload_id, "idempotency_key": key + again}
            )
    except ReflectorError as error:
        entry.problem = message_of(error)
    except OSError as error:
        entry.problem = f"cannot be read: {error.strerror}"


def _watch(
    client: JobClient,
    entries: Sequence[_Entry],
    bars: ProgressBars,
    fetch: Callable[[str], Result] | None = None,
) -> None:
    """Wait for all jobs, and write the results that ``fetch`` gives for their ids."""
    with ExitStack() as shown:
        waiting = [
            (entry, shown.enter_context(bars.bar(entry.label or entry.typed, None, told=False)))
            for entry in entries
            if entry.job and not entry.problem
        ]
        pauses = _pauses()
        while waiting:
            still: list[tuple[_Entry, Bar]] = []
            for entry, bar in waiting:
                try:
                    if not _ended(client, entry, bar):
                        still.append((entry, bar))
                    elif fetch and not entry.problem:
                        with bars.hidden():
                            _keep(entry, fetch)
                except (ServerAway, UpstreamTimeout) as error:  # jobs outlive their server
                    entry.unanswered += 1
                    if entry.unanswered < _MOST_UNANSWERED:
                        still.append((entry, bar))
                    else:
                        entry.problem = message_of(error)
                except ReflectorError as error:
                    entry.problem = message_of(error)
            waiting = still
            if waiting:
                time.sleep(next(pauses))


def _ended(client: JobClient, entry: _Entry, bar: Bar) -> bool:
    assert entry.job
    entry.job = job = client.get(str(entry.job["id"]))
    entry.unanswered = 0
    bar.show(_percent(job), f"{job['status']} {_done(job)}")
    if failure := _failure(job):
        entry.problem = failure
    elif job["status"] == "cancelled":
        entry.problem = "was cancelled"
    return job["status"] in ("completed", "failed", "cancelled")


def _keep(entry: _Entry, fetch: Callable[[str], Result]) -> None:
    assert entry.job
    found = fetch(str(entry.job["id"]))
    try:
        _write(found.text, entry.target)
    except OSError as error:
        entry.problem = f"the result cannot be written: {error.strerror}"
    _warn(entry.label or entry.typed, found)


def _warn(name: str, found: Result) -> None:
    """Say on standard error what the result may lack."""
    for warning in found.warnings:
        sys.stderr.write(f"{name}: warning: {warning}\n")


def _write(text: str, target: Path | None) -> None:
    if target:
        # Written beside and moved, so that a file that is there is complete.
        beside = target.with_name(f".{target.name}.part")
        beside.write_text(text, encoding="utf-8")
        beside.replace(target)
    else:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()


def _pauses() -> Iterator[float]:
    """Seconds between looks at a server: fewer and fewer, because a job may take hours."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(1.5 * pause, _LONGEST_PAUSE)


def _failure(job: Json) -> str | None:
    """Why a job failed, if it did."""
    error = job.get("error")
    return str(error["message"]) if isinstance(error, dict) else None


def _percent(job: Json) -> float:
    progress = job["progress"]
    percent = progress.get("percent") if isinstance(progress, dict) else None
    return float(percent) if isinstance(percent, int | float) else 0.0


def _done(job: Json) -> str:
    progress = job["progress"]
    assert isinstance(progress, dict)
    left, ahead = progress.get("seconds_left"), progress.get("jobs_ahead")
    words = [f"{_percent(job):.0f}%"]
    if isinstance(left, int | float):
        words.append(f"{clock(left)} left")
    if isinstance(ahead, int) and ahead:
        words.append(f"{ahead} ahead")
    return "  ".join(words)
