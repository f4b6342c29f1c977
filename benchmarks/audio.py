"""Recordings to measure with, as long as needed."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path

import av
import numpy as np

from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.types import SAMPLE_RATE, Samples

SAMPLES = Path(__file__).parent.parent / "samples"
SPEECH = Path(__file__).parent.parent / "tests" / "fixtures" / "speech"
PAUSE: Samples = np.zeros(SAMPLE_RATE // 2, np.float32)
"""The silence between two sentences."""


def read(path: Path) -> Samples:
    return heard(path.read_bytes())


def heard(data: bytes) -> Samples:
    """What is in an audio file of any kind."""
    with Spool(limit=10**10) as spool:
        spool.write(data)
        spool.finish()
        return np.concatenate(list(decode(spool.reader())))


def meeting() -> Samples:
    """The sample meeting."""
    return read(SAMPLES / "standup.wav")


def sentences() -> list[tuple[Samples, str]]:
    """What the tiny models of the tests understand: each sentence, and what is said in it."""
    entries = json.loads((SPEECH / "speech.json").read_text())
    return [
        (read(SPEECH / name), entry["text"])
        for name, entry in entries.items()
        if entry["language"] == "en"
    ]


def utterances() -> Samples:
    """The sentences that the tiny models understand, one after another."""
    return np.concatenate([part for clip, _ in sentences() for part in (clip, PAUSE)])


def wav(audio: Samples) -> bytes:
    """``audio`` as a 16-bit WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(pcm(audio))
    return file.getvalue()


def pcm(audio: Samples) -> bytes:
    """``audio`` as 16-bit samples."""
    return np.round(audio * 32767).astype("<i2").tobytes()


def write_mp3(
    path: Path,
    audio: Samples,
    minutes: float,
    *,
    rate: int = SAMPLE_RATE,
    layout: str = "mono",
    bit_rate: int = 48_000,
) -> None:
    """``audio`` over and over, ``minutes`` of it."""
    whole = np.frombuffer(pcm(audio), np.int16)
    left = int(minutes * 60 * SAMPLE_RATE)
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=rate, layout=layout, bit_rate=bit_rate)
        while left > 0:
            part = whole[:left]
            frame = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            container.mux(stream.encode(frame))
            left -= len(part)
        container.mux(stream.encode(None))
