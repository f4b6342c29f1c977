"""One engine in a process of its own.

A crash in a native library, a kill for want of memory or a hang ends the worker, never the service.
Arrays cross through anonymous shared memory that both sides map, everything else through a pipe.
Neither has a name that could be left behind. An engine that streams sends parts of its results
before their end. In the middle of a batch it is told which items nobody waits for any more.
"""

from __future__ import annotations

import logging
import multiprocessing
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler, send_handle

from reflector_gpu import logs
from reflector_gpu.errors import EngineFailed, ReflectorError
from reflector_gpu.runtime.batch import Batch
from reflector_gpu.runtime.bell import Bell
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.runtime.watchdog import Watchdog
from reflector_gpu.runtime.worker_environment import WithEnvironment
from reflector_gpu.runtime.worker_process import (
    STOPPING,
    Answered,
    GivenUp,
    InLane,
    Said,
    SharedArray,
    filed,
    is_waveform,
    serve,
    shared_memory,
    view,
)

logger = logging.getLogger(__name__)

_CONTEXT = multiprocessing.get_context("spawn")
_SENT_BY_OTHERS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
"""Signals that a crash never raises."""

_POLL_SECONDS = 0.2  # how often a running batch is checked for being abandoned
_PREPARING_POLL_SECONDS = 0.02  # how often it is checked whether there is a batch to prepare


class WorkerDied(Exception):
    """The process ended, was killed, or hung; the message says which.

    ``from_outside``: the service did not end it; the kernel does when memory runs out. Then the
    batch is probably not at fault.
    """

    def __init__(self, how: str, pid: int | None, *, from_outside: bool = False) -> None:
        super().__init__(how)
        self.pid = pid
        self.from_outside = from_outside


class Abandoned(Exception):
    """Nobody waits for this batch any more; the worker was stopped."""


class Worker:
    """A process that has loaded one engine. Used by one thread at a time, but for `ring`.

    It is given batches by `run`. If its engine has several lanes, it can also be given one item for
    each of them by `begin`, and `next_end` tells which is done; not both at the same time.
    """

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
        # Two batches of an engine that prepares the next one are there at once.
        places = 2 if recipe.prepares else 1
        memory = shared_memory(max(1, places * recipe.memory))
        self._array = view(memory)
        self._places = [slice(n * recipe.memory, (n + 1) * recipe.memory) for n in range(places)]
        self._sent: deque[tuple[Batch, slice]] = deque()
        self._answers: dict[Batch, object] = {}
        self._pipe, theirs = _CONTEXT.Pipe()
        served = partial(serve, theirs, memory, recipe, logs.chosen())
        self._process = _CONTEXT.Process(
            target=WithEnvironment(served, recipe.environment), name=recipe.engine, daemon=True
        )
        self._streams = recipe.streams
        self._poll_seconds = _PREPARING_POLL_SECONDS if recipe.prepares else _POLL_SECONDS
        self.lanes = recipe.lanes
        self._hung = False
        self._bell = Bell()
        self._watchdog = Watchdog(self._end_hang)
        try:
            _start(self._process)
        except BaseException:
            self._bell.close()
            self._watchdog.close()
            raise
        theirs.close()
        self._news = select.poll()  # `multiprocessing.connection.wait` would make one each time
        for source in (self._pipe.fileno(), self._process.sentinel):
            self._news.register(source, select.POLLIN)
        loading = Batch(timeout=load_timeout, abandoned=abandoned)
        try:
            with self._watchdog.watching(load_timeout):
                error = self._receive(loading)
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

    def run(self, batch: Batch) -> Sequence[object]:
        """A result or a `ReflectorError` for each item of ``batch``, in order.

        Listeners are called in this thread.

        Raises:
            ReflectorError: the engine failed on the batch as a whole.
            WorkerDied: the process died, or the batch's timeout passed; the process is gone.
            Abandoned: the batch was abandoned; the process is gone.
        """
        with self._watchdog.watching(batch.timeout):
            if all(one is not batch for one, _ in self._sent) and batch not in self._answers:
                self._hand_over(batch)
            reply = self._answer_to(batch)
        if isinstance(reply, ReflectorError):
            raise reply
        if not isinstance(reply, Sequence) or len(reply) != len(batch.items):
            raise EngineFailed("The engine answered with the wrong number of results.")
        return reply

    def prepare(self, batch: Batch) -> None:
        """Send ``batch`` for the engine to prepare, while another runs. `run` it afterwards.

        There may be one such batch at a time.

        Raises:
            WorkerDied: the process died.
        """
        with suppress(EngineFailed):  # it cannot be sent; `run` will say so
            self._hand_over(batch)

    def begin(self, lane: int, item: object, options: object) -> None:
        """Have the engine work on ``item`` in a lane that is free.

        Raises:
            EngineFailed: the item cannot reach the engine.
            WorkerDied: the process died.
        """
        room = len(self._array) // self.lanes
        packed = item
        if is_waveform(item) and item.size <= room:
            packed = SharedArray(lane * room, item.size)
            self._array[packed.offset : packed.offset + item.size] = item
        try:
            self._pipe.send(InLane(lane, packed, options))
        except OSError as error:
            raise self.death() from error
        except Exception as error:  # pickling may raise anything, and has sent nothing then
            raise EngineFailed(f"An item cannot reach the engine: {error}") from error

    def next_end(self, timeout: float) -> tuple[int, object] | None:
        """The next lane that is done, with its result or its `ReflectorError`.

        None if there is other news: `ring` was called, or a moment has passed. An engine that takes
        more than ``timeout`` seconds hangs.

        Raises:
            WorkerDied: the process died, or hung; it is gone.
        """
        with self._watchdog.watching(timeout):
            files = self._pipe.fileno(), self._process.sentinel
            if not self._bell.wait(*files, seconds=_POLL_SECONDS):
                return None
            message = self._message()
        assert isinstance(message, Answered)
        return message.lane, _single(message.reply)

    def ring(self) -> None:
        """Let `next_end` return, from any thread."""
        self._bell.ring()

    def stop(self) -> None:
        """Ask the process to end, and kill it if it is busy. Safe to call twice."""
        try:
            self._pipe.send(None)
            self._process.join(0.5)
        except (OSError, ValueError):
            pass  # it is gone already
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()
        self._bell.close()
        self._watchdog.close()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()

    def _hand_over(self, batch: Batch) -> None:
        place = self._places[0] if self._places else slice(0, 0)
        try:
            packed = self._pack(batch.items, place)
            self._pipe.send((packed, batch.options, frozenset(batch.listeners)))
            for item in filed(packed):
                send_handle(self._pipe, item.fileno(), self.pid)
        except OSError as error:
            raise self.death() from error
        except Exception as error:  # pickling may raise anything, and has sent nothing then
            raise EngineFailed(f"An item cannot reach the engine: {error}") from error
        self._places = self._places[1:]
        self._sent.append((batch, place))

    def _answer_to(self, batch: Batch) -> object:
        """The engine's answer; those that come before it are kept for their batches."""
        while batch not in self._answers:
            try:
                answer = self._receive(batch)
            except EngineFailed as failure:  # it cannot be read
                answer = failure
            first, place = self._sent.popleft()
            self._places.append(place)
            self._answers[first] = answer
        return self._answers.pop(batch)

    def _pack(self, items: Sequence[object], place: slice) -> list[object]:
        packed: list[object] = []
        offset: int = place.start
        for item in items:
            if is_waveform(item) and offset + item.size <= place.stop:
                self._array[offset : offset + item.size] = item
                packed.append(SharedArray(offset, item.size))
                offset += item.size
            else:
                packed.append(item)
        return packed

    def _end_hang(self) -> None:
        self._hung = True
        self._process.kill()

    def _receive(self, batch: Batch) -> object:
        """Wait for the worker's answer. Listeners get the parts of results that come before it."""
        told: set[int] = set()
        looked = time.monotonic()
        while True:
            batch.meanwhile()
            if self._news.poll(self._poll_seconds * 1000):
                try:
                    message = self._message()
                except EngineFailed:
                    if batch.listeners:  # it may have been a part, and the answer still to come
                        self.kill()
                    raise
                if not isinstance(message, Said):
                    return message
                batch.listeners[message.index](message.part)
            if time.monotonic() - looked < _POLL_SECONDS:
                continue
            looked = time.monotonic()
            if batch.abandoned():
                self.kill()
                raise Abandoned
            if self._streams:  # other engines read no messages in the middle of a batch
                for index in set(batch.given_up()) - told:
                    told.add(index)
                    self._send(GivenUp(index))

    def _message(self) -> object:
        try:
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self.death() from error
        except Exception as error:  # unpickling may raise anything; the pipe still works
            raise EngineFailed("The engine's answer cannot be read.") from error

    def _send(self, message: object) -> None:
        try:
            self._pipe.send(message)
        except OSError as error:
            raise self.death() from error

    def death(self) -> WorkerDied:
        """How the process ended. One that still runs is killed."""
        self._process.join(5)
        code = self._process.exitcode
        if code is None:
            self.kill()
            return WorkerDied("it closed its pipe and was killed", self.pid)
        if self._hung:
            return WorkerDied("it hung and was killed", self.pid)
        if code >= 0:
            return WorkerDied(f"exited with status {code}", self.pid)
        names = {number.value: number.name for number in signal.Signals}
        how = f"killed by {names.get(-code, f'signal {-code}')}"
        return WorkerDied(how, self.pid, from_outside=-code in _SENT_BY_OTHERS)


def _single(reply: bytes) -> object:
    """The result or the error of the only item of a call."""
    try:
        found = ForkingPickler.loads(reply)
    except Exception:  # noqa: BLE001 - unpickling may raise anything
        return EngineFailed("The engine's answer cannot be read.")
    if isinstance(found, ReflectorError):
        return found
    if not isinstance(found, Sequence) or len(found) != 1:
        return EngineFailed("The engine answered with the wrong number of results.")
    return found[0]


_STARTING = threading.Lock()


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep new processes from importing this program's main module, as multiprocessing has them do.

    Engines do not need it. A script without ``if __name__ == "__main__"`` would begin anew in every
    worker.
    """
    main = vars(sys.modules["__main__"])
    origin = [(name, main[name]) for name in ("__file__", "__spec__") if name in main]
    main.update(__file__=None, __spec__=None)
    try:
        yield
    finally:
        del main["__file__"], main["__spec__"]
        main.update(origin)


def _start(process: SpawnProcess) -> None:
    # Ctrl-C and service managers signal the whole process group. The process inherits that these
    # signals are blocked, until `serve` ignores them.
    resource_tracker.ensure_running()  # starting it would unblock the signals again
    with _STARTING:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            with _without_main():
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
