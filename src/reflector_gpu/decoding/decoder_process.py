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
import threading
from collections.abc import Callable

import av
import numpy as np

from reflector_gpu import languages
from reflector_gpu.audio.container import is_memory_short
from reflector_gpu.audio.recorder import MOST_BYTES
from reflector_gpu.audio.spool import Spool, SpoolReader
from reflector_gpu.audio.vad import WINDOW, VoiceActivity
from reflector_gpu.decoding import jobs  # noqa: F401  no module can be loaded later
from reflector_gpu.decoding.base import Job
from reflector_gpu.decoding.messages import (
    ALL_THERE,
    JOB_HEAD,
    LOST,
    NO_PROCESS,
    ORDER,
    REACHED,
    Data,
    Failed,
    Message,
    Needs,
    written,
)
from reflector_gpu.decoding.sandbox import Allowance, confine, end_with_parent, size
from reflector_gpu.errors import EngineFailed, ReflectorError, ShuttingDown, UndecodableAudio

logger = logging.getLogger(__name__)


def template(descriptor: int, memory: int) -> None:
    """Fork decoders that may take ``memory`` bytes each, until the other end closes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the server decides
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=descriptor)
    _load_everything()
    while True:
        order, files, _, _ = socket.recv_fds(control, ORDER.size, 1)
        if len(order) < ORDER.size:
            return
        (pid,) = ORDER.unpack(order)
        try:
            answer = os.waitpid(pid, 0)[1] if pid else _forked(control, files[0], memory)
        except ChildProcessError:
            answer = signal.SIGKILL  # of another template, which ended it
        except (OSError, IndexError):  # no further process, or no further descriptor
            answer = NO_PROCESS
        control.sendall(ORDER.pack(answer))


def _load_everything() -> None:
    """Load now what a decoder, which can open no file, may need."""
    VoiceActivity().probabilities(np.zeros(WINDOW, np.float32))
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    languages.alike("de", "deu")  # which reads tables, for the languages of tracks
    av.logging.set_level(None)


def _forked(control: socket.socket, descriptor: int, memory: int) -> int:
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    status = 1
    try:
        end_with_parent()
        control.close()
        confine(size() + memory)
        connection = socket.socket(fileno=descriptor)  # closes with the process, not before
        _Decoder(connection, memory).serve()
        status = 0
    except (EOFError, BrokenPipeError, ConnectionResetError):
        status = 0  # nobody is there any more
    except BaseException:
        logger.exception("a decoder failed")
    finally:
        os._exit(status)


class _Decoder:
    """Does a job."""

    def __init__(self, connection: socket.socket, memory: int) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._memory = memory

    def serve(self) -> None:
        """Do one job. The next recording gets a process that has not seen this one."""
        head, files, _, _ = socket.recv_fds(self._connection, JOB_HEAD.size, 2)
        if len(head) < JOB_HEAD.size:
            return
        length, inline, has_output = JOB_HEAD.unpack(head)
        opened = [io.FileIO(file, "r+b") for file in files]
        job: Job = pickle.loads(self._received(length))  # noqa: S301  from our server
        data = None if len(opened) > has_output else self._received(inline)
        source = _Source(self._tell, self._received, data, opened)
        output = Spool.onto(opened[-1], MOST_BYTES) if has_output else None
        self._do(job, SpoolReader(source), output)

    def _do(self, job: Job, reader: SpoolReader, output: Spool | None) -> None:
        try:
            for message, data in job.run(reader, output, Allowance().passed):
                self._tell(message, data)
        except ReflectorError as error:
            self._fail(error)
        except MemoryError:
            self._fail(self._shortage())
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # whatever a library throws must reach whoever waits
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

    def _tell(self, message: Message, data: Data = b"") -> None:
        with self._sending:
            for piece in written(message, data):
                self._connection.sendall(piece)

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
        tell: Callable[[Message], None],
        received: Callable[[int], bytes],
        data: bytes | None,
        files: list[io.FileIO],
    ) -> None:
        self._tell = tell
        self._received = received
        self._data = data
        self._file = files[0] if data is None else None
        self.size = 0 if data is None else len(data)
        self.complete = data is not None

    def read_at(self, offset: int, count: int) -> bytes:
        """As `Spool.read_at`."""
        while offset >= self.size and not self.complete:
            self._tell(Needs(offset))
            self.size, state = REACHED.unpack(self._received(REACHED.size))
            self.complete = state == ALL_THERE
            if state == LOST:
                raise ShuttingDown("The rest of the recording is lost.")
        if self._file is None:
            assert self._data is not None
            return self._data[offset : offset + count]
        if offset >= self.size:
            return b""
        return os.pread(self._file.fileno(), min(count, self.size - offset), offset)
