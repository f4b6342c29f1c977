"""What a decoder sends: JSON of these types, and raw bytes beside it.

`validation` checks them on their way in. It is apart from this because it needs pydantic: the
template would take half as long again to start.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Le, Lt

from reflector_gpu.errors import (
    EngineFailed,
    InvalidRequest,
    ReflectorError,
    ShuttingDown,
    StorageFull,
    TooLarge,
    UndecodableAudio,
)
from reflector_gpu.types import SAMPLE_RATE, SOUND, Condition, Span

HEAD = struct.Struct("<IQ")
"""The lengths of a message and of the bytes beside it, in front of both."""

ORDER, ANSWER = struct.Struct("<Bq"), struct.Struct("<q")
"""An order to the template, with the number of a process, and its answer."""

FORK, STATUS, END = range(3)
"""The orders. `FORK` comes with the socket of the new process and is answered by its number.
`STATUS` ends a process unless it has died, and is answered by its status as wait(2) tells it.
`END` ends one and is answered at once."""

NO_PROCESS = -1
"""The template's answer where it cannot fork."""

TASK_HEAD = struct.Struct("<IQ???")
"""To a decoder: the length of the task and that of the recording as far as it has arrived, and
whether that is all of it, whether it comes along, and whether there is an output. Beside it come
the open files: the recording unless it comes along, and the output."""

REACHED = struct.Struct("<QBd")
"""To a decoder that needs bytes: how many there are by now, one of these three, and the seconds
until they came. A decoder cannot measure these: it may have waited for its chunks to be taken."""

MORE_COME, ALL_THERE, LOST = range(3)

LONGEST_MESSAGE, LONGEST_DATA = 1 << 24, 1 << 28
"""Bytes; a decoder that claims to send more is broken or hostile."""

Seconds: TypeAlias = Annotated[float, Ge(0), Lt(math.inf)]
Length: TypeAlias = Annotated[int, Ge(0), Le(1 << 24)]
"""Samples of a chunk."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The recording claims to be so long, which is an estimate."""

    seconds: Seconds
    kind: Literal["claimed"] = "claimed"


@dataclass(frozen=True, slots=True)
class Passed:
    """So many seconds have been decoded."""

    seconds: Seconds
    kind: Literal["passed"] = "passed"


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk of speech is complete; ``seconds`` have been decoded by now.

    Its samples, ``float32[length]``, come beside it, unless they lie in the output.
    """

    start: Seconds
    length: Length
    voiced: tuple[Span, ...]
    seconds: Seconds
    kind: Literal["cut"] = "cut"

    @property
    def end(self) -> float:
        return self.start + self.length / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Needs:
    """The decoder waits for the byte at ``offset``, or to learn that the recording ends before."""

    offset: Annotated[int, Ge(0)]
    kind: Literal["needs"] = "needs"


@dataclass(frozen=True, slots=True)
class Ended:
    """All is done. The bytes beside it are the task's result.

    ``decoding`` and ``detecting`` are the seconds of CPU that these took.
    """

    seconds: Seconds
    condition: Condition = SOUND
    decoding: Seconds = field(default=0.0, compare=False)
    detecting: Seconds = field(default=0.0, compare=False)
    kind: Literal["ended"] = "ended"


@dataclass(frozen=True, slots=True)
class Failed:
    """The task ends with an error of our own tree, by the name of its class."""

    error: str
    message: str
    param: str | None = None
    kind: Literal["failed"] = "failed"

    @classmethod
    def by(cls, error: ReflectorError) -> Failed:
        return cls(type(error).__name__, error.message, error.param)

    def exception(self) -> ReflectorError:
        """The error to raise."""
        kind = _ERRORS.get(self.error, EngineFailed)
        return kind(self.message, param=self.param)


_ERRORS: dict[str, type[ReflectorError]] = {
    kind.__name__: kind
    for kind in (
        EngineFailed,
        InvalidRequest,
        ShuttingDown,
        StorageFull,
        TooLarge,
        UndecodableAudio,
    )
}
"""What a task may fail with, besides a fault of its own."""

DecoderMessage: TypeAlias = Claimed | Passed | Cut | Needs | Ended | Failed
Data: TypeAlias = bytes | bytearray | memoryview
Told: TypeAlias = tuple[DecoderMessage, Data]
"""A message, and the bytes beside it."""


def written(message: DecoderMessage, data: Data = b"") -> Iterator[Data]:
    """The pieces to send, in order."""
    body = json.dumps(asdict(message)).encode()
    yield HEAD.pack(len(body), len(data)) + body
    if data:
        yield data
