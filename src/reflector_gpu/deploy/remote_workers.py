"""Workers elsewhere that are reached by calls. A worker has died if its container has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reflector_gpu.engines.diarization.base import FileRecording, PcmRecording
from reflector_gpu.errors import EngineFailed, ReflectorError
from reflector_gpu.runtime.batch import Batch
from reflector_gpu.runtime.worker import WorkerDied

Call: TypeAlias = Callable[[Sequence[object], object], Sequence[object]]
"""Takes items and their options. Gives a result or a `ReflectorError` for each, in order."""

Reply: TypeAlias = "tuple[int, object] | list[object]"
"""The index of an item and a part of its result; or, at the end, all results."""

StreamingCall: TypeAlias = Callable[[Sequence[object], object], Iterable[Reply]]


@dataclass(frozen=True, slots=True)
class Remote:
    """A `runtime.runner.Starter` and `Runner` that starts nothing before the first call.

    The batch's timeout is not used, because a container may have to be started first. The cloud
    ends calls that hang. A call whose clients have left is not ended, because it is over soon.
    """

    call: Call
    most_items: int | None = None
    pid: None = None
    alive: bool = True

    def start(self, _: Callable[[], bool]) -> Remote:
        return self

    def run(self, batch: Batch) -> Sequence[object]:
        """
        Raises:
            WorkerDied: the call failed.
        """
        return _replies(
            len(batch.items),
            lambda: self.call([portable(item) for item in batch.items], batch.options),
        )

    def stop(self) -> None:
        """Nothing to stop: a container that nobody calls ends by itself."""

    def death(self) -> WorkerDied:
        return WorkerDied("it ended", None, from_outside=True)


@dataclass(frozen=True, slots=True)
class RemoteStream:
    """A `Remote` whose engine gives parts of its results ahead of the whole."""

    call: StreamingCall
    most_items: int | None = None
    pid: None = None
    alive: bool = True

    def start(self, _: Callable[[], bool]) -> RemoteStream:
        return self

    def run(self, batch: Batch) -> Sequence[object]:
        """As `Remote.run`, but it returns early once all items are given up.

        The call itself goes on: Modal does not tell a container that its caller has left.
        """

        def listen() -> Sequence[object]:
            for message in self.call(batch.items, batch.options):
                if isinstance(message, list):
                    return message
                index, part = message
                if index in batch.listeners:
                    batch.listeners[index](part)
                if len(batch.given_up()) == len(batch.items):
                    return [EngineFailed("Nobody waits for this result.") for _ in batch.items]
            return []

        return _replies(len(batch.items), listen)

    def stop(self) -> None:
        """As in `Remote`."""

    def death(self) -> WorkerDied:
        return WorkerDied("it ended", None, from_outside=True)


def _replies(count: int, call: Callable[[], Sequence[object]]) -> Sequence[object]:
    try:
        replies = call()
    except ReflectorError:
        raise
    except Exception as error:  # the client library may raise anything when a container dies
        how = f"{type(error).__name__}: {error}"
        raise WorkerDied(how, None, from_outside=True) from error
    if len(replies) != count:
        raise EngineFailed("The engine answered with the wrong number of results.")
    return replies


def portable(item: object) -> object:
    """``item`` in a form that can be sent: a recording on disk becomes one in memory."""
    return (
        PcmRecording(item.pcm.in_memory(), item.speech) if isinstance(item, FileRecording) else item
    )
