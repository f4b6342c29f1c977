"""Word errors and word times on real recordings, against faster-whisper called directly."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

from benchmarks import recordings
from benchmarks.audio import SAMPLES, read
from benchmarks.figures import Figure
from benchmarks.recordings import FULL, QUICK, Scope
from benchmarks.server import Server
from benchmarks.wer import errors, words
from reflector_gpu.engines.recognition.sphinx import SphinxRecogniser
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import TranscribeOptions

MEETING = SAMPLES / "standup.wav"
NEEDED = ("jiwer", "whisper_normalizer")


def run() -> list[Figure]:
    """Every recording: an hour or two on two cores, less with what faster-whisper heard before."""
    return [_points_lost(), *real(FULL)]


def run_quick() -> list[Figure]:
    """One clip in ten and short joined recordings, with Whisper base alone: some minutes."""
    return [_points_lost(), *real(QUICK)]


def real(scope: Scope) -> list[Figure]:
    folder = recordings.folder()
    if folder is None:
        print(f"Real recordings are left out. {recordings.WANTED}", file=sys.stderr)
        return []
    if not all(map(find_spec, NEEDED)):
        print("Real recordings are left out: pip install --group bench", file=sys.stderr)
        return []
    from benchmarks import real_accuracy

    return list(real_accuracy.measure(folder, scope))


def _points_lost() -> Figure:
    """On the sample meeting: WER of the service minus that of the bare engine, in points."""
    spoken = words(json.loads(MEETING.with_suffix(".json").read_text())["text"])
    served, direct = (
        100 * errors(spoken, words(text)) / len(spoken) for text in (_served(), _direct())
    )
    points = served - direct
    detail = f"service {served:.1f} %, whole files {direct:.1f} %, {len(spoken)} words"
    return Figure("WER points lost, sample meeting", points, "<= 2", points <= 2, detail)


def _served() -> str:
    with Server(model="sphinx") as server, server.client() as client, MEETING.open("rb") as file:
        answer = client.post("/v1/audio/transcriptions", files={"file": file})
    text: str = answer.raise_for_status().json()["text"]
    return text


def _direct() -> str:
    engine = SphinxRecogniser()
    engine.load()
    (result,) = engine.transcribe([read(MEETING)], TranscribeOptions())
    if isinstance(result, ReflectorError):
        raise result
    return " ".join(segment.text for segment in result.segments)
