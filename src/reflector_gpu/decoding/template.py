"""The process that forks decoders, seen from the server."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

from reflector_gpu.decoding.messages import ANSWER, END, FORK, NO_PROCESS, ORDER, STATUS
from reflector_gpu.decoding.process import DecoderProcess, received
from reflector_gpu.errors import EngineFailed, ShuttingDown

logger = logging.getLogger(__name__)

_ENVIRONMENT = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
"""Variables that a decoder is given. It must not know the others: keys are among them."""


_MALLOC = {
    "MALLOC_ARENA_MAX": "1",  # each takes much of the address space
    # Memory that the kernel gets back has to be cleared when it is needed for the next block.
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
}


class TemplateDied(EngineFailed):
    """The template ended while it was asked for something. The next order starts another."""


class Template:
    """The process that forks decoders."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._taking_turns = asyncio.Lock()
        self.closed = False
        self._ending: set[asyncio.Task[int]] = set()

    def start(self) -> socket.socket:
        """Start it unless it runs. The result is the socket that orders go through.

        Raises:
            ShuttingDown: it has been closed.
        """
        if self.closed:
            raise ShuttingDown("The service is shutting down.")
        if self._control is None:
            self._control, theirs = socket.socketpair()
            self._control.setblocking(False)
            with theirs:
                self._process = _started(theirs.fileno(), self._memory)
        return self._control

    async def fork(self) -> DecoderProcess:
        """A new decoder.

        Raises:
            TemplateDied: the template was killed; another can be started.
            EngineFailed: there can be none.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = await self._asked(FORK, files=(theirs.fileno(),))
            except BaseException:
                ours.close()
                raise
        if pid == NO_PROCESS:
            ours.close()
            raise EngineFailed("There is no room for another decoder; try again later.")
        ours.setblocking(False)
        return DecoderProcess(pid, ours)

    async def status(self, pid: int) -> int:
        """End the decoder ``pid``, and tell how it has ended.

        If it had died before, the status is that of its own death.
        """
        try:
            return os.waitstatus_to_exitcode(await asyncio.shield(self._asked(STATUS, pid)))
        except EngineFailed:
            return -signal.SIGKILL  # the template is gone, and its decoders with it

    def end(self, pid: int) -> None:
        """End the decoder ``pid`` without waiting for that."""
        ending = asyncio.create_task(self._asked(END, pid))
        self._ending.add(ending)
        ending.add_done_callback(self._ended)

    def _ended(self, ending: asyncio.Task[int]) -> None:
        self._ending.discard(ending)
        with suppress(EngineFailed, asyncio.CancelledError):  # it is gone with its template
            ending.result()

    async def close(self) -> None:
        self.closed = True
        await asyncio.gather(*self._ending, return_exceptions=True)
        async with self._taking_turns:
            if self._process is None or self._control is None:
                return
            self._control.close()
            # It has nothing to finish, and may still be loading, which takes a second. Its decoders
            # end with it.
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = self._control = None

    async def _asked(self, kind: int, pid: int = 0, files: tuple[int, ...] = ()) -> int:
        async with self._taking_turns:
            control = self.start() if kind == FORK else self._control
            if control is None:
                raise EngineFailed("The decoders have ended.")
            try:
                socket.send_fds(control, [ORDER.pack(kind, pid)], files)
                (answer,) = ANSWER.unpack(await received(control, ANSWER.size))
            except (OSError, EOFError) as error:
                assert self._process
                control.close()
                self._process.kill()
                code = self._process.wait()
                self._control = self._process = None
                logger.error("the template of the decoders ended with status %d", code)
                raise TemplateDied("The decoders are starting anew; send it again.") from error
        return int(answer)


def _started(descriptor: int, memory: int) -> subprocess.Popen[bytes]:
    """A template whose end of the control socket is ``descriptor``."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # Threads would not survive a fork.
    kept |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} | _MALLOC
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; sys.dont_write_bytecode = True;"
        " from reflector_gpu.decoding.decoder_process import template;"
        f" template({descriptor}, {memory})"
    )
    # It inherits the mask: what is sent to it before it ignores these would end it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        return subprocess.Popen(  # noqa: S603  nothing in it is a client's
            [sys.executable, "-c", code],
            pass_fds=[descriptor],
            env=kept,
            cwd="/",
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is for the server alone
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
