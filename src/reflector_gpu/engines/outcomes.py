"""A result or an error for each item of a batch, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

from reflector_gpu.errors import ReflectorError

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result | ReflectorError]:
    """Do ``work`` on each of ``items``. An item that fails has its error as its result."""

    def outcome(item: Item) -> Result | ReflectorError:
        try:
            return work(item)
        except ReflectorError as error:
            return error

    return [outcome(item) for item in items]


def together(
    work: Callable[[Sequence[Ready]], Sequence[Result]],
    ready: type[Ready],
    items: Sequence[Ready | Result | ReflectorError],
) -> list[Result | ReflectorError]:
    """Do ``work`` on all ``items`` of the type ``ready`` at once; results take their places.

    The other items are results or errors already, and stay.
    """
    waiting = [item for item in items if isinstance(item, ready)]
    results = iter(work(waiting) if waiting else ())
    return [
        next(results) if isinstance(item, ready) else cast("Result | ReflectorError", item)
        for item in items
    ]
