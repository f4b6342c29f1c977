"""What the program is doing, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Display
from rich.table import Column

from reflector_gpu.pipeline.transcription import Part

T = TypeVar("T")

_NAME_COLUMNS = 28


class ProgressBars:
    """A context manager that draws a bar for each recording while it is worked on, if ``shown``."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._console = Console(stderr=True, highlight=False)
        self._display = Display(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(max_width=_NAME_COLUMNS, no_wrap=True, overflow="ellipsis"),
            ),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            console=self._console,
            transient=True,
            disable=not shown,
        )

    def __enter__(self) -> ProgressBars:
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bars off the screen while something else is written."""
        self._display.stop()
        try:
            yield
        finally:
            self._display.start()

    @contextmanager
    def bar(self, name: str, seconds: float | None, *, told: bool = True) -> Iterator[Bar]:
        """A bar for the recording ``name``, which is about ``seconds`` long.

        At the end, the speed is printed.
        """
        task = self._display.add_task(name, total=seconds, state="")
        bar = Bar(self._display, task, seconds)
        try:
            yield bar
        finally:
            self._display.remove_task(task)
            self._display.refresh()  # else the next printed line draws it again
        if self._shown and told:
            self._console.print(f"{name}: {bar.summary}", markup=False, soft_wrap=True)


class Activity:
    """Says what is being done: in one place on a terminal, line by line elsewhere."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        self._status = console.status("") if console.is_terminal else None

    def say(self, doing: str) -> None:
        if self._status is None:
            sys.stderr.write(f"{doing} ...\n")
        else:
            self._status.update(f"{doing} ...")
            self._status.start()

    def silenced(self, results: Iterable[T]) -> Iterator[T]:
        """``results``, with nothing else on the terminal while each of them is printed."""
        try:
            for result in results:
                if self._status:
                    self._status.stop()
                yield result
        finally:
            if self._status:
                self._status.stop()


class Bar:
    def __init__(self, display: Display, task: TaskID, seconds: float | None) -> None:
        self._display = display
        self._task = task
        self._total = seconds
        self._position = 0.0
        self._reported = ""
        self._began = time.monotonic()

    @property
    def summary(self) -> str:
        """What to say when the recording is done."""
        took = time.monotonic() - self._began
        return (
            f"{clock(self._position)} of audio in {took:.1f} s, "
            f"RTFx {self._position / max(took, 1e-3):.1f}"
        )

    def report(self, state: str) -> None:
        """Say what is done before recognition begins. The clock starts with the last report."""
        self._began = time.monotonic()
        self._display.update(
            self._task, state=f"{self._done()}  {state}", refresh=state != self._reported
        )
        self._reported = state

    def show(self, percent: float, state: str) -> None:
        """Show how much is done elsewhere."""
        self._display.update(self._task, completed=percent, total=100.0, state=state)

    async def watch(self, parts: AsyncIterable[Part]) -> AsyncIterator[Part]:
        """``parts``, as they come; the bar moves with them."""
        async for part in parts:
            self._position = max(self._position, part.position)
            if self._total and self._position > self._total:
                self._total = None  # the header was wrong
            self._display.update(
                self._task, completed=self._position, total=self._total, state=self._state()
            )
            yield part

    def _state(self) -> str:
        speed = self._position / max(time.monotonic() - self._began, 1e-3)
        state = f"{self._done()}  RTFx {speed:.1f}"
        if not self._total or not speed:
            return state
        return f"{state}  {clock((self._total - self._position) / speed)} left"

    def _done(self) -> str:
        done = clock(self._position)
        return f"{done} / {clock(self._total)}" if self._total else done


def clock(seconds: float) -> str:
    """``1:02:03``, or ``2:03`` if there are no hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
