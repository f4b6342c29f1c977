"""Whether a turn is complete, as the voice tells in each of its pauses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import numpy as np

from reflector_gpu.audio.vad import WINDOW
from reflector_gpu.types import SAMPLE_RATE, Samples

Finished = Callable[[Samples], Awaitable[bool | None]]
"""Whether somebody who has said so much has finished; None if that cannot be told."""

_ASKED_AFTER = 7
"""The endpointer is asked after so many windows of silence, which are 0.22 s. Then the answer is
there when the shortest silence that ends a turn is over."""

_KEPT = 8 * SAMPLE_RATE // WINDOW  # windows, at most; endpointers listen to no more
_PATIENCE_SECONDS = 5.0


class Endpoint:
    """Asks once in each pause. Whoever makes it closes it."""

    def __init__(self, finished: Finished) -> None:
        self._finished = finished
        self._heard: deque[Samples] = deque(maxlen=_KEPT)
        self._asking: asyncio.Future[bool | None] | None = None

    def hear(self, samples: Samples, silent: int) -> None:
        """Take the next ``samples`` of the turn. Its last ``silent`` windows are silence."""
        self._heard.append(samples)
        if silent == 0:
            self._drop()
        elif silent == _ASKED_AFTER:
            self._asking = asyncio.ensure_future(self._finished(np.concatenate(self._heard)))

    async def reached(self) -> bool | None:
        """Whether the turn was complete when this pause began; None if nobody can tell."""
        if self._asking is None:
            return None
        done, _ = await asyncio.wait({self._asking}, timeout=_PATIENCE_SECONDS)
        if not done:
            self._drop()
            return None
        return self._asking.result()

    def begin_anew(self) -> None:
        """Forget what was said: the turn has ended."""
        self._heard.clear()
        self._drop()

    def _drop(self) -> None:
        if self._asking:
            self._asking.cancel()
            self._asking = None
