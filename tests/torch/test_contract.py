"""The engine on PyTorch is held to what every recogniser promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.recognition.parakeet.models import local
from tests.engines.conftest import turns  # noqa: F401
from tests.engines.recognition.general.test_contract import (  # noqa: F401
    engine,
    heard,
    pieces,
    test_an_engine_does_not_learn_from_what_it_heard,
    test_bad_chunks_fail_alone,
    test_chunks_may_be_read_only,
    test_closing_twice_is_harmless_and_a_new_one_can_be_loaded,
    test_errors_are_values_and_not_raised,
    test_next_to_nothing_is_no_failure,
    test_no_chunks_no_results,
    test_results_are_in_the_order_of_the_chunks,
    test_samples_at_full_scale_do_not_wrap_around,
    test_speech_gives_words,
    test_the_language_is_told,
    test_the_longest_chunk,
    test_the_same_chunk_gives_the_same_whatever_is_beside_it,
    test_times_are_in_order_and_within_the_chunk,
    test_tokens_spell_their_words,
)


@pytest.fixture(scope="module")
def model(tiny: Path) -> RecogniserModel:
    found = local("tiny", tiny)
    assert found is not None
    return found
