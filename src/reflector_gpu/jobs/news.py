"""What happens to jobs, for those who wait for it in the same process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class News:
    """For one event loop. News may be missed, so those who wait have to look again after a
    while."""

    def __init__(self) -> None:
        self.queued = asyncio.Event()
        """There may be a job to take."""
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def about(self, job_id: str) -> None:
        """Something has happened to a job."""
        for event in self._watchers.get(job_id, ()):
            event.set()

    @contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there is news of a job."""
        event = asyncio.Event()
        self._watchers[job_id].add(event)
        try:
            yield event
        finally:
            self._watchers[job_id].discard(event)
            if not self._watchers[job_id]:
                del self._watchers[job_id]


async def heard(event: asyncio.Event, seconds: float) -> None:
    """Wait for ``event``, and no longer than ``seconds``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()
