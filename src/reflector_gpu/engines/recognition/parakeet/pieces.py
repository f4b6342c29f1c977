"""What both engines share: which chunks are long enough, and how pieces become words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TypeAlias

import numpy as np

from reflector_gpu.engines.outcomes import each, together
from reflector_gpu.engines.recognition.base import checked
from reflector_gpu.engines.recognition.parakeet import tdt
from reflector_gpu.engines.recognition.sound import spoken
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import (
    SAMPLE_RATE,
    Recognition,
    Samples,
    Segment,
    Token,
    TranscribeOptions,
    Word,
)

_SHORTEST = SAMPLE_RATE // 10  # samples; the feature extractor fails on a few frames

Listener: TypeAlias = Callable[[Sequence[Samples], Sequence[str]], Iterable[list[Word]]]
"""Finds the words of each of some chunks, given the hotwords."""

Ready: TypeAlias = Samples | Recognition | ReflectorError
"""A chunk that can be heard, or what is known of it without."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a word, with times in seconds. A leading space begins a new word."""

    id: int
    text: str
    start: float
    end: float
    logprob: float


def recognised(
    chunks: Sequence[Samples], options: TranscribeOptions, listener: Listener
) -> list[Recognition | ReflectorError]:
    """What ``listener`` hears in ``chunks``, as `Recogniser.transcribe` gives it.

    The recognitions name the language that the client did, because v3 does not say what it heard.
    """

    def recognise(batch: Sequence[Samples]) -> list[Recognition]:
        found = zip(listener(batch, options.hotwords), batch, strict=True)
        return [recognition(words, samples, options.language) for words, samples in found]

    return together(recognise, np.ndarray, readable(chunks))


def readable(chunks: Iterable[Samples]) -> list[Ready]:
    """``chunks``, but for those that are too short or cannot be heard."""
    return each(_readable, chunks)


def _readable(samples: Samples) -> Samples | Recognition:
    """``samples`` if there are enough of them. Otherwise an empty recognition."""
    return samples if len(checked(samples)) >= _SHORTEST else Recognition()


def recognition(words: Sequence[Word], samples: Samples, language: str | None) -> Recognition:
    """What was said: those of ``words`` that fall on speech in ``samples``.

    A word's last frame may reach beyond the samples, which seldom fill it.
    """
    end = len(samples) / SAMPLE_RATE
    within = [replace(one, start=min(one.start, end), end=min(one.end, end)) for one in words]
    said = list(compress(within, spoken(within, samples)))
    return Recognition((Segment.of(said),) if said else (), language)


def pieces_of(
    decoded: tdt.Decoded, vocabulary: Sequence[str], seconds_per_frame: float
) -> Iterable[Piece]:
    """The pieces of one utterance. One without a duration lasts for a frame."""
    ends = decoded.frames + np.maximum(decoded.durations, 1)
    for token, start, end, logprob in zip(
        decoded.tokens, decoded.frames, ends, decoded.logprobs, strict=True
    ):
        yield Piece(
            int(token),
            vocabulary[int(token)],
            float(start) * seconds_per_frame,
            float(end) * seconds_per_frame,
            float(logprob),
        )


def words_of(pieces: Iterable[Piece]) -> list[Word]:
    groups: list[list[Piece]] = []
    for piece in pieces:
        if piece.text.startswith(" ") or not groups:
            groups.append([])
        groups[-1].append(piece)
    return [_word(group) for group in groups if any(piece.text.strip() for piece in group)]


def _word(pieces: Sequence[Piece]) -> Word:
    mean = sum(piece.logprob for piece in pieces) / len(pieces)
    return Word(
        "".join(piece.text for piece in pieces).strip(),
        pieces[0].start,
        pieces[-1].end,
        min(1.0, float(np.exp(mean))),
        tokens=tuple(Token(one.id, one.text.encode(), min(0.0, one.logprob)) for one in pieces),
    )


def padded(batch: Sequence[Samples]) -> tuple[Samples, tdt.Ints]:
    """``float32[b, longest]`` padded with zeros, and the lengths."""
    lengths = np.array([len(samples) for samples in batch], np.int64)
    rows = np.zeros((len(batch), int(lengths.max())), np.float32)
    for row, samples in zip(rows, batch, strict=True):
        row[: len(samples)] = samples
    return rows, lengths
