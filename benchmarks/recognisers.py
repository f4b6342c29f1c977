"""Batching pays: many requests at once against one after another, on the tiny trained models."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx_asr
from faster_whisper import WhisperModel
from onnx_asr.models.nemo import NemoConformerTdt

from benchmarks.audio import read
from benchmarks.figures import Figure
from benchmarks.server import Server
from benchmarks.timing import times_as_fast
from reflector_gpu.engines.recognition.parakeet.onnx import ParakeetRecogniser
from reflector_gpu.types import Recognition, TranscribeOptions

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
CLIENTS = 16
UTTERANCES = 32


def run() -> list[Figure]:
    return [_whisper(), _tdt()]


def _clips(count: int) -> list[Path]:
    entries = json.loads((FIXTURES / "speech" / "speech.json").read_text())
    english = [FIXTURES / "speech" / name for name, e in entries.items() if e["language"] == "en"]
    return [english[i % len(english)] for i in range(count)]


def _whisper() -> Figure:
    """Concurrent requests through the server against faster-whisper, one file after another."""
    weights = FIXTURES / "whisper-tiny"
    paths = _clips(CLIENTS)
    direct = WhisperModel(str(weights), device="cpu", compute_type="int8", local_files_only=True)

    def one_by_one() -> list[str]:
        found = (direct.transcribe(str(path), language="en")[0] for path in paths)
        return [" ".join(segment.text.strip() for segment in segments) for segments in found]

    paths_setting = json.dumps({"tiny-whisper": str(weights)})
    with (
        Server(model="tiny-whisper", model_paths=paths_setting) as server,
        server.client() as client,
        ThreadPoolExecutor(CLIENTS) as threads,
    ):

        def request(path: Path) -> str:
            with path.open("rb") as file:
                answer = client.post(
                    "/v1/audio/transcriptions", files={"file": file}, data={"language": "en"}
                )
            text: str = answer.raise_for_status().json()["text"]
            return text

        def together() -> list[str]:
            return list(threads.map(request, paths))

        same = together() == one_by_one()
        ratio, spread = times_as_fast(together, one_by_one)
    detail = f"{CLIENTS} clips, {spread}, texts {'equal' if same else 'DIFFER'}"
    name = "Whisper, concurrent requests / sequential transcribe"
    return Figure(name, ratio, ">= 1.5", ratio >= 1.5 and same, detail)


def _tdt() -> Figure:
    """Our engine against onnx-asr's batch: encoders included, and our look at every word's sound.

    A tiny encoder takes so little that the latter shows; `tdt` compares the decoding alone.
    """
    weights = FIXTURES / "parakeet-tiny"
    batch = [read(path) for path in _clips(UTTERANCES)]
    lengths = np.array([len(samples) for samples in batch])
    padded = np.zeros((len(batch), lengths.max()), np.float32)
    for row, samples in zip(padded, batch, strict=True):
        row[: len(samples)] = samples
    model = onnx_asr.load_model("nemo-conformer-tdt", weights).asr
    assert isinstance(model, NemoConformerTdt)
    engine = ParakeetRecogniser(str(weights))
    engine.load()

    def theirs() -> list[str]:
        return [found.text for found in model.recognize_batch(padded, lengths)]

    def ours() -> list[str]:
        results = engine.transcribe(batch, TranscribeOptions(language="en"))
        return [" ".join(s.text for s in r.segments) for r in results if isinstance(r, Recognition)]

    same = ours() == theirs()
    ratio, spread = times_as_fast(ours, theirs)
    detail = f"{UTTERANCES} clips, {spread}, texts {'equal' if same else 'DIFFER'}"
    return Figure("tiny Parakeet, all of it / onnx-asr's", ratio, "", same, detail)
