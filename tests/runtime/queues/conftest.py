"""Admission with a clock that tests set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # see tests/conftest.py
    from reflector_gpu.runtime.admission import Admission
    from tests.runtime.clock import Clock


@pytest.fixture
def clock() -> Clock:
    from tests.runtime.clock import Clock

    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    from reflector_gpu.runtime.admission import Admission
    from reflector_gpu.runtime.limits import Limits
    from tests.runtime.admission import FILE, LIVE

    return Admission({LIVE: Limits(2), FILE: Limits(1)}, clock=clock)
