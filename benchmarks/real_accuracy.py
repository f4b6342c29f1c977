"""How well the service hears real recordings, beside faster-whisper with the same weights.

The service may be half a point above the better of faster-whisper's default and its batched
pipeline, in errors pooled over all clips, and over the long recordings of each kind. All are told
the language, and the service gets one request after another.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from faster_whisper.utils import download_model

from benchmarks import noises, recordings, word_times
from benchmarks.figures import Figure
from benchmarks.recordings import JOININGS, Clip, Scope
from benchmarks.scores import Score, pooled, score
from benchmarks.server import Server
from benchmarks.systems import Batched, Direct, Service, System
from benchmarks.word_times import Errors, mean_and_p95
from reflector_gpu.engines.recognition.catalog import MODELS

LIMIT = 0.5
SHORT = "short clips"
SERVICE = "service"

DETAILS = Path(__file__).parent / "accuracy.tsv"
"""What each system heard in each recording, the last time; the service's worst are on top."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one system heard in one recording."""

    model: str
    system: str
    clip: Clip
    text: str
    score: Score


Scores = Mapping[str, Score]
"""By system."""


def measure(folder: Path, scope: Scope) -> Iterator[Figure]:
    """The figures of one model after another; what was heard is written down after each set."""
    clips = recordings.clips(folder)[:: scope.every]
    long = list(_long(folder, scope))
    heard: list[Heard] = []

    def hear(model: str, systems: Mapping[str, System], these: Iterable[Clip]) -> list[Heard]:
        found = [one for clip in these for one in _hear(model, systems, clip)]
        heard.extend(found)
        _write(heard)
        return found

    for name in scope.models:
        if MODELS[name].missing:
            print(f"{name} is left out: {MODELS[name].installation}", file=sys.stderr)
            continue
        known = [clip for clip in clips if not name.endswith(".en") or clip.language == "en"]
        with _systems(name) as systems:
            short = hear(name, systems, known)
            yield comparison(f"{name}: {SHORT}", short)
            yield from _by(name, "language", lambda clip: clip.language, short)
            yield from _by(name, "kind", lambda clip: clip.kind, short)
            yield invented(name, hear(name, systems, [*noises.clips()][:: scope.every]))
            for joining in JOININGS:
                found = hear(name, systems, [clip for clip in long if clip.kind == joining.name])
                yield comparison(f"{name}: {joining.name}", found)
            yield from _times(name, systems, folder / "real", known)
    with Server(model="sphinx") as server, server.client() as client:
        english = [clip for clip in clips if clip.language == "en"]
        found = hear("sphinx", {SERVICE: Service(client, "sphinx")}, english)
        yield from _by("sphinx", "language", lambda clip: clip.language, found)
        yield from _by("sphinx", "kind", lambda clip: clip.kind, found)
    print(f"what was heard is in {DETAILS}", file=sys.stderr)


@contextmanager
def _systems(name: str) -> Iterator[Mapping[str, System]]:
    weights = Path(download_model(name, local_files_only=True))
    with Server(model=name) as server, server.client() as client:
        yield {
            SERVICE: Service(client, name),
            "direct": Direct(weights),
            "batched": Batched(weights),
        }


def _long(folder: Path, scope: Scope) -> Iterator[Clip]:
    clips = recordings.joinable(recordings.clips(folder))
    for joining in JOININGS:
        for seed in scope.seeds:
            yield recordings.joined(clips, joining, 60 * scope.minutes, seed)


def _hear(model: str, systems: Mapping[str, System], clip: Clip) -> list[Heard]:
    found: list[Heard] = []
    for name, system in systems.items():
        text = system.text(clip)
        found.append(Heard(model, name, clip, text, score(clip.language, clip.text, text)))
    wrong = ", ".join(f"{one.system} {one.score.errors}" for one in found)
    words = found[0].score.words
    print(f"  {model}, {clip.name}: {words} words, errors: {wrong}", file=sys.stderr)
    return found


def _by(
    model: str, what: str, key: Callable[[Clip], str], heard: Sequence[Heard]
) -> Iterator[Figure]:
    """The word error rate of the service for each language or kind, with the others' beside it."""
    for value in sorted({key(one.clip) for one in heard}):
        same = [one for one in heard if key(one.clip) == value]
        scores = _scores(same)
        name = f"WER %, {model}, {what} {value}"
        yield Figure(name, scores[SERVICE].percent, "", True, _told(same))


def comparison(name: str, heard: Sequence[Heard]) -> Figure:
    """Points of WER that the service is above the better of the two others."""
    rates = {system: score.percent for system, score in _scores(heard).items()}
    points = rates.pop(SERVICE) - min(rates.values())
    name = f"WER points above the better, {name}"
    return Figure(name, points, f"<= {LIMIT}", points <= LIMIT, _told(heard))


def invented(model: str, heard: Sequence[Heard]) -> Figure:
    """Recordings in which nobody speaks, and the service hears words all the same."""
    found = {
        system: {one.clip.name: one.text for one in heard if one.system == system and one.text}
        for system in dict.fromkeys(one.system for one in heard)
    }
    counts = ", ".join(f"{system} {len(texts)}" for system, texts in found.items())
    texts = "".join(f"; {name}: {text}" for name, text in found[SERVICE].items())
    clips = len({one.clip.name for one in heard})
    name = f"recordings without speech in which words are heard, {model}"
    value = len(found[SERVICE])
    return Figure(name, value, "<= 0", value <= 0, f"{counts} of {clips}{texts}")


def _scores(heard: Sequence[Heard]) -> Scores:
    systems = dict.fromkeys(one.system for one in heard)
    return {
        system: pooled(one.score for one in heard if one.system == system) for system in systems
    }


def _told(heard: Sequence[Heard]) -> str:
    """Rates of all systems, and how many words are wrong, missing and invented."""
    scores = _scores(heard)
    rates = ", ".join(
        f"{system} {one.percent:.1f} ({one.substitutions}/{one.deletions}/{one.insertions})"
        for system, one in scores.items()
    )
    clips = len({one.clip.name for one in heard})
    return f"{rates}; {scores[SERVICE].words} words, {clips} files"


def _times(
    model: str, systems: Mapping[str, System], real: Path, clips: Sequence[Clip]
) -> Iterator[Figure]:
    """How far the starts and ends of words are from those of forced alignments."""
    off = dict.fromkeys(systems, Errors())
    for clip in clips:
        if spoken := word_times.alignment(real / clip.name):
            there = [replace(w, start=w.start - clip.begin, end=w.end - clip.begin) for w in spoken]
            for name, system in systems.items():
                off[name] += word_times.errors(there, system.words(clip))
    if not off[SERVICE].starts:
        return
    for edge in ("starts", "ends"):
        told = ", ".join(
            "{} {:.0f} (p95 {:.0f})".format(
                name, *(1000 * seconds for seconds in mean_and_p95(getattr(one, edge)))
            )
            for name, one in off.items()
        )
        compared = f"{len(off[SERVICE].starts)} of {off[SERVICE].spoken} words"
        mean = 1000 * mean_and_p95(getattr(off[SERVICE], edge))[0]
        yield Figure(
            f"mean error of word {edge} in ms, {model}", mean, "", True, f"{told}; {compared}"
        )


def _write(heard: Sequence[Heard]) -> None:
    """The clips of which the service heard fewer words than the better of the others come first."""
    ranked = sorted(_grouped(heard), key=_lost, reverse=True)
    with DETAILS.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(
            ["lost", "model", "file", "system", "words", "wrong", "missing", "invented", "text"]
        )
        for group in ranked:
            clip = group[0].clip
            table.writerow(
                [_lost(group), group[0].model, clip.name, "reference", *[""] * 4, clip.text]
            )
            for one in group:
                counts = one.score
                row = [counts.words, counts.substitutions, counts.deletions, counts.insertions]
                table.writerow(["", one.model, clip.name, one.system, *row, one.text])


def _grouped(heard: Sequence[Heard]) -> list[list[Heard]]:
    groups: dict[tuple[str, str], list[Heard]] = {}
    for one in heard:
        groups.setdefault((one.model, one.clip.name), []).append(one)
    return list(groups.values())


def _lost(group: Sequence[Heard]) -> int:
    """How many more errors the service makes than the better of the others."""
    errors = {one.system: one.score.errors for one in group}
    mine = errors.pop(SERVICE)
    return mine - min(errors.values(), default=mine)
