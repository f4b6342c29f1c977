"""Modal's containers, in this process: what a class is to those who call it.

Every container is an instance of the class that ran its own hooks. Calls are spread and queued as
Modal does, and what crosses is pickled on the way, there and back. A container is not told of a
listener that has left a stream.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Container:
    """``calls`` are the items of each; ``instance`` is Modal's handle for a local object."""

    instance: Any
    free: threading.Semaphore
    calls: list[list[object]] = field(default_factory=list)


class Containers:
    """Stands for a class in the module that declares it. At most ``limit`` containers."""

    def __init__(self, declared: Any, limit: int | None = None) -> None:
        self._declared = declared
        self.group = declared().group
        self._limit = limit or self.group.containers
        self.running: list[Container] = []
        self.faults: list[Callable[[Container], None]] = []
        """Each is called once, when a call has reached a container, and may raise."""
        self.halfway: list[Callable[[Container], None]] = []
        """The same for when a call has told something of its results."""
        self.during: Callable[[Container, Sequence[object]], None] = lambda *_: None
        """What every call does before it returns."""
        self._changed = threading.Condition()
        self.run = _Method(self._run)
        self.stream = _Method(self._stream)

    def __call__(self) -> Containers:
        return self

    @property
    def done(self) -> int:
        """Calls that were made."""
        return sum(len(container.calls) for container in self.running)

    def close(self) -> None:
        for container in self.running:
            container.instance.host.close()

    def _run(self, items: Sequence[object], options: object) -> list[object]:
        items, options = _carried((items, options))
        with self._container() as container:
            container.calls.append(list(items))
            if self.faults:
                self.faults.pop(0)(container)
            results: list[object] = container.instance.run.local(items, options)
            self.during(container, items)
            return _carried(results)

    def _stream(self, items: Sequence[object], options: object) -> Iterator[Any]:
        """What a container streams, which goes on when nobody listens any more."""
        told: SimpleQueue[Any] = SimpleQueue()
        arguments = (told, *_carried((items, options)))
        threading.Thread(target=self._tell, args=arguments, daemon=True).start()
        while (message := told.get()) is not None:
            if isinstance(message, Exception):
                raise message
            yield message

    def _tell(self, told: SimpleQueue[Any], items: Sequence[object], options: object) -> None:
        try:
            with self._container() as container:
                container.calls.append(list(items))
                if self.faults:
                    self.faults.pop(0)(container)
                for message in container.instance.stream.local(items, options):
                    told.put(_carried(message))
                    if self.halfway:
                        self.halfway.pop(0)(container)
            told.put(None)
        except Exception as error:  # noqa: BLE001  whatever it is, it is the caller's
            told.put(error)

    @contextmanager
    def _container(self) -> Iterator[Container]:
        """A place in one; a new one is started while all are busy, as long as it may be."""
        with self._changed:
            while (found := self._free()) is None:
                self._changed.wait()
        try:
            yield found
        finally:
            with self._changed:
                found.free.release()
                self._changed.notify()

    def _free(self) -> Container | None:
        for container in self.running:
            if container.free.acquire(blocking=False):
                return container
        if len(self.running) == self._limit:
            return None
        instance = self._declared()
        instance.run.local([], None)  # runs the hooks, before anybody else can
        container = Container(instance, threading.Semaphore(self.group.inputs - 1))
        self.running.append(container)
        return container


class _Method:
    def __init__(self, call: Callable[[Sequence[object], object], Any]) -> None:
        self.remote = self.remote_gen = call


def _carried(value: T) -> T:
    carried: T = pickle.loads(pickle.dumps(value))
    return carried
