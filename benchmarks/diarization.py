"""Who speaks when: the error rate of every diarizer that runs here, and what it takes in memory.

Diarization error rates are pyannote.metrics'. The full one counts everything; the lenient one
leaves out overlaps and a quarter of a second on either side of every edge. A diarizer is held
against itself when it is told that one person says it all, and the service against the diarizer
called directly.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import numpy as np

from benchmarks import conversations
from benchmarks.audio import heard, pcm
from benchmarks.conversations import Conversation
from benchmarks.figures import Figure
from benchmarks.memory import peak
from benchmarks.server import Server
from reflector_gpu.audio.speech import speech_spans
from reflector_gpu.engines.diarization.base import Diarizer, DiarizerModel, PcmRecording
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.diarization.pyannet import PyannetDiarizer
from reflector_gpu.errors import ReflectorError
from reflector_gpu.pcm import PcmFile
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.settings import load_settings
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, SpeakerTurn

RECORDINGS = "REFLECTOR_BENCH_AUDIO"
"""Folder of real recordings: ``meetings/*.wav`` and ``.rttm``, ``sentences/spk1_*.wav``."""

ENGINES = "REFLECTOR_BENCH_DIARIZERS"
"""Names of the diarizers to measure; all that are installed without it."""

ROUTE = "/diarize"
COLLAR = 0.5
"""Seconds around an edge that the lenient rate leaves out: pyannote.metrics means both sides."""

TALK = 0.4
"""The share of a recording that people must speak in to be joined with others."""

SHORT, LONG = 10, 360  # minutes
LIMIT = 1.3
LOST = 1.0
HARM = 1.0
"""Points that a told count may cost."""

Turns = Sequence[SpeakerTurn]


def run() -> list[Figure]:
    return [*_errors(), _memory()]


def _memory() -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        short, long = (_peak(Path(folder), minutes) for minutes in (SHORT, LONG))
    ratio = long / short
    detail = f"{SHORT} min {short / 1e6:.0f} MB, {LONG} min {long / 1e6:.0f} MB, the default"
    name = "peak memory of /diarize, long / short"
    return Figure(name, ratio, f"<= {LIMIT}", ratio <= LIMIT, detail)


def _peak(folder: Path, minutes: int) -> int:
    size, answer = peak(folder, minutes, ROUTE)
    assert answer["diarization"][-1]["end"] > (minutes - 2) * 60
    return size


def _chosen() -> list[DiarizerModel]:
    """Those that `ENGINES` names, or all."""
    models = DIARIZERS.known(load_settings().model_paths)
    named = os.environ.get(ENGINES, "").replace(",", " ").split() or list(models)
    return [models[name] for name in named]


def _errors() -> Iterator[Figure]:
    if not _installed("pyannote.metrics"):
        print("error rates are left out: pip install --group bench", file=sys.stderr)
        return
    sets = dict(_sets())
    for model in _chosen():
        if model.missing:
            print(f"{model.name} is left out: {model.installation}", file=sys.stderr)
            continue
        recipe = Recipe(model.engine, "diarize", arguments=model.arguments)
        engine = cast("Diarizer", recipe.build())
        engine.load()
        with Server(model="scripted", diarizer=model.name) as server, server.client() as client:
            for name, recordings in sets.items():
                yield from _figures(f"{model.name}: {name}", recordings, client, engine)
        engine.close()


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # nor is what it lies in
        return False


def _sets() -> Iterator[tuple[str, list[Conversation]]]:
    yield "sample meeting", [conversations.sample_meeting()]
    if mixtures := conversations.of_flite():
        yield "mixtures", mixtures
    else:
        print("mixtures are left out: flite is not installed", file=sys.stderr)
    if RECORDINGS in os.environ:
        folder = Path(os.environ[RECORDINGS])
        yield "read sentences", conversations.of_sentences(folder / "sentences")
        alike: defaultdict[str, list[Conversation]] = defaultdict(list)
        for one in conversations.recorded(folder / "meetings"):
            alike[re.sub(r"\d+$", "", one.name)].append(one)
        yield from alike.items()
        if meetings := [one for one in alike["trn"] if one.talk > TALK]:
            yield "meetings joined", [conversations.joined("joined", meetings)]


def _figures(
    name: str, recordings: Sequence[Conversation], client: httpx.Client, engine: Diarizer
) -> Iterator[Figure]:
    def rates(counts: Iterable[int | None]) -> Rates:
        pairs = zip(recordings, counts, strict=True)
        return _rates(recordings, [_served(client, one, count) for one, count in pairs])

    alone = rates([1] * len(recordings))
    yield Figure(f"DER %, {name}, all by one", alone.full, "", True, f"{alone}: {alone.each}")
    served = rates([None] * len(recordings))
    worst = max(b.full - a.full for a, b in zip(alone.clips, served.clips, strict=True))
    detail = f"{served}: {served.each}"
    yield Figure(f"DER %, {name}", served.full, f"<= {alone}", served.below(alone), detail)
    yield Figure(f"DER points above one speaker, worst clip of {name}", worst, "<= 0", worst <= 0)
    told = rates([one.speakers for one in recordings])
    met = told.full <= served.full + HARM
    detail = f"{told}: {told.each}"
    target = f"<= {served.full + HARM:.1f}"
    yield Figure(f"DER %, {name}, count told", told.full, target, met, detail)
    timed = [_direct(engine, one) for one in recordings]
    direct = _rates(recordings, [turns for turns, _, _ in timed])
    length = sum(one.seconds for one in recordings)
    speed = length / sum(took for _, took, _ in timed)
    cpu = 3600 * sum(cpu for _, _, cpu in timed) / length
    detail = f"the diarizer alone; {cpu:.1f} s of CPU for an hour"
    yield Figure(f"times real time, {name}", speed, "", True, detail)
    yield _lost(name, served, direct)
    if isinstance(engine, PyannetDiarizer):
        heard_live = [_live(engine, one) for one in recordings]
        for what, place in (("live labels", 0), ("live labels, corrected at the end", 1)):
            live = _rates(recordings, [found[place] for found in heard_live])
            detail = f"{live}: {live.each}; offline {direct}"
            yield Figure(f"DER %, {name}, {what}", live.full, "", True, detail)


def _live(engine: PyannetDiarizer, one: Conversation) -> tuple[Turns, Turns]:
    """The labels that are told while it is recorded, in pieces of half a second; and the same as
    the end corrects them."""
    session = engine.live()
    samples = heard(one.audio)
    pieces = np.array_split(samples, max(1, 2 * len(samples) // SAMPLE_RATE))
    told = [turn for piece in pieces for turn in session.push(piece)]
    told += session.rest()
    return told, session.finish(DiarizeOptions())


def _lost(name: str, served: Rates, direct: Rates) -> Figure:
    """DER of the service minus that of the diarizer alone, in points."""
    points = served.full - direct.full
    detail = f"service {served}, called directly {direct}"
    return Figure(f"DER points lost, {name}", points, f"<= {LOST:g}", points <= LOST, detail)


def _served(client: httpx.Client, one: Conversation, count: int | None) -> Turns:
    asked = {"num_speakers": count} if count else {}
    answer = client.post(ROUTE, files={"file": one.audio}, params=asked).raise_for_status()
    return [SpeakerTurn(**turn) for turn in answer.json()["diarization"]]


def _direct(engine: Diarizer, one: Conversation) -> tuple[Turns, float, float]:
    """What the diarizer says to the whole recording, once it is decoded and searched for speech.

    And the seconds that it takes, and those of CPU.
    """
    samples = heard(one.audio)
    with tempfile.TemporaryFile() as file:
        file.write(pcm(samples))
        file.flush()
        recording = PcmRecording(PcmFile(file.fileno()), speech_spans([samples]))
        begun, used = time.perf_counter(), time.process_time()
        (turns,) = engine.diarize([recording], DiarizeOptions())
        took, cpu = time.perf_counter() - begun, time.process_time() - used
    if isinstance(turns, ReflectorError):
        raise turns
    return turns, took, cpu


@dataclass(frozen=True, slots=True)
class Clip:
    """The rates of one recording in percent, how many people were found, and how many speak."""

    name: str
    full: float
    lenient: float
    found: int
    speak: int

    def __str__(self) -> str:
        return f"{self.name} {self.full:.1f} / {self.lenient:.1f} ({self.found} of {self.speak})"


@dataclass(frozen=True, slots=True)
class Rates:
    """In percent, of all recordings together and of each."""

    full: float
    lenient: float
    clips: Sequence[Clip]

    @property
    def each(self) -> str:
        return ", ".join(map(str, self.clips))

    def below(self, other: Rates) -> bool:
        return self.full <= other.full and self.lenient <= other.lenient

    def __str__(self) -> str:
        return f"{self.full:.1f} / {self.lenient:.1f}"


def _rates(recordings: Sequence[Conversation], answers: Sequence[Turns]) -> Rates:
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    full = DiarizationErrorRate()
    lenient = DiarizationErrorRate(collar=COLLAR, skip_overlap=True)
    clips: list[Clip] = []
    for one, turns in zip(recordings, answers, strict=True):
        truth, found = Annotation(), Annotation()
        for speaker, start, end in one.turns:
            truth[Segment(start, end), object()] = speaker
        for turn in turns:
            found[Segment(turn.start, turn.end), object()] = turn.speaker
        whole = Timeline([Segment(0, one.seconds)])
        strict, kind = (100 * metric(truth, found, uem=whole) for metric in (full, lenient))
        people = len({turn.speaker for turn in turns})
        clips.append(Clip(one.name, strict, kind, people, one.speakers))
    return Rates(100 * abs(full), 100 * abs(lenient), clips)
