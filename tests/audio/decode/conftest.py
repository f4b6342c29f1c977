"""What several tests of decoding encode."""

from __future__ import annotations

import pytest

from reflector_gpu.types import SAMPLE_RATE, Samples


@pytest.fixture(scope="module")
def clip(speech: Samples) -> Samples:
    """Three seconds, with speech in them all."""
    return speech[SAMPLE_RATE : 4 * SAMPLE_RATE]
