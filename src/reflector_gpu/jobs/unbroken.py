"""Steps that run to their end, even if nobody waits for them any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from reflector_gpu.errors import ReflectorError, StorageFull, Unavailable

T = TypeVar("T")


class Unbroken:
    """Steps that change a file and a row: neither may be there without the other."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, step: Coroutine[Any, Any, T]) -> T:
        """The result of ``step``, which goes on if the caller is cancelled."""
        task = asyncio.create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def wait(self) -> None:
        """Return once all steps that have begun are done."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that waited was told; if none did, nobody needs to know


async def row_or_forget(row: Awaitable[T], forget: Callable[[], Awaitable[None]]) -> T:
    """The result of ``row``, which writes the row of a file that is kept already.

    If the row is refused, ``forget`` removes the file. If the database does not answer, the row may
    still be written, now or later, so the file stays. A sweep removes it if no row ever has it.
    """
    try:
        return await row
    except ReflectorError as error:
        if isinstance(error, StorageFull) or not isinstance(error, Unavailable):
            await forget()
        raise
