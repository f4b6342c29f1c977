"""Whether the machine bears another session."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from reflector_gpu.errors import Overloaded
from reflector_gpu.live.cadence import Cadence, borne_context
from reflector_gpu.live.load import Load


def taking(seconds: float) -> Cadence:
    cadence = Cadence()
    cadence.took(seconds)
    return cadence


def test_a_machine_on_which_nobody_speaks_bears_a_session() -> None:
    load = Load(longest_step=1.0)
    load.check()
    with load.speaking(Cadence()):  # nothing is known of it yet
        load.check()
    with load.speaking(taking(9.0)):
        pass
    load.check()


@pytest.mark.parametrize(("step", "context"), [(0.4, 6.0), (1.0, 6.0), (1.5, 4.0), (9.0, 3.0)])
def test_a_busy_machine_hears_less_of_the_turn_before(step: float, context: float) -> None:
    assert borne_context(6.0, step) == pytest.approx(context)


def test_passes_of_long_ago_say_nothing() -> None:
    """A session that stays open and silent does not keep others out."""
    now = 100.0
    cadence = Cadence(lambda: now)
    cadence.took(3.0)
    load = Load(longest_step=5.0)
    with load.speaking(cadence):
        now += 14.0
        with pytest.raises(Overloaded):
            load.check()
        now += 2.0
        load.check()
        assert cadence.step < 1.0
        cadence.took(3.0)
        with pytest.raises(Overloaded):
            load.check()


@pytest.mark.parametrize(
    ("passes", "borne"),
    [
        ([1.0], True),
        ([3.0], False),  # with another session, 7.5 seconds
        ([1.5, 1.5, 1.5], True),
        ([3.5, 3.5, 3.5], False),
        ([0.5, 0.5, 60.0], True),  # one that went wrong says nothing of the machine
    ],
)
def test_steps_grow_with_the_sessions(passes: list[float], borne: bool) -> None:
    load = Load(longest_step=5.0)
    with ExitStack() as held:
        for seconds in passes:
            held.enter_context(load.speaking(taking(seconds)))
        if borne:
            load.check()
            return
        with pytest.raises(Overloaded) as refused:
            load.check()
    assert refused.value.retry_after > 0
