"""How much memory a process tree takes while something is done to it."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import psutil

_SECONDS = 0.05


def resident(root: psutil.Process) -> int:
    """Bytes of memory of ``root`` and all processes below it.

    Decoders are forked. What such a process has of its parent is there once, and counts once.
    """
    seen = dict[int, tuple[list[str], int]]()
    """What each process runs, and its resident bytes."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            command, own = process.cmdline(), process.memory_info().rss
            parent = process.ppid()
        except psutil.NoSuchProcess:
            continue  # it ended since it was listed
        seen[process.pid] = command, own
        origin, shared = seen.get(parent, ([], 0))
        total += max(0, own - shared) if command == origin else own
    return total


class Watch:
    """Looks as often as a peak of memory needs, which takes a few hundredths of a core."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.memory: list[tuple[float, int]] = []
        """(monotonic time, bytes of the whole tree)."""

    @property
    def peak(self) -> int:
        return max(size for _, size in self.memory)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(_SECONDS):
            self.memory.append((time.monotonic(), resident(self._root)))
