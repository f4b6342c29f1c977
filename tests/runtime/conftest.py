"""Admission with a clock that tests set."""

from __future__ import annotations

import pytest

from reflector_gpu.runtime.admission import Admission
from reflector_gpu.runtime.limits import Limits
from tests.runtime.admission import FILE, LIVE
from tests.runtime.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission({LIVE: Limits(2), FILE: Limits(1)}, clock=clock)
