"""Where the words of a text are in the audio."""

from __future__ import annotations

import numpy as np
import pytest
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import merge_punctuations

from reflector_gpu.engines.recognition.whisper_alignment import (
    APPENDED,
    PREPENDED,
    TimedText,
    aligned,
    whole,
)
from reflector_gpu.types import Token
from tests.engines.tiny import clips


@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_are_where_faster_whisper_aligns_them(inner: WhisperModel, language: str) -> None:
    """With a text that takes several tokens a character as well, and punctuation on both sides."""
    batch = [clip.samples for clip in clips("en")[:3]]
    encoded = inner.encode(np.stack([pad_or_trim(inner.feature_extractor(one)) for one in batch]))
    tokenizer = Tokenizer(inner.hf_tokenizer, True, task="transcribe", language=language)
    written = [tokenizer.encode(text) for text in (" nine, (two)!", " é 好吗？", " hello team")]
    frames = [len(samples) // 160 for samples in batch]
    theirs = inner.find_alignment(tokenizer, written, encoded, frames)
    ours = aligned(inner, tokenizer, encoded, written, batch)
    for row, words in zip(theirs, ours, strict=True):
        merge_punctuations(row, PREPENDED, APPENDED)
        expected = [part for part in row if part["word"].strip()]
        assert [word.text for word in words] == [part["word"].strip() for part in expected]
        for word, part in zip(words, expected, strict=True):
            assert (word.start, word.end) == pytest.approx((part["start"], part["end"]))
            assert word.probability == pytest.approx(part["probability"])
            assert [token.id for token in word.tokens] == part["tokens"]
            assert b"".join(token.data for token in word.tokens).decode().strip() == word.text


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([" d", "'avoir", " dit"], ["d'avoir", "dit"]),
        ([" 50", "%", " of"], ["50%", "of"]),
        ([" well", "-known."], ["well-known."]),
        ([" 3.", "5"], ["3.5"]),
        ([" one—", "two"], ["one—", "two"]),
        ([" say", "你", "好"], ["say", "你", "好"]),
        (["one"], ["one"]),
        ([], []),
    ],
)
def test_what_is_spelled_without_a_space_is_one_word(parts: list[str], expected: list[str]) -> None:
    found = whole(
        [
            TimedText(
                word=word,
                tokens=[Token(i, b"", 0.0)],
                start=float(i),
                end=i + 1.0,
                probability=0.25 + i / 2,
            )
            for i, word in enumerate(parts)
        ]
    )
    assert [part["word"].strip() for part in found] == expected
    assert [token.id for part in found for token in part["tokens"]] == list(range(len(parts)))
    if len(parts) == 2 and len(found) == 1:
        assert (found[0]["start"], found[0]["end"], found[0]["probability"]) == (0.0, 2.0, 0.5)
