"""The side of a worker whose engine prepares a batch while another is in work.

A batch passes three threads: one brings it to where the engine works, one does the work, and one
makes results of what was found and sends them. So a GPU has its next batch before it has done the
last, and does not wait for what the CPU makes of that.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import NoReturn, Protocol, TypeAlias

logger = logging.getLogger(__name__)

Results: TypeAlias = Iterable[object]
"""A result or an error for each item, in order. Making them may take until they are read."""

Work: TypeAlias = Callable[[], Results]
"""The work on a batch that has been prepared."""


class Preparing(Protocol):
    """An engine that can do its work in these three parts."""

    def prepare(self, items: Sequence[object], options: object) -> Work:
        """Prepare ``items`` for the work that is returned.

        Work is done in the order in which it was prepared, each in one thread, which need not be
        the thread that prepares, nor the one that reads the results.
        """


def run_ahead(receive: Callable[[], Work | None], send: Callable[[Work], None]) -> None:
    """Do the work that ``receive`` prepares, and have ``send`` read its results, until there is
    None. Both are called in threads of their own, one call at a time.
    """
    prepared: SimpleQueue[Work | None] = SimpleQueue()
    done: SimpleQueue[Work | None] = SimpleQueue()

    def prepare() -> None:
        while (work := receive()) is not None:
            prepared.put(work)
            del work  # the next may take a while, and its items belong to clients
        prepared.put(None)

    def answer() -> None:
        while (results := done.get()) is not None:
            send(results)
            del results

    threads = [
        threading.Thread(target=_vital, args=(one,), daemon=True) for one in (prepare, answer)
    ]
    for thread in threads:
        thread.start()
    while (work := prepared.get()) is not None:
        done.put(_results(work))
        del work
    done.put(None)
    for thread in threads:
        thread.join()


def failing(error: Exception) -> Work:
    """Work that fails."""
    return partial(_fail, error)


def _results(work: Work) -> Work:
    """What gives the results of ``work``, or fails as it did."""
    try:
        results = work()
    except Exception as error:  # noqa: BLE001  whoever reads the results tells it
        return failing(error)
    return lambda: results


def _fail(error: Exception) -> NoReturn:
    raise error


def _vital(work: Callable[[], None]) -> None:
    """Do ``work``, without which this process is of no use."""
    try:
        work()
    except BaseException:  # even an engine that wants to leave
        logger.exception("the worker ends")
        os._exit(1)
