"""Decoders in processes of their own, which a hostile recording may end and nobody else notices."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import Job
from reflector_gpu.decoding.messages import (
    ALL_THERE,
    FORK,
    HEAD,
    JOB_HEAD,
    LONGEST_DATA,
    LONGEST_MESSAGE,
    LOST,
    MORE_COME,
    NO_PROCESS,
    ORDER,
    REACHED,
    Cut,
    Ended,
    Failed,
    Needs,
    Told,
    read,
)
from reflector_gpu.errors import EngineFailed, ReflectorError, ShuttingDown, UndecodableAudio

logger = logging.getLogger(__name__)

_ENVIRONMENT = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
"""Variables that a decoder is given. It must not know the others: keys are among them."""

_TRIES = 3


class ProcessDecoders:
    """Implements `Decoders`. Used by one event loop."""

    def __init__(self, memory: int) -> None:
        """Each decoder may take ``memory`` bytes beyond what it has when it starts."""
        self._template = _Template(memory)
        self._following: asyncio.Task[_Process] | None = None
        """Forked ahead for the next recording."""
        self._ending: set[asyncio.Task[int]] = set()
        self._closed = False

    def start(self) -> None:
        self._template.start()

    async def run(
        self, job: Job, spool: Spool, output: Spool | None = None
    ) -> AsyncGenerator[Told]:
        for tries_left in reversed(range(_TRIES)):
            process = await self._process()
            told = False
            try:
                async with aclosing(process.run(job, spool, output)) as messages:
                    async for message, data in messages:
                        if isinstance(message, Failed):
                            raise process.source_error or message.exception()
                        if isinstance(message, Ended) and process.source_error:
                            raise process.source_error
                        told = True
                        if output:
                            output.measure()
                        yield message, data
                return
            except _Died as death:
                status = await self._end(process)
                logger.warning("a decoder %s", _obituary(status))
                if -status != signal.SIGKILL or isinstance(death.__cause__, ValueError):
                    raise UndecodableAudio(
                        f"The recording cannot be decoded: its decoder {_obituary(status)}.",
                        param="file",
                    ) from None
                if told or output or not tries_left:
                    raise EngineFailed(
                        "The decoder of the recording was killed; send it again."
                    ) from None
            finally:
                self._let_end(process)

    async def close(self) -> None:
        self._closed = True
        if self._following:
            await asyncio.gather(self._following, return_exceptions=True)
            self._let_go(self._following)
        await asyncio.gather(*self._ending)
        await self._template.close()

    async def _process(self) -> _Process:
        """A decoder that has seen nothing yet.

        Raises:
            ShuttingDown, EngineFailed
        """
        if self._closed:
            raise ShuttingDown("The service is shutting down.")
        ready = self._following
        if ready is None or (ready.done() and ready.exception()):  # what failed then may work now
            ready = asyncio.create_task(self._template.fork())
        self._following = asyncio.create_task(self._template.fork())
        try:
            return await asyncio.shield(ready)
        except asyncio.CancelledError:
            ready.add_done_callback(self._let_go)
            raise

    def _let_go(self, forked: asyncio.Task[_Process]) -> None:
        """End a decoder that nobody will use."""
        if not forked.cancelled() and not forked.exception():
            self._let_end(forked.result())

    def _let_end(self, process: _Process) -> None:
        """End ``process``, in whatever state it is, without waiting for that."""
        if process.closed:
            return
        process.close()
        ending = asyncio.create_task(self._end(process))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _end(self, process: _Process) -> int:
        """End ``process``, and tell how it ended, as `os.waitstatus_to_exitcode` puts it.

        If it had died before, the status is that of its own death.
        """
        process.close()
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # it may have closed its socket and gone on
        return await self._template.status(process.pid)


class _Died(Exception):
    """The process ended in the middle of a job, or said something that nobody understands."""


class _Process:
    """One decoder. It does one job."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.source_error: ReflectorError | None = None
        """Why bytes of the recording are missing."""
        self._socket = connection

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    def close(self) -> None:
        self._socket.close()

    async def run(self, job: Job, spool: Spool, output: Spool | None) -> AsyncGenerator[Told]:
        """What the job tells, up to `Ended` or `Failed`. Raises `_Died`."""
        loop = asyncio.get_running_loop()
        body, inline = pickle.dumps(job), spool.in_memory
        files = [] if inline is not None else [spool.fileno()]
        files += [output.fileno()] if output else []
        answering: asyncio.Task[None] | None = None
        head = JOB_HEAD.pack(len(body), len(inline or b""), output is not None)
        try:
            socket.send_fds(self._socket, [head], files)
            await loop.sock_sendall(self._socket, body + (inline or b""))
            while True:
                message, data = await self._message()
                if isinstance(message, Needs):
                    if answering and not answering.done():
                        raise ValueError("a second question before the first is answered")
                    # Beside this: what has been decoded so far still comes.
                    answering = asyncio.create_task(self._answer(message.offset, spool))
                    continue
                yield message, data
                if isinstance(message, Ended | Failed):
                    return
        except (EOFError, ValueError, BrokenPipeError, ConnectionResetError) as error:
            raise _Died from error
        finally:
            if answering:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)

    async def _answer(self, offset: int, spool: Spool) -> None:
        """Tell the decoder when there is a byte at ``offset``, or that there will be none."""
        try:
            await spool.reached(offset)
            # Looked at before the size, which may grow until then.
            state = ALL_THERE if spool.complete else MORE_COME
        except ReflectorError as error:
            self.source_error = error
            state = LOST
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, REACHED.pack(spool.size, state))

    async def _message(self) -> Told:
        length, size = HEAD.unpack(await _received(self._socket, HEAD.size))
        if length > LONGEST_MESSAGE or size > LONGEST_DATA:
            raise ValueError(f"a message of {length} and {size} bytes")
        message = read(await _received(self._socket, length))
        if isinstance(message, Cut) and size not in (0, 4 * message.length):
            raise ValueError(f"{size} bytes for {message.length} samples of four")
        return message, await _received(self._socket, size)


class _Template:
    """The process that forks decoders."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._taking_turns = asyncio.Lock()

    def start(self) -> socket.socket:
        """Start it unless it runs; what it is told goes through this."""
        if self._control is None:
            self._control, theirs = socket.socketpair()
            self._control.setblocking(False)
            with theirs:
                self._process = _started(theirs.fileno(), self._memory)
        return self._control

    async def fork(self) -> _Process:
        """A new decoder.

        Raises:
            EngineFailed: there can be none.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = await self._asked(FORK, theirs.fileno())
            except BaseException:
                ours.close()
                raise
        if pid == NO_PROCESS:
            ours.close()
            raise EngineFailed("There is no room for another decoder; try again later.")
        ours.setblocking(False)
        return _Process(pid, ours)

    async def status(self, pid: int) -> int:
        """How the decoder ``pid``, which must be about to end, has ended."""
        try:
            return os.waitstatus_to_exitcode(await asyncio.shield(self._asked(pid)))
        except EngineFailed:
            return -signal.SIGKILL  # the template is gone, and its decoders with it

    async def close(self) -> None:
        async with self._taking_turns:
            if self._process is None or self._control is None:
                return
            self._control.close()
            try:
                await asyncio.to_thread(self._process.wait, 5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = self._control = None

    async def _asked(self, order: int, *files: int) -> int:
        async with self._taking_turns:
            control = self.start()
            try:
                socket.send_fds(control, [ORDER.pack(order)], files)
                (answer,) = ORDER.unpack(await _received(control, ORDER.size))
            except (OSError, EOFError) as error:
                assert self._process
                control.close()
                self._process.kill()
                code = self._process.wait()
                self._control = self._process = None
                logger.error("the template of the decoders ended with status %d", code)
                raise EngineFailed("The decoders are starting anew; send it again.") from error
        return int(answer)


def _started(descriptor: int, memory: int) -> subprocess.Popen[bytes]:
    """A template whose end of the control socket is ``descriptor``."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # Threads would not survive a fork; and each arena takes much of the address space.
    kept |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
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
            start_new_session=True,  # Ctrl-C in the terminal is the server's matter
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _received(connection: socket.socket, count: int) -> bytearray:
    loop = asyncio.get_running_loop()
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = await loop.sock_recv_into(connection, view)
        if not got:
            raise EOFError
        view = view[got:]
    return data


def _obituary(status: int) -> str:
    if status == -signal.SIGXCPU:
        return "took longer than such a recording may"
    if status < 0:
        return f"crashed ({signal.strsignal(-status)})"
    return f"ended with status {status}"
