"""Any server with OpenAI's transcriptions: ``python -m benchmarks.remote URL FOLDER --model NAME``.

Sends every recording of a folder, so many at once, and prints how fast and how right the answers
are. What libraries made of the same folder goes to `score`, which prints the same table.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.audio import read
from benchmarks.wer import errors, words
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import SAMPLE_RATE

REFERENCES = "references.tsv"
"""What is said in each recording of a folder: the columns ``file`` and ``text``."""

KEY = "REFLECTOR_APIKEY"

SUFFIXES = {
    *(".aac", ".flac", ".m4a", ".mp3", ".mp4", ".mpeg", ".mpga"),
    *(".oga", ".ogg", ".opus", ".wav", ".webm"),
}
"""Of the files that are sent where no list says which."""

_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Recording:
    """``name`` is its path in the folder; ``text``, where known, what is said in it."""

    name: str
    path: Path
    seconds: float
    text: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A recording's text, or why there is none; ``seconds`` are those of its request."""

    text: str = ""
    error: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """All recordings once: the seconds it took, and their answers in the same order."""

    seconds: float
    answers: Sequence[Answer]


def main() -> None:
    given = _arguments()
    found = recordings(given.folder)
    with _client(given.url, given.key, given.clients) as client:
        ask = partial(_ask, client, given.model)
        _try(ask(found[0]), given.url)  # loads the model as well
        rounds = [_round(found, ask, given.clients) for _ in range(given.rounds)]
    _show(found, rounds)


def score(folder: str | Path, texts: Mapping[str, str], wall_seconds: float) -> None:
    """Print the table for what a library made of the ``folder``: the texts by file.

    A recording that has none counts as an error.
    """
    found = recordings(folder)
    if unknown := sorted(set(texts) - {recording.name for recording in found}):
        sys.exit(f"No recordings of {folder}: {', '.join(unknown)}.")
    nothing = Answer(error="no text")
    answers = [Answer(texts[r.name]) if r.name in texts else nothing for r in found]
    _show(found, [Round(wall_seconds, answers)])


def recordings(folder: str | Path) -> list[Recording]:
    """What is in ``folder``, measured: decoding must not count as anybody's time."""
    folder = Path(folder)
    try:
        listed = _listed(folder)
        found = [Recording(n, folder / n, _length(folder / n), text) for n, text in listed]
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}.")
    if not found:
        sys.exit(f"{folder} holds no recordings.")
    return found


def _listed(folder: Path) -> list[tuple[str, str | None]]:
    references = folder / REFERENCES
    if not references.exists():
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
        return [(name, None) for name in files if Path(name).suffix.lower() in SUFFIXES]
    with references.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if any(row.get("file") is None or row.get("text") is None for row in rows):
        sys.exit(f"{references}: every line has to have a file, a tab and a text.")
    return [(row["file"], row["text"]) for row in rows]


def _length(path: Path) -> float:
    try:
        return len(read(path)) / SAMPLE_RATE
    except ReflectorError as error:
        sys.exit(f"{path}: {error}")


@dataclass(frozen=True, slots=True)
class _Arguments:
    url: str
    folder: Path
    model: str
    clients: int
    rounds: int
    key: str


def _arguments() -> _Arguments:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.remote")
    parser.add_argument("url", metavar="URL", help="the server, such as http://127.0.0.1:8000")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="recordings to send")
    parser.add_argument("--model", required=True, metavar="NAME", help="the model to ask for")
    parser.add_argument("--clients", type=_count, default=16, help="requests at once (16)")
    parser.add_argument("--rounds", type=_count, default=3, help="times each is sent (3)")
    parser.add_argument("--key", default=os.environ.get(KEY, ""), help=f"the server's key (${KEY})")
    return _Arguments(**vars(parser.parse_args()))


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("has to be at least 1")
    return number


def _client(url: str, key: str, clients: int) -> httpx.Client:
    first = key.split(",")[0].strip()  # a server's own setting may hold several
    try:
        return httpx.Client(
            base_url=url.rstrip("/").removesuffix("/v1"),
            headers={"Authorization": f"Bearer {first}"} if first else {},
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=clients, max_keepalive_connections=clients),
            trust_env=False,
        )
    except (httpx.InvalidURL, UnicodeError) as error:
        sys.exit(f"The server's URL or key is not valid: {error}")


def _ask(client: httpx.Client, model: str, recording: Recording) -> Answer:
    began = time.perf_counter()
    try:
        answer = client.post(
            "/v1/audio/transcriptions",
            files={"file": (recording.path.name, recording.path.read_bytes())},
            data={"model": model},
        )
    except httpx.HTTPError as error:
        return Answer(error=str(error) or type(error).__name__)
    seconds = time.perf_counter() - began
    text = _text(answer)
    if not answer.is_success or text is None:
        return Answer(error=_reason(answer))
    return Answer(text, seconds=seconds)


def _text(answer: httpx.Response) -> str | None:
    text = _field(answer, "text")
    return text if isinstance(text, str) else None


def _reason(answer: httpx.Response) -> str:
    """The status, and what the server says of it, if only in a page of HTML."""
    detail = _field(answer, "error", "message") or _field(answer, "detail") or answer.text
    return f"{answer.status_code} {' '.join(str(detail).split())[:300]}"


def _field(answer: httpx.Response, *path: str) -> object:
    """What is at ``path`` in a JSON body, None where there is no such thing."""
    try:
        found: object = answer.json()
    except ValueError:
        return None
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _try(answer: Answer, url: str) -> None:
    """Go no further where the first request fails: the others would, too."""
    if answer.error.startswith(("401 ", "403 ")):
        sys.exit(f"{url} wants another key: pass --key or set {KEY}. It says: {answer.error}")
    if answer.error:
        sys.exit(f"{url} gives no transcription: {answer.error}")


def _round(found: Sequence[Recording], ask: partial[Answer], clients: int) -> Round:
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(ask, found))
    return Round(time.perf_counter() - began, answers)


def _show(found: Sequence[Recording], rounds: Sequence[Round]) -> None:
    """Print the table, and end in failure if a recording has no text."""
    failed = Counter(answer.error for round_ in rounds for answer in round_.answers if answer.error)
    table = Table("figure", "value")
    for name, value in _figures(found, rounds):
        table.add_row(name, value)
    Console().print(table)
    for error, count in failed.most_common(3):
        print(f"{count} times: {error}", file=sys.stderr)
    if failed:
        sys.exit(1)


def _figures(found: Sequence[Recording], rounds: Sequence[Round]) -> Iterator[tuple[str, str]]:
    answers = [answer for round_ in rounds for answer in round_.answers]
    seconds = [answer.seconds for answer in answers if answer.seconds is not None]
    yield "recordings", str(len(found))
    yield "audio seconds", f"{sum(recording.seconds for recording in found):.1f}"
    yield "wall seconds", _spread([round_.seconds for round_ in rounds])
    yield "RTFx", _spread([_answered(found, round_) / round_.seconds for round_ in rounds])
    yield "WER, %", _wer(found, rounds)
    yield "median request, s", f"{statistics.median(seconds):.3f}" if seconds else "-"
    yield "95th percentile, s", f"{_percentile_95(seconds):.3f}" if seconds else "-"
    yield "errors", f"{sum(bool(answer.error) for answer in answers)} of {len(answers)}"


def _answered(found: Sequence[Recording], round_: Round) -> float:
    """Seconds of audio whose text came."""
    pairs = zip(found, round_.answers, strict=True)
    return sum(recording.seconds for recording, answer in pairs if not answer.error)


def _wer(found: Sequence[Recording], rounds: Sequence[Round]) -> str:
    """Over all rounds; where no text came, every word is wrong."""
    total = wrong = 0
    for round_ in rounds:
        for recording, answer in zip(found, round_.answers, strict=True):
            said = words(recording.text or "")
            total += len(said)
            wrong += errors(said, words(answer.text)) if recording.text is not None else 0
    return f"{100 * wrong / total:.2f}" if total else "-"


def _spread(values: Sequence[float]) -> str:
    """The median, with the lowest and the highest."""
    median = f"{statistics.median(values):.2f}"
    return f"{median} ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else median


def _percentile_95(values: Sequence[float]) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


if __name__ == "__main__":
    main()
