"""One decoder, seen from the server: it is given a task, and what it sends is checked."""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
from collections.abc import AsyncGenerator
from functools import lru_cache

from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import DecodeTask
from reflector_gpu.decoding.messages import (
    ALL_THERE,
    HEAD,
    LONGEST_DATA,
    LONGEST_MESSAGE,
    LOST,
    MORE_COME,
    REACHED,
    TASK_HEAD,
    Ended,
    Failed,
    Needs,
    Told,
)
from reflector_gpu.decoding.validation import MessageCheck, read
from reflector_gpu.errors import EngineFailed, ReflectorError

logger = logging.getLogger(__name__)

_PIECE = 65_536  # bytes to receive at once
_pickled = lru_cache(100)(pickle.dumps)  # most recordings have the same task
_AT_ONCE = 64  # messages of one decoder, after which the other tasks have their turn


class Died(Exception):
    """The process ended in the middle of a task, or sent something that makes no sense."""


class DecoderProcess:
    """One decoder. It does one task at a time."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.source_error: ReflectorError | None = None
        """Why bytes of the recording are missing."""
        self._socket = connection
        self._inbox = _Inbox(connection)

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    def close(self) -> None:
        self._socket.close()

    async def run(
        self, task: DecodeTask, spool: Spool, output: Spool | None
    ) -> AsyncGenerator[Told]:
        """What the task tells, up to `Ended` or `Failed`. Raises `Died`."""
        loop = asyncio.get_running_loop()
        answering: asyncio.Task[None] | None = None
        body, inline, complete = _pickled(task), spool.in_memory, spool.complete
        files = [] if inline is not None else [spool.fileno()]
        files += [output.fileno()] if output else []
        head = TASK_HEAD.pack(
            len(body), spool.size, complete, inline is not None, output is not None
        )
        check, most_data = MessageCheck(with_samples=output is None), task.most_data
        try:
            whole = head + body + (inline or b"")
            sent = socket.send_fds(self._socket, [whole], files)
            if sent < len(whole):
                await loop.sock_sendall(self._socket, whole[sent:])
            while True:
                message, data = await self._inbox.message(most_data)
                check(message, data)
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
            raise Died from error
        finally:
            if answering:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)

    async def _answer(self, offset: int, spool: Spool) -> None:
        """Tell the decoder when there is a byte at ``offset``, or that there will be none."""
        state, seconds = LOST, 0.0
        try:
            seconds = await spool.reached(offset)
            # Looked at before the size, which may grow until then.
            state = ALL_THERE if spool.complete else MORE_COME
        except ReflectorError as error:
            self.source_error = error
        except Exception:  # a fault of ours, for which the decoder would wait for ever
            logger.exception("the rest of a recording is lost")
            self.source_error = EngineFailed("The server lost the rest of the recording.")
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, REACHED.pack(spool.size, state, seconds))


class _Inbox:
    """Receives from a decoder, which may be hostile: lengths are checked, and others get a turn."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._arrived = bytearray()
        self._messages = 0

    async def message(self, most_data: float) -> Told:
        """The next message, with at most so many bytes beside it.

        Raises:
            EOFError: there is none.
            ValueError: it is not one of ours.
        """
        self._messages += 1
        if self._messages % _AT_ONCE == 0:
            await asyncio.sleep(0)  # for the others
        await self._come(HEAD.size)
        length, size = HEAD.unpack_from(self._arrived)
        if length > LONGEST_MESSAGE or size > min(most_data, LONGEST_DATA):
            raise ValueError(f"a message of {length} and {size} bytes")
        begin = HEAD.size + length
        await self._come(begin)
        message = read(self._arrived[HEAD.size : begin])
        data = self._arrived[begin : begin + size]
        del self._arrived[: begin + size]
        if len(data) < size:
            data = await received(self._socket, size, data)
        return message, data

    async def _come(self, count: int) -> None:
        """Wait for the next ``count`` bytes."""
        while len(self._arrived) < count:
            piece = await self._loop.sock_recv(self._socket, _PIECE)
            if not piece:
                raise EOFError
            self._arrived += piece


async def received(
    connection: socket.socket, count: int, begin: bytes | bytearray = b""
) -> bytearray:
    """``count`` bytes, of which ``begin`` has already come."""
    loop = asyncio.get_running_loop()
    data = bytearray(count)
    data[: len(begin)] = begin
    view = memoryview(data)[len(begin) :]
    while view:
        got = await loop.sock_recv_into(connection, view)
        if not got:
            raise EOFError
        view = view[got:]
    return data
