"""One engine in a process of its own.

A native crash, an out-of-memory kill or a hang takes the worker with it, never the service. Arrays
cross through a block of anonymous shared memory that both sides map, everything else through a
pipe; neither leaves a name behind that could outlive the processes.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.heap import Arena
from multiprocessing.reduction import ForkingPickler, recv_handle, send_handle
from typing import Protocol, TypeAlias, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt

from reflector_gpu.errors import EngineFailed, ReflectorError

logger = logging.getLogger(__name__)

_CONTEXT = multiprocessing.get_context("spawn")
_POLL_SECONDS = 0.2  # how often a running batch is checked for being abandoned

Array: TypeAlias = npt.NDArray[np.float32]
_Batch: TypeAlias = "tuple[list[object], object] | None"


class Engine(Protocol):
    """The part of every engine that the runtime needs."""

    def load(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build an engine in another process: picklable, imports nothing until built.

    ``engine`` is ``module:Class``, called with ``arguments``; ``method`` is its batch method,
    ``method(items, options) -> one result or error per item``. ``memory`` is the number of
    float32 values of shared memory that a batch may need. ``environment`` are variables that the
    process has besides ours: how many threads, which GPU.
    """

    engine: str
    method: str
    memory: int = 0
    arguments: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def build(self) -> Engine:
        module, _, name = self.engine.partition(":")
        engine: Engine = getattr(importlib.import_module(module), name)(**self.arguments)
        return engine


@dataclass(frozen=True, slots=True)
class _Shared:
    """An array's place in shared memory, which crosses the pipe in its stead."""

    offset: int
    length: int


@runtime_checkable
class Filed(Protocol):
    """An item that reads from an open file, which crosses to the worker beside it."""

    def fileno(self) -> int:
        """The file's descriptor here."""

    def reopened(self, descriptor: int) -> object:
        """The same item where the file has this ``descriptor``."""


class WorkerDied(Exception):
    """The process ended, was killed, or hung; the message says which."""

    def __init__(self, how: str, pid: int | None) -> None:
        super().__init__(how)
        self.pid = pid


class Abandoned(Exception):
    """Nobody waits for this batch any more; the worker was stopped."""


class Worker:
    """A process that has loaded one engine. Used by one thread at a time."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        load_timeout: float = 600.0,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> None:
        """Start the process and wait until its engine is loaded.

        Raises:
            ReflectorError: what the engine's ``load`` raised.
            WorkerDied: the process died while loading, or took longer than ``load_timeout``.
            Abandoned: ``abandoned()`` turned true; the process is gone.
        """
        memory = _shared_memory(max(1, recipe.memory))
        self._array = _view(memory)
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_serve, args=(theirs, memory, recipe), name=recipe.engine, daemon=True
        )
        self._hung = False
        _start(self._process, recipe.environment)
        theirs.close()
        try:
            with self._watched(load_timeout):
                error = self._receive(abandoned)
        except BaseException:
            self.stop()
            raise
        if isinstance(error, ReflectorError):
            self.stop()
            raise error

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def run(
        self,
        items: Sequence[object],
        options: object,
        *,
        timeout: float,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> Sequence[object]:
        """One batch: a result or a `ReflectorError` per item.

        Raises:
            ReflectorError: the engine failed on the batch as a whole.
            WorkerDied: the process died, or ``timeout`` seconds passed; it is gone.
            Abandoned: ``abandoned()`` turned true; the process is gone.
        """
        with self._watched(timeout):
            try:
                self._pipe.send((self._pack(items), options))
                for item in items:
                    if isinstance(item, Filed):
                        send_handle(self._pipe, item.fileno(), self.pid)
            except OSError as error:
                raise self.death() from error
            except Exception as error:  # whatever pickling throws, and then nothing has been sent
                raise EngineFailed(f"An item can not reach the engine: {error}") from error
            reply = self._receive(abandoned)
        if isinstance(reply, ReflectorError):
            raise reply
        if not isinstance(reply, Sequence) or len(reply) != len(items):
            raise EngineFailed("The engine answered with the wrong number of results.")
        return reply

    def stop(self) -> None:
        """End the process, politely if it is idle. Safe to call twice."""
        try:
            self._pipe.send(None)
            self._process.join(0.5)
        except (OSError, ValueError):
            pass  # it is gone already
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def kill(self) -> None:
        """End the process in the middle of what it does."""
        self._process.kill()
        self._process.join()

    def _pack(self, items: Sequence[object]) -> list[object]:
        packed: list[object] = []
        offset = 0
        for item in items:
            if _is_waveform(item) and offset + item.size <= len(self._array):
                self._array[offset : offset + item.size] = item
                packed.append(_Shared(offset, item.size))
                offset += item.size
            else:
                packed.append(item)
        return packed

    @contextmanager
    def _watched(self, seconds: float) -> Iterator[None]:
        """Kill the process if what is inside takes longer: pipes block on one that is stopped."""
        watchdog = threading.Timer(seconds, self._end_hang)
        watchdog.daemon = True
        try:
            watchdog.start()
        except RuntimeError as error:
            raise EngineFailed("The server has no thread left; try again later.") from error
        try:
            yield
        finally:
            watchdog.cancel()

    def _end_hang(self) -> None:
        self._hung = True
        self._process.kill()

    def _receive(self, abandoned: Callable[[], bool]) -> object:
        while True:
            if wait([self._pipe, self._process.sentinel], _POLL_SECONDS):
                try:
                    return self._pipe.recv()
                except (EOFError, OSError) as error:
                    raise self.death() from error
                except Exception as error:  # whatever unpickling throws; the pipe itself is sound
                    raise EngineFailed("The engine's answer can not be read.") from error
            if abandoned():
                self.kill()
                raise Abandoned

    def death(self) -> WorkerDied:
        """How the process ended, which is made sure of."""
        return WorkerDied(self._obituary(), self.pid)

    def _obituary(self) -> str:
        self._process.join(5)
        code = self._process.exitcode
        if self._hung:
            return "it hung and was killed"
        if code is None:
            self.kill()
            return "it closed its pipe and was killed"
        if code < 0:
            names = {number.value: number.name for number in signal.Signals}
            return f"killed by {names.get(-code, f'signal {-code}')}"
        return f"exited with status {code}"


_STARTING = threading.Lock()


def _start(process: SpawnProcess, environment: Mapping[str, str]) -> None:
    """Start ``process`` with these variables: it inherits ours, and has read them before it
    could set any itself."""
    # Ctrl-C reaches the whole process group; until `_serve` ignores it, it has to wait.
    resource_tracker.ensure_running()  # first: starting it would unblock the signal again
    with _STARTING:
        before = {name: os.environ.get(name) for name in environment}
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        os.environ.update(environment)
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _serve(pipe: Connection, memory: Arena, recipe: Recipe) -> None:
    """The worker process: load, then answer batches until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    array = _view(memory)
    array.setflags(write=False)
    try:
        engine = recipe.build()
        engine.load()
    except ReflectorError as error:
        pipe.send(error)
        return
    except Exception as error:  # whatever a model library throws while loading, say it upstairs
        logger.exception("%s did not load", recipe.engine)
        pipe.send(EngineFailed(f"The engine did not load: {type(error).__name__}: {error}"))
        return
    pipe.send(None)
    method: Callable[[list[object], object], Sequence[object]] = getattr(engine, recipe.method)
    while True:
        try:
            batch: _Batch = pipe.recv()
        except EOFError:
            break
        if batch is None:
            break
        packed, options = batch
        files = [recv_handle(pipe) for item in packed if isinstance(item, Filed)]
        try:
            items = _unpacked(packed, array, files)
            pipe.send_bytes(_answer(method, items, options))
        finally:
            for file in files:
                os.close(file)
    engine.close()


def _is_waveform(item: object) -> TypeGuard[Array]:
    return isinstance(item, np.ndarray) and item.ndim == 1 and item.dtype == np.float32


def _shared_memory(length: int) -> Arena:
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


def _view(memory: Arena) -> Array:
    return np.frombuffer(memory.buffer, np.float32)


def _unpacked(packed: list[object], array: Array, files: Sequence[int]) -> list[object]:
    remaining = iter(files)
    items: list[object] = []
    for item in packed:
        if isinstance(item, _Shared):
            items.append(array[item.offset : item.offset + item.length])
        elif isinstance(item, Filed):
            items.append(item.reopened(next(remaining)))
        else:
            items.append(item)
    return items


def _answer(
    method: Callable[[list[object], object], Sequence[object]], items: list[object], options: object
) -> memoryview:
    """The pickled reply: one result or error an item, or one error for all."""
    try:
        return ForkingPickler.dumps(list(method(items, options)))
    except ReflectorError as error:
        return ForkingPickler.dumps(error)
    except Exception as error:  # a library's failure must not end the worker
        logger.exception("a batch of %d failed", len(items))
        return ForkingPickler.dumps(EngineFailed(f"The engine failed: {type(error).__name__}"))


def _die_with_parent() -> None:
    """A worker whose service was killed outright must not stay behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
