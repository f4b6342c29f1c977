"""The processes that decode: a template, which has loaded everything, and what it forks.

A fork of it is ready within milliseconds and shares its memory. The template itself never sees a
byte of a recording.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import pickle
import pkgutil
import signal
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import NoReturn

import av
import numpy as np

from reflector_gpu import languages
from reflector_gpu.audio.container import is_memory_short
from reflector_gpu.audio.recorder import MOST_BYTES
from reflector_gpu.audio.spool import Spool, SpoolReader
from reflector_gpu.audio.vad import WINDOW, VoiceActivity
from reflector_gpu.decoding.base import DecodeTask
from reflector_gpu.decoding.messages import (
    ALL_THERE,
    ANSWER,
    END,
    FORK,
    LOST,
    NO_PROCESS,
    ORDER,
    REACHED,
    TASK_HEAD,
    Data,
    DecoderMessage,
    Failed,
    Needs,
    written,
)
from reflector_gpu.decoding.sandbox import CpuAllowance, confine, end_first, end_with_parent, size
from reflector_gpu.decoding.tasks import Chunking
from reflector_gpu.errors import EngineFailed, ReflectorError, ShuttingDown, UndecodableAudio

logger = logging.getLogger(__name__)

_SILENCE = b"".join(
    (
        struct.pack("<4sI4s", b"RIFF", 36 + 1600, b"WAVE"),
        struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16_000, 2, 16),
        struct.pack("<4sI1600x", b"data", 1600),
    )
)
"""A WAV file of a tenth of a second that has to be resampled."""


def template(descriptor: int, memory: int) -> None:
    """Fork decoders that may take ``memory`` bytes each, until the other end closes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the server decides
        signal.signal(number, signal.SIG_IGN)
    end_first()
    control = socket.socket(fileno=descriptor)
    _load_everything()
    children = _Children(control, memory)
    if not children.are_confined():
        logger.warning(
            "This platform cannot confine the processes that decode recordings; a recording that"
            " makes use of a fault in FFmpeg could do what this server may do."
        )
    with suppress(BrokenPipeError, ConnectionResetError):  # a killed server reads no answers
        _obey(control, children)


def _obey(control: socket.socket, children: _Children) -> None:
    """Do what the other end orders, until it closes."""
    while True:
        order, files, _, _ = socket.recv_fds(control, ORDER.size, 1)
        if len(order) < ORDER.size:
            return
        kind, pid = ORDER.unpack(order)
        if kind == FORK:
            answer = children.fork(files)
        else:
            answer = children.end(pid) if kind == END else children.status(pid)
        control.sendall(ANSWER.pack(answer))


def _warm_up() -> None:
    """Decode a little, so that the memory that this takes is in place for the first recording.

    After a fork each page is copied when it is first written to, which takes longer than to decode
    a short clip.
    """
    with Spool(len(_SILENCE)) as spool:
        spool.write(_SILENCE)
        spool.finish()
        deque(Chunking(1.0, 1.0).run(spool.reader(), None, lambda _: None), maxlen=0)


class _Children:
    """The decoders that the template has forked. It knows those of no template before it."""

    def __init__(self, control: socket.socket, memory: int) -> None:
        """Each may take ``memory`` bytes beyond what the template has."""
        self._control = control
        self._memory = memory
        self._most = size() + memory
        self._alive: set[int] = set()
        self._ending: set[int] = set()
        signal.signal(signal.SIGCHLD, self._reap)

    def are_confined(self) -> bool:
        """Whether the platform can limit what they do."""
        pid = os.fork()
        if not pid:
            os._exit(not confine(self._most))
        return os.waitpid(pid, 0)[1] == 0

    def fork(self, files: list[int]) -> int:
        """The number of a new decoder, or `NO_PROCESS`. ``files`` has its end of a socket."""
        try:
            (descriptor,) = files
            pid = os.fork()
        except (OSError, ValueError):  # no further process, or no further descriptor
            return NO_PROCESS
        if not pid:
            self._decode(descriptor)
        os.close(descriptor)
        self._alive.add(pid)
        return pid

    def _decode(self, descriptor: int) -> NoReturn:
        """Be a decoder from here on."""
        status = 1
        try:
            end_with_parent()
            self._control.close()
            confine(self._most)
            connection = socket.socket(fileno=descriptor)  # closes with the process, not before
            _warm_up()
            _Decoder(connection, self._memory).serve()
            status = 0
        except (EOFError, BrokenPipeError, ConnectionResetError):
            status = 0  # nobody is there any more
        except BaseException:
            logger.exception("a decoder failed")
        finally:
            os._exit(status)

    def end(self, pid: int) -> int:
        """End a decoder without waiting for that. Returns its number."""
        if pid in self._alive:
            self._alive.discard(pid)
            os.kill(pid, signal.SIGKILL)
            self._ending.add(pid)  # not before: once a signal has it reaped, it cannot be killed
            self._reap()  # it may have ended before
        return pid

    def status(self, pid: int) -> int:
        """End a decoder unless it has died by itself. Returns what wait(2) tells of it."""
        if pid not in self._alive:
            return signal.SIGKILL  # it went with the template before this one
        self._alive.discard(pid)
        os.kill(pid, signal.SIGKILL)  # it may have closed its socket and gone on
        return os.waitpid(pid, 0)[1]

    def _reap(self, *_: object) -> None:
        for pid in tuple(self._ending):
            with suppress(ChildProcessError):  # a signal came in between, and so it is reaped
                if os.waitpid(pid, os.WNOHANG)[0]:
                    self._ending.discard(pid)


def _load_everything() -> None:
    """Load now what a decoder, which can open no file, may need."""
    VoiceActivity().probabilities(np.zeros(WINDOW, np.float32))
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    languages.alike("de", "deu")  # which reads tables, for the languages of tracks
    av.logging.set_level(None)


class _Decoder:
    """Does one task after the other. The server ends it where it has seen a hostile recording."""

    def __init__(self, connection: socket.socket, memory: int) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._held: list[Data] = []
        """What is sent together: each message by itself would wake the server for it."""
        self._memory = memory

    def serve(self) -> None:
        """Do tasks until the other end closes."""
        while True:
            head, files, _, _ = socket.recv_fds(self._connection, TASK_HEAD.size, 2)
            if len(head) < TASK_HEAD.size:
                return
            with ExitStack() as closing:
                opened = [closing.enter_context(io.FileIO(file, "r+b")) for file in files]
                length, arrived, complete, inline, has_output = TASK_HEAD.unpack(head)
                task: DecodeTask = pickle.loads(self._received(length))  # noqa: S301  from our server
                data = self._received(arrived) if inline else opened[0]
                source = _Source(self._tell, self._received, data, arrived, complete)
                output = Spool.onto(opened[-1], MOST_BYTES) if has_output else None
                self._do(task, SpoolReader(source), output)

    def _do(self, task: DecodeTask, reader: SpoolReader, output: Spool | None) -> None:
        allowance = CpuAllowance()

        def passed(seconds: float) -> None:
            allowance.passed(seconds)
            self._send()  # what was found in the block before

        try:
            for message, data in task.run(reader, output, passed):
                self._hold(message, data)
            self._send()
        except ReflectorError as error:
            self._fail(error)
        except MemoryError:
            self._fail(self._shortage())
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # whatever a library raises has to reach the server
            if is_memory_short():  # each library has an error of its own for it
                self._fail(self._shortage())
                return
            logger.exception("a recording was not decoded")
            self._fail(EngineFailed(f"The decoder failed: {type(error).__name__}."))

    def _shortage(self) -> ReflectorError:
        return UndecodableAudio(
            "The recording cannot be decoded: it takes more than the"
            f" {self._memory // 1_000_000} MB of memory that one may take here.",
            param="file",
        )

    def _fail(self, error: ReflectorError) -> None:
        self._tell(Failed.by(error))

    def _tell(self, message: DecoderMessage) -> None:
        """Send ``message`` at once."""
        self._hold(message)
        self._send()

    def _hold(self, message: DecoderMessage, data: Data = b"") -> None:
        with self._sending:
            self._held += written(message, data)

    def _send(self) -> None:
        with self._sending:
            if not self._held:
                return
            held, self._held = self._held, []
            sent = self._connection.sendmsg(held)
            if sent < sum(map(len, held)):  # a signal came in between
                self._connection.sendall(b"".join(held)[sent:])

    def _received(self, count: int) -> bytes:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            got = self._connection.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return bytes(data)


class _Source:
    """The recording, seen from here: bytes that came along, or a file that may still grow."""

    def __init__(
        self,
        ask: Callable[[DecoderMessage], None],
        received: Callable[[int], bytes],
        data: bytes | io.FileIO,
        arrived: int,
        complete: bool,
    ) -> None:
        self._ask = ask
        self._received = received
        self._data = data
        self.size = arrived
        self.complete = complete
        self.waited = 0.0

    def read_at(self, offset: int, count: int) -> bytes:
        """As `Spool.read_at`."""
        while offset >= self.size and not self.complete:
            self._ask(Needs(offset))
            self.size, state, seconds = REACHED.unpack(self._received(REACHED.size))
            self.waited += seconds
            self.complete = state == ALL_THERE
            if state == LOST:
                raise ShuttingDown("The rest of the recording is lost.")
        if isinstance(self._data, bytes):
            return self._data[offset : offset + count]
        if offset >= self.size:
            return b""
        return os.pread(self._data.fileno(), min(count, self.size - offset), offset)
