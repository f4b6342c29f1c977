"""Start a server, transcribe recordings through its HTTP API, print who says what, stop."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, TypeAlias

import httpx
from rich.console import Console
from rich.text import Text

from benchmarks.wer import errors, words
from samples import weights
from samples.server import SAMPLES, server

RECORDINGS = {
    "jfk.flac": "John F. Kennedy, 1961",
    "memoirs.flac": "a chapter of Casanova's memoirs, read for LibriVox",
    "standup.mp3": "a meeting of three synthetic voices",
}
COLOURS = {"A": "cyan", "B": "yellow", "C": "green"}
LINE = 66
"""Characters of text in a line."""

NUMBERS = "zero one two three four five six seven eight nine ten".split()

Word: TypeAlias = dict[str, Any]


def main() -> None:
    console = Console(highlight=False, soft_wrap=True)
    source = weights.pull()
    with (
        server(port=0, log_level="warning") as running,
        httpx.Client(
            base_url=running.url,
            headers={"Authorization": f"Bearer {running.key}"},
            timeout=None,
            trust_env=False,
        ) as client,
    ):
        for name, title in RECORDINGS.items():
            model = transcribe(console, client, name, title)
        console.print(f"\nHeard by [bold]{model}[/], with the weights {source}.")


def transcribe(console: Console, client: httpx.Client, name: str, title: str) -> str:
    """Print what is said in one of the samples, and how well it was heard; who heard it."""
    reference = json.loads((SAMPLES / name).with_suffix(".json").read_text())
    console.print(f"\n[bold]{name}[/]  {title}")
    began = time.monotonic()
    with console.status("listening ..."), (SAMPLES / name).open("rb") as file:
        answer = client.post(
            "/v1/audio/transcriptions",
            files={"file": file},
            data={"model": "whisper-1", "diarize": "true"},
        )
    transcript = answer.raise_for_status().json()
    took = time.monotonic() - began
    for line in lines(transcript["words"]):
        console.print(line)
    spoken, heard = comparable(reference["text"]), comparable(transcript["text"])
    rate = 100 * errors(spoken, heard) / len(spoken)
    seconds = reference["duration"]
    console.print(
        f"[dim]{len(heard)} words, word error rate {rate:.1f} %; "
        f"{seconds:.0f} s of audio in {took:.1f} s (RTFx {seconds / took:.1f})[/]"
    )
    return answer.headers["X-Reflector-Model"]


def lines(said: list[Word]) -> Iterator[Text]:
    """The words, turn by turn: when each line begins, who speaks, and what."""
    for speaker, turn in groupby(said, key=lambda word: word["speaker"]):
        name = speaker
        for line in wrapped(turn):
            yield Text.assemble(
                (f"{line[0]['start']:7.2f}  ", "dim"),
                (f"{name:3}", COLOURS.get(speaker, "")),
                "".join(word["word"] for word in line).strip(),
            )
            name = ""


def wrapped(turn: Iterable[Word]) -> Iterator[list[Word]]:
    """The words of one turn in lines that fit a terminal."""
    line: list[Word] = []
    for word in turn:
        if line and sum(len(one["word"]) for one in (*line, word)) > LINE:
            yield line
            line = []
        line.append(word)
    yield line


def comparable(text: str) -> list[str]:
    """The words of ``text``, with small numbers spelled out: recognisers write digits."""
    small = {str(number): name for number, name in enumerate(NUMBERS)}
    return [small.get(word, word) for word in words(text)]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # the server has been stopped; end as whoever is interrupted does
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
