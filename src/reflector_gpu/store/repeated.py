"""What a server does again and again for as long as it runs, whatever becomes of it once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from reflector_gpu.errors import Unavailable

logger = logging.getLogger(__name__)


@contextmanager
def surviving(failure: str) -> Iterator[None]:
    """Go on if the block fails, because it is done again later. The log has the ``failure``."""
    try:
        yield
    except Unavailable:
        pass  # it was logged, and the database may come back
    except Exception:  # a bug of ours must not end what has to be done again
        logger.exception(failure)


async def repeat(step: Callable[[], Awaitable[object]], seconds: float, failure: str) -> None:
    """Do ``step`` every so many ``seconds``. The log has the ``failure`` if it has a bug."""
    while True:
        with surviving(failure):
            await step()
        await asyncio.sleep(seconds)
