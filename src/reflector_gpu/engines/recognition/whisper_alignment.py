"""Times of Whisper's words, and the probabilities of their tokens.

faster-whisper does the same, but gives only the mean over a word's tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from reflector_gpu.engines.recognition.byte_pieces import bytes_of
from reflector_gpu.sentences import is_wide
from reflector_gpu.types import SAMPLE_RATE, Samples, Token, Word

if TYPE_CHECKING:
    import ctranslate2
    from faster_whisper import WhisperModel
    from faster_whisper.tokenizer import Tokenizer

_FRAMES_PER_SECOND = 100
_SMOOTHED = 7  # frames of the attention weights, as openai/whisper has it
_LEAST_PROBABILITY = 1e-10  # 0 has no logarithm

_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages without spaces between words. Words are split as the tokenizer splits them."""

_DASHES = "—–…"
"""Marks between two words, although there may be no space around them."""

PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the next word, and to the word before."""


def aligned(
    model: WhisperModel,
    tokenizer: Tokenizer,
    encoded: ctranslate2.StorageView,
    written: Sequence[Sequence[int]],
    batch: Sequence[Samples],
) -> list[list[Word]]:
    """The words of each row of ``encoded``, whose tokens are ``written``."""
    results = model.model.align(
        encoded,
        tokenizer.sot_sequence,
        [list(tokens) for tokens in written],
        [len(samples) * _FRAMES_PER_SECOND // SAMPLE_RATE for samples in batch],
        median_filter_width=_SMOOTHED,
    )
    return [
        list(_words(tokenizer, tokens, result, model.tokens_per_second))
        for tokens, result in zip(written, results, strict=True)
    ]


class TimedText(TypedDict):
    """A word, with the space before it, as faster-whisper's `merge_punctuations` wants it."""

    word: str
    tokens: list[Token]
    start: float
    end: float
    probability: float


def _words(
    tokenizer: Tokenizer,
    written: Sequence[int],
    result: ctranslate2.models.WhisperAlignmentResult,
    frames_per_second: float,
) -> Iterator[Word]:
    from faster_whisper.transcribe import merge_punctuations

    # The end of the text counts as a word, which shows where the last one ends.
    texts, groups = tokenizer.split_to_word_tokens([*written, tokenizer.eot])
    begins = _begins(result, frames_per_second)
    parts: list[TimedText] = []
    first = 0
    for text, group in zip(texts[:-1], groups[:-1], strict=True):
        last = first + len(group)
        probabilities = np.array(result.text_token_probs[first:last])
        logprobs = np.log(np.clip(probabilities, _LEAST_PROBABILITY, 1.0))
        tokens = [
            Token(token, bytes_of(tokenizer.tokenizer.id_to_token(token)), float(logprob))
            for token, logprob in zip(group, logprobs, strict=True)
        ]
        parts.append(
            {
                "word": text,
                "tokens": tokens,
                "start": begins[first],
                "end": begins[last],
                "probability": min(1.0, float(probabilities.mean())),
            }
        )
        first = last
    merge_punctuations(parts, PREPENDED, APPENDED)
    parts = [part for part in parts if part["word"].strip()]
    if tokenizer.language_code not in _UNSPACED:
        parts = whole(parts)
    for part in parts:
        yield Word(
            part["word"].strip(),
            part["start"],
            part["end"],
            part["probability"],
            glued=not part["word"].startswith(" "),
            tokens=tuple(part["tokens"]),
        )


def whole(parts: Sequence[TimedText]) -> list[TimedText]:
    """``parts``, with those joined that are spelled as one word: "d'avoir", "50%", "well-known"."""
    found: list[TimedText] = []
    for part in parts:
        before = found[-1] if found else None
        if before is None or not _goes_on(before["word"], part["word"]):
            found.append(part)
            continue
        counts = len(before["tokens"]), len(part["tokens"])
        sure = before["probability"] * counts[0] + part["probability"] * counts[1]
        found[-1] = {
            "word": before["word"] + part["word"],
            "tokens": before["tokens"] + part["tokens"],
            "start": before["start"],
            "end": part["end"],
            "probability": sure / max(1, sum(counts)),
        }
    return found


def _goes_on(before: str, after: str) -> bool:
    """Whether ``after`` continues the word ``before``."""
    beside = before[-1], after[0]
    return not any(one.isspace() or one in _DASHES or is_wide(one) for one in beside)


def _begins(
    result: ctranslate2.models.WhisperAlignmentResult, frames_per_second: float
) -> list[float]:
    """The time in seconds at which each token begins, the end included."""
    path = np.array(result.alignments)
    first = np.diff(path[:, 0], prepend=-1) > 0
    return [float(frame) / frames_per_second for frame in path[first, 1]]
