"""The side of a worker that is a process of its own, and what crosses between the two."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.heap import Arena
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler, recv_handle
from typing import Protocol, TypeAlias, TypeGuard, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from reflector_gpu import logs
from reflector_gpu.errors import EngineFailed, ReflectorError
from reflector_gpu.runtime.preparing import Preparing, Work, failing, run_ahead
from reflector_gpu.runtime.recipe import Recipe

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h

_LISTEN_SECONDS = 0.02  # how often an engine that streams looks which items were given up

Array: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SharedArray:
    """An array's place in shared memory, which crosses the pipe in its stead."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Said:
    """A part of the result of an item, sent ahead of the whole."""

    index: int
    part: object


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Nobody waits for this item of the batch any more."""

    index: int


@dataclass(frozen=True, slots=True)
class InLane:
    """One item to work on beside those in other lanes."""

    lane: int
    item: object
    options: object


@dataclass(frozen=True, slots=True)
class Answered:
    """The pickled reply to what was in a lane: a sequence of one result, or an error."""

    lane: int
    reply: bytes


@runtime_checkable
class Filed(Protocol):
    """An item that reads from an open file, which crosses to the worker beside it."""

    def fileno(self) -> int:
        """The file's descriptor here."""

    def reopened(self, descriptor: int) -> object:
        """The same item where the file has this ``descriptor``."""


def filed(packed: Sequence[object]) -> list[Filed]:
    """Those of the items that are `Filed`.

    Whether an object fulfils a Protocol is found out slowly, so arrays are not asked.
    """
    return [one for one in packed if not isinstance(one, SharedArray) and isinstance(one, Filed)]


STOPPING = (signal.SIGINT, signal.SIGTERM)
"""What Ctrl-C and service managers send to a whole process group."""

PackedBatch: TypeAlias = tuple[list[object], object, frozenset[int]]
"""Items, their options, and the indices of those that have listeners."""


def serve(pipe: Connection, memory: Arena, recipe: Recipe, log: logs.LogOptions | None) -> None:
    """The worker process: load, then answer batches until told to stop."""
    if log:
        logs.configure(log)
    for number in STOPPING:  # they reach the whole process group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    array = view(memory)
    array.setflags(write=False)
    try:
        engine = recipe.build()
        engine.load()
    except ReflectorError as error:
        pipe.send(error)
        return
    except Exception as error:  # a model library may raise anything, and the service has to know
        logger.exception("%s did not load", recipe.engine)
        pipe.send(EngineFailed(f"The engine did not load: {type(error).__name__}: {error}"))
        return
    pipe.send(None)
    if recipe.prepares:
        _serve_ahead(pipe, array, cast("Preparing", engine))
    else:
        _serve(pipe, array, getattr(engine, recipe.method), recipe)
    engine.close()


def _serve(
    pipe: Connection, array: Array, method: Callable[..., Sequence[object]], recipe: Recipe
) -> None:
    sending = threading.Lock()
    with ThreadPoolExecutor(recipe.lanes, thread_name_prefix="lane") as lanes:
        while (message := _received(pipe)) is not None:
            if isinstance(message, InLane):
                lanes.submit(_work_in_lane, pipe, sending, array, method, message)
            else:
                _work(pipe, array, method, message, streams=recipe.streams)
            del message  # the next may take a while, and these items belong to clients


def _serve_ahead(pipe: Connection, array: Array, engine: Preparing) -> None:
    def receive() -> Work | None:
        batch = _received(pipe)
        if batch is None:
            return None
        assert not isinstance(batch, InLane), "lanes are for engines that do not prepare"
        packed, options, _ = batch
        try:
            return engine.prepare(_unpacked(packed, array, ()), options)
        except Exception as error:  # noqa: BLE001  `_answer` tells it
            return failing(error)

    def send(work: Work) -> None:
        pipe.send_bytes(_answer(work))

    run_ahead(receive, send)


def _received(pipe: Connection) -> PackedBatch | InLane | None:
    """The next work; None if there will be no more."""
    while True:
        try:
            message: PackedBatch | InLane | GivenUp | None = pipe.recv()
        except EOFError:
            return None
        if not isinstance(message, GivenUp):  # of a batch that was done before this came
            return message


def _work_in_lane(
    pipe: Connection,
    sending: threading.Lock,
    array: Array,
    method: Callable[..., Sequence[object]],
    message: InLane,
) -> None:
    """Answer one item. Other threads do the same for theirs."""
    items = _unpacked([message.item], array, ())
    reply = _answer(partial(method, items, message.options))
    with sending, suppress(OSError):  # nobody is there: this process is about to end
        pipe.send(Answered(message.lane, bytes(reply)))


def _work(
    pipe: Connection,
    array: Array,
    method: Callable[..., Sequence[object]],
    batch: PackedBatch,
    *,
    streams: bool,
) -> None:
    """Answer one batch."""
    packed, options, heard = batch
    files = [recv_handle(pipe) for _ in filed(packed)]
    try:
        items = _unpacked(packed, array, files)
        progress = [PipeProgress(pipe, heard)] if streams else []
        pipe.send_bytes(_answer(partial(method, items, options, *progress)))
    finally:
        for file in files:
            os.close(file)


class PipeProgress:
    """What an engine that streams says in the middle of a batch, one thread at a time."""

    def __init__(self, pipe: Connection, heard: Collection[int]) -> None:
        self._pipe = pipe
        self._heard = heard
        self._given_up: set[int] = set()
        self._looks = time.monotonic()

    def say(self, index: int, part: object) -> bool:
        """Hand on a part of the result of an item; True if nobody waits for that any more."""
        with suppress(OSError, EOFError):  # nobody is there: this process is about to end
            if index in self._heard and part != "":
                self._pipe.send(Said(index, part))
            self._listen()
        return index in self._given_up

    def _listen(self) -> None:
        now = time.monotonic()
        if now < self._looks:
            return
        self._looks = now + _LISTEN_SECONDS
        while self._pipe.poll():
            message = self._pipe.recv()
            if isinstance(message, GivenUp):
                self._given_up.add(message.index)


def is_waveform(item: object) -> TypeGuard[Array]:
    return isinstance(item, np.ndarray) and item.ndim == 1 and item.dtype == np.float32


def shared_memory(length: int) -> Arena:
    """Room for ``float32[length]``, which can be sent to a process that is being started.

    Multiprocessing's own way is a file in /dev/shm, which containers keep so small that a few
    workers fill it; writing beyond that ends the service, by a SIGBUS.
    """
    size = length * np.dtype(np.float32).itemsize
    if sys.platform != "linux":
        return Arena(size)
    file = os.memfd_create("reflector-gpu")
    os.ftruncate(file, size)
    memory = Arena(size, file)
    weakref.finalize(memory, os.close, file)
    return memory


def view(memory: Arena) -> Array:
    return np.frombuffer(memory.buffer, np.float32)


def _unpacked(packed: list[object], array: Array, files: Sequence[int]) -> list[object]:
    remaining = iter(files)
    items: list[object] = []
    for item in packed:
        if isinstance(item, SharedArray):
            items.append(array[item.offset : item.offset + item.length])
        elif isinstance(item, Filed):
            items.append(item.reopened(next(remaining)))
        else:
            items.append(item)
    return items


def _answer(work: Work) -> memoryview:
    """The pickled reply: one result or error an item, or one error for all."""
    try:
        return ForkingPickler.dumps(list(work()))
    except ReflectorError as error:
        return ForkingPickler.dumps(error)
    except Exception as error:  # a library's failure must not end the worker
        logger.exception("a batch failed")
        return ForkingPickler.dumps(EngineFailed(f"The engine failed: {type(error).__name__}"))


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, however that was killed.

    Linux does so even while a library holds the interpreter. It takes the end of the *thread* that
    started this process for the end of its parent.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Elsewhere only a thread can tell, and here as well if the parent ended before this.
    threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
