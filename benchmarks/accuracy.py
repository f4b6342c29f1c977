"""Does the service cost accuracy? Its word error rate against PocketSphinx on whole files."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

from benchmarks.audio import SAMPLES, read
from benchmarks.figures import Figure
from benchmarks.server import Server
from benchmarks.wer import errors, words
from reflector_gpu.engines.sphinx import SphinxTranscriber
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import TranscribeOptions

RECORDINGS = "REFLECTOR_BENCH_AUDIO"
"""Folder of real recordings: ``sentences/references.tsv`` (file, text) and ``misc/jfk.flac``."""

JFK = (
    "and so my fellow americans ask not what your country can do for you "
    "ask what you can do for your country"
)


def run() -> list[Figure]:
    figures = [_compare("sample meeting", [(SAMPLES / "standup.wav", _sample_text())])]
    folder = Path(os.environ.get(RECORDINGS, ""))
    if RECORDINGS in os.environ:
        figures.append(_compare("real recordings", _real(folder)))
    return figures


def _sample_text() -> str:
    text: str = json.loads((SAMPLES / "standup.json").read_text())["text"]
    return text


def _real(folder: Path) -> list[tuple[Path, str]]:
    with (folder / "sentences" / "references.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    found = [(folder / "sentences" / row["file"], row["text"]) for row in rows]
    return [*found, (folder / "misc" / "jfk.flac", JFK)]


def _compare(name: str, references: list[tuple[Path, str]]) -> Figure:
    """WER of the service minus that of the bare engine, in points."""
    total = sum(len(words(text)) for _, text in references)
    served, direct = _served(references) / total, _direct(references) / total
    points = 100 * (served - direct)
    detail = f"service {100 * served:.1f} %, whole files {100 * direct:.1f} %, {total} words"
    return Figure(f"WER points lost, {name}", points, "<= 2", points <= 2, detail)


def _served(references: list[tuple[Path, str]]) -> int:
    found = 0
    with Server(model="sphinx") as server, server.client() as client:
        for path, text in references:
            with path.open("rb") as file:
                answer = client.post("/v1/audio/transcriptions", files={"file": file})
            found += errors(words(text), words(answer.raise_for_status().json()["text"]))
    return found


def _direct(references: list[tuple[Path, str]]) -> int:
    engine = SphinxTranscriber()
    engine.load()
    found = 0
    for path, text in references:
        (result,) = engine.transcribe([read(path)], TranscribeOptions())
        if isinstance(result, ReflectorError):
            raise result
        heard = " ".join(segment.text for segment in result.segments)
        found += errors(words(text), words(heard))
    return found
