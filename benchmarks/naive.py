"""The reference design, written plainly: what a speech server does if nobody thinks about serving.

Download all, decode all, detect all, then chunk after chunk behind a lock. The engine, the decoder
and the detector are those that reflector-gpu uses; the detector is driven as its authors' own
example drives it, window by window. Run it with ``python -m benchmarks.naive``.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import av
import faster_whisper
import httpx
import numpy as np
import onnxruntime
import uvicorn
from fastapi import Body, FastAPI, UploadFile

from reflector_gpu.engines.recognition.scripted import ScriptedRecogniser
from reflector_gpu.types import SAMPLE_RATE, Recognition, Samples, TranscribeOptions

WINDOW, CONTEXT = 512, 64
THRESHOLD = 0.5
CHUNK_SECONDS = 30
MODEL = Path(faster_whisper.__file__).parent / "assets" / "silero_vad_v6.onnx"

app = FastAPI()
lock = threading.Lock()
engine = ScriptedRecogniser()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
detector = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])


@app.post("/v1/audio/transcriptions-from-url")
def from_url(audio_file_url: Annotated[str, Body(embed=True)]) -> dict[str, object]:
    return transcribe(httpx.get(audio_file_url, timeout=None).raise_for_status().content)


@app.post("/v1/audio/transcriptions")
def upload(file: UploadFile) -> dict[str, object]:
    return transcribe(file.file.read())


def transcribe(data: bytes) -> dict[str, object]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        samples = decode(file.name)
    words: list[dict[str, object]] = []
    for first, last in chunks(samples):
        with lock:
            (found,) = engine.transcribe([samples[first:last]], TranscribeOptions())
        assert isinstance(found, Recognition)
        offset = first / SAMPLE_RATE
        words += [
            {"word": word.text, "start": offset + word.start, "end": offset + word.end}
            for segment in found.segments
            for word in segment.words
        ]
    return {"text": " ".join(str(word["word"]) for word in words), "words": words}


def decode(path: str) -> Samples:
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    parts: list[Samples] = []
    with av.open(path) as container:
        for frame in (*container.decode(audio=0), None):
            parts += [mono(resampled) for resampled in resampler.resample(frame)]
    return np.concatenate(parts)


def mono(frame: av.AudioFrame) -> Samples:
    return frame.to_ndarray().reshape(-1).astype(np.float32)


def chunks(samples: Samples) -> Iterator[tuple[int, int]]:
    """First and last sample of speech, in pieces of at most `CHUNK_SECONDS`."""
    begin, end = None, 0
    for window, probability in enumerate(probabilities(samples)):
        if probability >= THRESHOLD:
            begin = window * WINDOW if begin is None else begin
            end = (window + 1) * WINDOW
        if begin is not None and (window + 1) * WINDOW - begin >= CHUNK_SECONDS * SAMPLE_RATE:
            yield begin, end
            begin = None
    if begin is not None:
        yield begin, end


def probabilities(samples: Samples) -> Iterator[float]:
    h = c = np.zeros((1, 1, 128), np.float32)
    padded = np.pad(samples, (CONTEXT, -len(samples) % WINDOW))
    for first in range(0, len(padded) - CONTEXT, WINDOW):
        window = padded[None, first : first + CONTEXT + WINDOW]
        found, h, c = detector.run(None, {"input": window, "h": h, "c": c})
        yield float(found.reshape(-1)[0])


if __name__ == "__main__":
    engine.load()
    uvicorn.run(app, port=0, log_level="info", access_log=False)
