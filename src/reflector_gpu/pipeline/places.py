"""Places for work that needs several of them at once."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from reflector_gpu.types import Priority


class Places:
    """A number of places. Work gets all the places that it needs at once, or waits and holds none.
    So none waits for a place that only another waiter could free.

    Live requests come before waiting files; otherwise first come, first served. For one event loop.
    """

    def __init__(self, count: int, for_files: int) -> None:
        """Files may hold ``for_files`` of the places, so that some are left for live requests."""
        self._free = count
        self._free_for_files = for_files
        self._waiting: list[_Waiter] = []

    @asynccontextmanager
    async def taken(self, count: int, priority: Priority) -> AsyncIterator[TakenPlaces]:
        """Hold ``count`` places: no more than there are for work of this ``priority``."""
        waiter = _Waiter(count, priority, asyncio.get_running_loop().create_future())
        insort(self._waiting, waiter, key=lambda one: one.priority)
        self._let_in()
        held = TakenPlaces(count, lambda: self._free_one(priority))
        try:
            await waiter.turn
            yield held
        finally:
            if waiter.turn.done() and not waiter.turn.cancelled():
                held.give_all_back()
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
                self._let_in()

    def _free_one(self, priority: Priority) -> None:
        self._take(-1, priority)
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0].count <= self._room(self._waiting[0].priority):
            first = self._waiting.pop(0)
            if not first.turn.cancelled():
                self._take(first.count, first.priority)
                first.turn.set_result(None)

    def _take(self, count: int, priority: Priority) -> None:
        self._free -= count
        if priority is Priority.FILE:
            self._free_for_files -= count

    def _room(self, priority: Priority) -> int:
        """The places that work of this ``priority`` may take now."""
        files = priority is Priority.FILE
        return min(self._free, self._free_for_files) if files else self._free


class TakenPlaces:
    """Places that are held."""

    def __init__(self, count: int, free_one: Callable[[], None]) -> None:
        self._count = count
        self._free_one = free_one

    def give_one_back(self) -> None:
        """One piece of the work has ended."""
        if self._count:
            self._count -= 1
            self._free_one()

    def give_all_back(self) -> None:
        while self._count:
            self.give_one_back()


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    count: int
    priority: Priority
    turn: asyncio.Future[None]
