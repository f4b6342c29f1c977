"""What a worker is given to do in one call of its engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The items of one call of an engine, and who waits for their results.

    The call may take ``timeout`` seconds. It may be ended early once ``abandoned()`` is true,
    because nobody waits for any of its results; ``given_up()`` are the indices of the items whose
    results nobody waits for. ``meanwhile`` is called now and then until the call is done.
    ``listeners``, by the index of an item, are called with parts of its result before it is
    complete.
    """

    items: Sequence[object] = ()
    options: object = None
    timeout: float
    abandoned: Callable[[], bool] = lambda: False
    given_up: Callable[[], Collection[int]] = tuple
    meanwhile: Callable[[], None] = nothing
    listeners: Mapping[int, Callable[[object], None]] = field(default_factory=dict)
