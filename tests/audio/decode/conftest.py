"""What several tests of decoding encode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # see tests/conftest.py
    from reflector_gpu.types import Samples


@pytest.fixture(scope="module")
def clip(speech: Samples) -> Samples:
    """Three seconds, with speech in them all."""
    from reflector_gpu.types import SAMPLE_RATE

    return speech[SAMPLE_RATE : 4 * SAMPLE_RATE]
