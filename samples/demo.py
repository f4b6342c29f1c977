"""Start a server, transcribe the sample meeting through its HTTP API, print the words, stop."""

from __future__ import annotations

import json
import time

import httpx
from rich.console import Console

from benchmarks.wer import errors, words
from samples.server import SAMPLES, server

FORMATS = ("wav", "mp3", "m4a", "webm", "ogg", "flac")


def main() -> None:
    console = Console(highlight=False, soft_wrap=True)
    reference = words(json.loads((SAMPLES / "standup.json").read_text())["text"])
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
            began = time.monotonic()
            with console.status(f"{path.name} ..."), path.open("rb") as file:
                answer = client.post(
                    "/v1/audio/transcriptions",
                    files={"file": file},
                    data={
                        "model": "whisper-1",
                        "response_format": "verbose_json",
                        "timestamp_granularities[]": ["word", "segment"],
                    },
                )
            transcript = answer.raise_for_status().json()
            took = time.monotonic() - began
            if name == FORMATS[0]:
                for segment in transcript["segments"]:
                    clock = f"{segment['start']:7.2f} {segment['end']:7.2f}"
                    console.print(f"[cyan]{clock}[/]  {segment['text']}")
                console.print()
            wrong = errors(reference, words(transcript["text"]))
            console.print(
                f"{path.name:13} {len(transcript['words'])} words with times, "
                f"{100 * wrong / len(reference):.1f} % word errors, "
                f"{transcript['duration']:.0f} s of audio in {took:.1f} s "
                f"(RTFx {transcript['duration'] / took:.1f})"
            )


if __name__ == "__main__":
    main()
