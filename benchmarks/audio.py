"""Recordings to measure with: the sample meeting, as long as needed."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np

from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.types import SAMPLE_RATE, Samples

SAMPLES = Path(__file__).parent.parent / "samples"


def read(path: Path) -> Samples:
    with Spool(limit=10**10) as spool:
        spool.write(path.read_bytes())
        spool.finish()
        return np.concatenate(list(decode(spool.reader())))


def write_mp3(path: Path, minutes: float) -> None:
    """The sample meeting over and over, ``minutes`` of it."""
    with wave.open(str(SAMPLES / "standup.wav")) as source:
        pcm = np.frombuffer(source.readframes(source.getnframes()), np.int16)
    left = int(minutes * 60 * SAMPLE_RATE)
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=SAMPLE_RATE, layout="mono", bit_rate=48_000)
        while left > 0:
            part = pcm[: min(left, len(pcm))]
            frame = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            container.mux(stream.encode(frame))
            left -= len(part)
        container.mux(stream.encode(None))
