"""What a decoder sends: JSON that is checked against these types, and raw bytes beside it.

A hostile recording may have taken the decoder over. So nothing that comes from it is unpickled.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import Discriminator, Field, TypeAdapter

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

_SAMPLE_BYTES = 4
_WINDOW_SECONDS = 0.1  # the last window of the detector may pass the end of the recording

Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Length: TypeAlias = Annotated[int, Field(ge=0, le=1 << 24)]
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

    offset: Annotated[int, Field(ge=0)]
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

_ADAPTER: TypeAdapter[DecoderMessage] = TypeAdapter(
    Annotated[DecoderMessage, Discriminator("kind")]
)


def written(message: DecoderMessage, data: Data = b"") -> Iterator[Data]:
    """The pieces to send, in order."""
    body = _ADAPTER.dump_json(message)
    yield HEAD.pack(len(body), len(data)) + body
    if data:
        yield data


def read(body: Data) -> DecoderMessage:
    """The message that ``body`` holds.

    Raises:
        ValueError: it holds none.
    """
    return _ADAPTER.validate_json(bytes(body))


class MessageCheck:
    """Checks that the messages of one decoder are possible ones. Recognisers, and everything that
    comes after them, rely on that.
    """

    def __init__(self, *, with_samples: bool) -> None:
        """``with_samples``: chunks have their samples beside them."""
        self._with_samples = with_samples
        self._start = 0.0

    def __call__(self, message: DecoderMessage, data: Data) -> None:
        """
        Raises:
            ValueError: no honest decoder sends this.
        """
        if isinstance(message, Cut):
            self._check_chunk(message, data)
        elif data and not isinstance(message, Ended):
            raise ValueError(f"{len(data)} bytes beside a message of the kind {message.kind}")

    def _check_chunk(self, chunk: Cut, data: Data) -> None:
        if len(data) != (_SAMPLE_BYTES * chunk.length if self._with_samples else 0):
            raise ValueError(f"{len(data)} bytes for {chunk.length} samples")
        if chunk.start < self._start:
            raise ValueError("a chunk that begins before the one before it")
        self._start = chunk.start
        latest = chunk.length / SAMPLE_RATE + _WINDOW_SECONDS
        if not all(0 <= begin <= end <= latest for begin, end in chunk.voiced):
            raise ValueError("speech outside of its chunk")
        if not np.isfinite(np.frombuffer(data, np.float32)).all():
            raise ValueError("samples that are no numbers")
