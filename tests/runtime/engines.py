"""Engines that misbehave in every way, for the runtime to survive. They run in worker processes."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from reflector_gpu.errors import InvalidRequest, ModelNotInstalled, TooLarge
from reflector_gpu.runtime.recipe import Recipe
from tests.waiting import until


class Engine:
    """Loads and closes without a word."""

    def load(self) -> None: ...

    def close(self) -> None: ...


class Echo(Engine):
    """Gives back what it got, and what came along with it."""

    def run(self, items: Sequence[object], options: object) -> list[object]:
        return [(item, options, len(items), os.getpid()) for item in items]


class Environment(Engine):
    """Tells the variables of its process."""

    def run(self, items: Sequence[object], options: object) -> list[object]:
        return [os.environ.get(str(item)) for item in items]


@dataclass(frozen=True)
class Letter:
    """An item that is written in an open file."""

    descriptor: int

    def fileno(self) -> int:
        return self.descriptor

    def reopened(self, descriptor: int) -> Letter:
        return Letter(descriptor)


class Reader(Engine):
    """Reads letters; the descriptors are closed again before the next batch."""

    def run(self, items: Sequence[object], options: object) -> list[object]:
        found: list[object] = []
        for item in items:
            assert isinstance(item, Letter)
            found.append(
                (os.pread(item.descriptor, 100, 0), len(list(Path("/proc/self/fd").iterdir())))
            )
        return found


class Arrays(Engine):
    """What became of an array on its way: sum, length, type, whether it can be written to."""

    def run(self, items: Sequence[object], options: object) -> list[object]:
        found: list[object] = []
        for item in items:
            assert isinstance(item, np.ndarray)
            found.append((float(item.sum()), item.shape, str(item.dtype), item.flags.writeable))
        return found


class Obedient(Engine):
    """Does what the item says."""

    def __init__(self, notes: str = "") -> None:
        self._notes = notes

    def run(self, items: Sequence[object], options: object) -> list[object]:
        if self._notes:
            with Path(self._notes).open("a", encoding="utf-8") as file:
                file.write(f"{' '.join(map(str, items))}\n")
        return [self._obey(str(item)) for item in items]

    def _obey(self, item: str) -> object:
        match item:
            case "exit":
                os._exit(3)
            case "abort":
                os.abort()
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "odd signal":
                os.kill(os.getpid(), signal.SIGRTMIN + 5)
            case "hang":
                _hang()
            case "hang natively":
                _hang_natively()
            case "leave":
                raise SystemExit(4)
            case "raise":
                raise RuntimeError("a secret path: /home/me")
            case "raise odd":
                raise Unpicklable(lambda: None)
            case "refuse all":
                raise TooLarge("All of it is too large.", param="file")
            case "refuse":
                return InvalidRequest("This one is bad.", param="chunk")
            case "unpicklable":
                return lambda: None
            case "unreadable":
                return Unreadable()
            case "shout":
                return "x" * 10_000_000
        if item.startswith("once "):
            flag = Path(item.removeprefix("once "))
            if not flag.exists():
                flag.touch()
                os._exit(3)
            return "at the second try"
        if item.startswith("wait for "):
            flag = Path(item.removeprefix("wait for "))
            flag.with_suffix(".begun").touch()
            until(flag.exists)
            return flag.name
        if item.startswith("killed "):
            _, times, folder = item.split(" ", 2)
            kills = len(list(Path(folder).iterdir()))
            if kills < int(times):
                (Path(folder) / str(kills)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return "heard"
        return item.upper()


class Condemned(Engine):
    """Is killed while it loads, once for each file in a folder, which it deletes."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def load(self) -> None:
        for kill in self._folder.iterdir():
            kill.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def run(self, items: Sequence[object], options: object) -> list[object]:
        return list(items)


class Hunted(Condemned):
    """Is killed at a batch, once for each file in a folder, which it deletes; and while it loads
    after that, the first time."""

    def load(self) -> None:
        if (mark := self._folder.with_suffix(".loading")).exists():
            mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def run(self, items: Sequence[object], options: object) -> list[object]:
        self._folder.with_suffix(".loading").touch()
        super().load()
        return list(items)


class Preparing(Engine):
    """Notes what it does in a file, and waits where it is told to until another file is there."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def prepare(self, items: Sequence[object], options: object) -> Callable[[], Iterator[object]]:
        self._note("prepare", items)
        names = [str(item) for item in items]
        if "spoilt" in names:
            raise RuntimeError("a secret path: /home/me")
        if "fatal" in names:
            os._exit(3)
        return lambda: self._work(items)

    def _work(self, items: Sequence[object]) -> Iterator[object]:
        self._note("work", items)
        for item in items:
            if str(item) == "bad":
                raise TooLarge("All of it is too large.", param="file")
            if str(item).startswith("once "):
                flag = self._folder / str(item)
                if not flag.exists():
                    flag.touch()
                    self._wait_for("prepare b")
                    os._exit(3)
            if str(item).startswith("until "):
                self._wait_for(str(item).removeprefix("until "))
        return self._results(items)

    def _results(self, items: Sequence[object]) -> Iterator[object]:
        self._note("results", items)
        for item in items:
            if str(item).startswith("late until "):
                self._wait_for(str(item).removeprefix("late until "))
            if isinstance(item, np.ndarray):
                yield float(item.sum())
            else:
                yield str(item).upper()

    def _note(self, what: str, items: Sequence[object]) -> None:
        names = [str(len(item)) if isinstance(item, np.ndarray) else str(item) for item in items]
        with (self._folder / "notes").open("a", encoding="utf-8") as file:
            file.write(f"{what} {'+'.join(names)}\n")

    def _wait_for(self, note: str) -> None:
        while note not in (self._folder / "notes").read_text(encoding="utf-8").splitlines():
            time.sleep(0.002)


class Card(Engine):
    """Says how it was called, on which device and which GPU."""

    def __init__(self, device: str) -> None:
        self._device = device

    def transcribe(self, items: Sequence[object], options: object) -> list[object]:
        return self._said("transcribe", items)

    def prepare(self, items: Sequence[object], options: object) -> Callable[[], list[object]]:
        return lambda: self._said("prepare", items)

    def _said(self, how: str, items: Sequence[object]) -> list[object]:
        return [(how, self._device, os.environ.get("CUDA_VISIBLE_DEVICES")) for _ in items]


class Miscounting(Engine):
    def run(self, items: Sequence[object], options: object) -> list[object]:
        return [*items, "one too many"]


class NoList(Engine):
    def run(self, items: Sequence[object], options: object) -> object:
        return 7


class Unloadable(Engine):
    """Fails to load in the way it is told to, while a file exists."""

    def __init__(self, how: str, flag: str = "") -> None:
        self._how = how
        self._flag = flag

    def load(self) -> None:
        if self._flag and not Path(self._flag).exists():
            return
        match self._how:
            case "missing":
                raise ModelNotInstalled("Get it at example.com.", retry_after=77, param="model")
            case "raise":
                raise RuntimeError("no such file")
            case "exit":
                os._exit(9)
            case "exit once":
                Path(self._flag).unlink()
                os._exit(9)
            case "hang":
                _hang()

    def run(self, items: Sequence[object], options: object) -> list[object]:
        for item in items:
            if item == "exit":
                os._exit(3)
        return list(items)


class Patient(Engine):
    """Loads until somebody has written to a named pipe."""

    def __init__(self, pipe: str) -> None:
        self._pipe = Path(pipe)

    def load(self) -> None:
        self._pipe.read_bytes()

    def run(self, items: Sequence[object], options: object) -> list[object]:
        return list(items)


class Fleeting(Engine):
    """Ends as soon as it has loaded, before anybody sends it work."""

    def load(self) -> None:
        threading.Timer(0.1, os._exit, (5,)).start()

    def run(self, items: Sequence[object], options: object) -> list[object]:
        return list(items)


class Unpicklable(Exception):
    pass


class Unreadable:
    """Goes out all right, and cannot be put together again."""

    def __reduce__(self) -> tuple[object, ...]:
        return _explode, ()


def _explode() -> NoReturn:
    raise ValueError("no")


def _hang_natively() -> None:
    """Hang in C without letting any other thread of Python run."""
    ctypes.PyDLL(None).sleep(3600)


def _hang() -> NoReturn:
    while True:
        time.sleep(3600)


def recipe(engine: type, *, memory: int = 0, **arguments: str) -> Recipe:
    """How to build one of these in another process."""
    name = f"{engine.__module__}:{engine.__name__}"
    return Recipe(name, "run", memory, arguments, prepares=issubclass(engine, Preparing))
