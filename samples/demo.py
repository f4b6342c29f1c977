"""Start a server, transcribe the sample meeting through its HTTP API, print who says what, stop."""

from __future__ import annotations

import json
import signal
import time
from itertools import groupby
from typing import Any

import httpx
from rich.console import Console

from benchmarks.wer import errors, words
from samples.server import SAMPLES, server

FORMATS = ("wav", "mp3", "m4a", "webm", "ogg", "flac")
COLOURS = {"A": "cyan", "B": "yellow", "C": "green"}


def main() -> None:
    console = Console(highlight=False, soft_wrap=True)
    reference = json.loads((SAMPLES / "standup.json").read_text())
    spoken, seconds = words(reference["text"]), reference["duration"]
    with (
        server(port=0, log_level="warning") as running,
        httpx.Client(
            base_url=running.url,
            headers={"Authorization": f"Bearer {running.key}"},
            timeout=None,
            trust_env=False,
        ) as client,
    ):
        for name in FORMATS:
            path = SAMPLES / f"standup.{name}"
            first = name == FORMATS[0]
            began = time.monotonic()
            with console.status(f"{path.name} ..."), path.open("rb") as file:
                answer = client.post(
                    "/v1/audio/transcriptions",
                    files={"file": file},
                    data={"model": "whisper-1", "diarize": str(first).lower()},
                )
            transcript = answer.raise_for_status().json()
            took = time.monotonic() - began
            if first:
                print_dialogue(console, transcript["words"])
            wrong = errors(spoken, words(transcript["text"]))
            console.print(
                f"{path.name:13} {len(transcript['words'])} words with times"
                f"{' and speakers' if first else ''}, "
                f"{100 * wrong / len(spoken):.1f} % word errors, "
                f"{seconds:.0f} s of audio in {took:.1f} s (RTFx {seconds / took:.1f})"
            )


def print_dialogue(console: Console, said: list[dict[str, Any]]) -> None:
    for speaker, turn in groupby(said, key=lambda word: word["speaker"]):
        own = list(turn)
        colour = COLOURS.get(speaker, "white")
        text = "".join(word["word"] for word in own).strip()
        console.print(f"[dim]{own[0]['start']:7.2f}[/]  [{colour}]{speaker}:[/] {text}")
    console.print()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # the server has been stopped; end as whoever is interrupted does
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
