"""The protocol of endpointers: from a turn so far, how likely it is that the turn is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from reflector_gpu.engines.base import EngineSpec, Model
from reflector_gpu.engines.capability import Batching, Capability
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import SAMPLE_RATE, Samples

ENDPOINTING = Capability(
    kind="endpointer",
    purpose="hears whether somebody has finished speaking",
    method="endpoints",
    stage="endpoint",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointerSpec(EngineSpec):
    """What else the service must know about an endpointer.

    It hears the last ``window_seconds`` of a turn, and ``max_batch`` turns at once.
    """

    window_seconds: float
    max_batch: int

    @property
    def window(self) -> int:
        """Samples."""
        return int(self.window_seconds * SAMPLE_RATE)

    @property
    def batching(self) -> Batching:
        return Batching(
            max_items=self.max_batch, samples=self.max_batch * self.window, base_timeout=20.0
        )


class Endpointer(Protocol):
    """One instance lives in one process and is called by one thread."""

    def load(self) -> None:
        """As in `engines.recognition.base.Recogniser`."""

    def endpoints(
        self, turns: Sequence[Samples], options: None
    ) -> Sequence[float | ReflectorError]:
        """The probability that each of ``turns`` is complete, or an error, in order.

        A turn ends with the silence in which the question arose.
        """

    def close(self) -> None:
        """Free all resources; nothing is called after this."""


@dataclass(frozen=True, slots=True)
class EndpointerModel(Model[Samples, float]):
    """An endpointer by name."""

    capability: ClassVar[Capability] = ENDPOINTING
    spec: EndpointerSpec
