"""Speech that needs no model: words with times, audio that is loud there, and who hears them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reflector_gpu.audio.vad import WINDOW, VadOptions
from reflector_gpu.live.speech import Speech
from reflector_gpu.live.window import Lengths, Window
from reflector_gpu.types import SAMPLE_RATE, Chunk, Samples, Word

BLOCK = SAMPLE_RATE // 10


def loudness(samples: Samples) -> Samples:
    """In place of the voice detector: a window is speech where it is loud."""
    found: Samples = np.abs(samples.reshape(-1, WINDOW)).max(axis=1)
    return found


def spoken(words: Sequence[Word], seconds: float) -> Samples:
    """Audio that is loud where ``words`` are."""
    samples = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    for word in words:
        samples[round(word.start * SAMPLE_RATE) : round(word.end * SAMPLE_RATE)] = 1.0
    return samples


def window(lengths: Lengths | None = None) -> Window:
    return Window(Speech(loudness, VadOptions()), lengths or Lengths())


class Listener:
    """Hears the words in a chunk.

    One that is cut off at the end is heard wrongly, as is with ``errors`` (a share) one in the last
    second. Case and punctuation change from pass to pass.
    """

    def __init__(self, words: Sequence[Word], errors: float = 0.0, seed: int = 0) -> None:
        self._words = words
        self._errors = errors
        self._dice = random.Random(seed)

    def hear(self, chunk: Chunk) -> list[Word]:
        """The words with times of the whole talk."""
        found: list[Word] = []
        for word in self._words:
            if word.start < chunk.start - 0.05 or word.start >= chunk.end:
                continue
            cut = word.end > chunk.end
            unsure = word.end > chunk.end - 1 and self._dice.random() < self._errors
            text = f"wrong{self._dice.random()}" if cut or unsure else self._spelled(word.text)
            shift = self._dice.uniform(-0.05, 0.05)
            found.append(replace(word, text=text, start=word.start + shift, end=word.end + shift))
        return found

    def _spelled(self, text: str) -> str:
        return self._dice.choice([text, text.title(), f"{text},", f"{text}."])


def run(
    audio: Samples, listener: Listener, one: Window, step: float = 1.0
) -> list[tuple[tuple[Word, ...], Chunk]]:
    """What is settled pass by pass, with one pass for ``step`` seconds of audio, and at the end."""
    told: list[tuple[tuple[Word, ...], Chunk]] = []

    def hear(last: bool) -> None:
        chunk = one.chunk()
        told.append((one.take(listener.hear(chunk), chunk, last=last), chunk))

    for first in range(0, len(audio), BLOCK):
        one.push(audio[first : first + BLOCK])
        if one.pausing or one.fresh >= step:
            hear(last=False)
    while one.open:
        hear(last=True)
    return told
