"""Admission with a clock of its own, and how it refuses."""

from __future__ import annotations

import pytest

from reflector_gpu.errors import Overloaded
from reflector_gpu.runtime.admission import Admission
from reflector_gpu.types import Priority
from tests.runtime.clock import Clock

LIVE, FILE = Priority.LIVE, Priority.FILE


def refusal(admission: Admission, priority: Priority, client: str = "") -> Overloaded:
    with pytest.raises(Overloaded) as found, admission.permit(priority, client):
        raise AssertionError("it was let in")
    return found.value


def spend(admission: Admission, clock: Clock, priority: Priority, seconds: float) -> None:
    with admission.permit(priority):
        clock.advance(seconds)
