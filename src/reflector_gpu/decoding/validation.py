"""Checks what a decoder sends.

A hostile recording may have taken the decoder over. So nothing that comes from it is unpickled, and
nothing is believed unchecked.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Discriminator, TypeAdapter

from reflector_gpu.decoding.messages import Cut, Data, DecoderMessage, Ended
from reflector_gpu.types import SAMPLE_RATE

_SAMPLE_BYTES = 4
_WINDOW_SECONDS = 0.1  # the last window of the detector may pass the end of the recording

_ADAPTER: TypeAdapter[DecoderMessage] = TypeAdapter(
    Annotated[DecoderMessage, Discriminator("kind")]
)


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
