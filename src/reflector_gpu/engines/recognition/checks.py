"""Checks what an engine returned before anything relies on it.

Libraries and weights can be wrong. A malformed result counts as the engine's failure, rather than
fail wherever it is first used. Times may be any numbers, because the pipeline corrects them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TypeGuard

from reflector_gpu.errors import EngineFailed
from reflector_gpu.types import Recognition, Segment, SegmentScores, Token, Word

logger = logging.getLogger(__name__)


def check_recognition(answer: object) -> Recognition:
    """``answer``, if it is a valid `Recognition`.

    Raises:
        EngineFailed: it is not.
    """
    if not _is_recognition(answer):
        logger.error("an engine answered with a %s that is no transcript", type(answer).__name__)
        raise EngineFailed("The engine answered with something that is no transcript.")
    return answer


def _is_recognition(value: object) -> TypeGuard[Recognition]:
    return (
        isinstance(value, Recognition)
        and (value.language is None or _is_text(value.language))
        and _is_number(value.certainty)
        and _is_tuple(value.segments, _is_segment)
    )


def _is_segment(value: object) -> bool:
    return (
        isinstance(value, Segment)
        and _is_number(value.start)
        and _is_number(value.end)
        and _is_text(value.text)
        and (value.speaker is None or _is_text(value.speaker))
        and _is_tuple(value.words, _is_word)
        and (value.scores is None or _is_scores(value.scores))
        and (value.language is None or _is_text(value.language))
    )


def _is_word(value: object) -> bool:
    return (
        isinstance(value, Word)
        and _is_text(value.text)
        and _is_number(value.start)
        and _is_number(value.end)
        and (value.probability is None or _is_number(value.probability))
        and (value.speaker is None or _is_text(value.speaker))
        and _is_tuple(value.tokens, _is_token)
    )


def _is_token(value: object) -> bool:
    return (
        isinstance(value, Token)
        and isinstance(value.id, int)
        and isinstance(value.data, bytes)
        and _is_number(value.logprob)
    )


def _is_scores(value: object) -> bool:
    return (
        isinstance(value, SegmentScores)
        and _is_number(value.avg_logprob)
        and _is_number(value.compression_ratio)
        and _is_number(value.no_speech_prob)
        and _is_number(value.temperature)
    )


def _is_tuple(value: object, of: Callable[[object], bool]) -> bool:
    return isinstance(value, tuple) and all(of(one) for one in value)


def _is_text(value: object) -> bool:
    """Whether ``value`` is text that UTF-8 can encode, without surrogates."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_number(value: object) -> bool:
    """Whether ``value`` is a number that fits a ``float``. It may be infinite."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)
