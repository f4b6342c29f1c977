"""A wait for files that another thread can end."""

from __future__ import annotations

import select
import socket
from contextlib import suppress


class Bell:
    """One thread waits, others ring. `close` it."""

    def __init__(self) -> None:
        self._heard, self._rung = socket.socketpair()
        self._heard.setblocking(False)
        self._rung.setblocking(False)

    def ring(self) -> None:
        with suppress(BlockingIOError):  # it has been rung very often, and not been heard yet
            self._rung.send(b"\0")

    def wait(self, *files: int, seconds: float) -> bool:
        """Whether one of ``files`` has something to read.

        False if there was a ring, now or since the last wait, or once ``seconds`` have passed.
        """
        waiting = select.poll()
        for file in (self._heard.fileno(), *files):
            waiting.register(file, select.POLLIN)
        ready = {file for file, _ in waiting.poll(seconds * 1000)}
        if self._heard.fileno() in ready:
            self._heard.recv(4096)
        return not ready.isdisjoint(files)

    def close(self) -> None:
        """Safe to call twice."""
        self._heard.close()
        self._rung.close()
