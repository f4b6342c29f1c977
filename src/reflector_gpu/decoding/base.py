"""The protocols of what a recording is decoded for, and of what decodes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable, Iterator
from typing import Protocol

from reflector_gpu.audio.spool import Spool, SpoolReader
from reflector_gpu.decoding.messages import Told


class DecodeTask(Hashable, Protocol):
    """Decodes one recording. It must be picklable: it may run in another process."""

    @property
    def most_data(self) -> float:
        """Bytes beside a message, at most."""
        ...

    def run(
        self, reader: SpoolReader, output: Spool | None, passed: Callable[[float], None]
    ) -> Iterator[Told]:
        """Yield what is found, step by step; the last message is `Ended`.

        ``passed`` is called now and then with the seconds that have been decoded. A task that keeps
        something writes it to ``output``.

        Raises:
            ReflectorError: the recording cannot be used.
        """
        ...


class Decoders(Protocol):
    """Run tasks, any number at the same time."""

    def run(
        self, task: DecodeTask, spool: Spool, output: Spool | None = None
    ) -> AsyncGenerator[Told]:
        """Run ``task`` on what ``spool`` holds, while that may still fill.

        Closing the generator ends the work at once. `Needs` and `Failed` are never yielded. The
        size of ``output`` is right whenever a message comes.

        Raises:
            ReflectorError: the task's error, that of ``spool``, or the decoder died.
        """
        ...


class StartedDecoders(Decoders, Protocol):
    """Decoders for those who start and close them."""

    @property
    def deaths(self) -> int:
        """How many decoders have died of a recording, or were killed, so far."""
        ...

    def start(self) -> None:
        """Get ready, so that the first recording does not have to wait."""
        ...

    async def close(self) -> None:
        """End the decoders that wait for work. One that works ends with its generator."""
        ...
