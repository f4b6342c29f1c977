"""The protocol of language models that run here: prompts in, answers out, piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from reflector_gpu.engines.base import EngineSpec, Model
from reflector_gpu.engines.capability import Batching, Capability
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import Completion, Prompt, SamplingOptions

COMPLETION = Capability(
    kind="llm",
    purpose="may be named in chat completions",
    method="complete",
    stage="complete",
    streams=True,
    reads_weights=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleterSpec(EngineSpec):
    """What else the service must know about a language model.

    One call takes ``max_batch`` prompts. A prompt and its answer have ``context`` tokens at most.
    """

    max_batch: int
    context: int

    @property
    def batching(self) -> Batching:
        # Costs are tokens. Even a large model on a slow machine writes one in a second.
        return Batching(max_items=self.max_batch, base_timeout=120.0, timeout_per_cost=1.0)


class Progress(Protocol):
    """Takes the text of answers while an engine that streams writes them."""

    def say(self, index: int, part: object) -> bool:
        """Take the next text of the answer to the prompt ``index``.

        True if nobody waits for the rest of that answer.
        """


class Completer(Protocol):
    """A language model. One instance lives in one process and is called by one thread."""

    def load(self) -> None:
        """As in `engines.recognition.base.Recogniser`."""

    def complete(
        self, prompts: Sequence[Prompt], options: SamplingOptions, progress: Progress
    ) -> Sequence[Completion | ReflectorError]:
        """Answer ``prompts``: one completion or one error for each, in order.

        ``progress`` gets the text of each answer in pieces, and all of it.

        Raises:
            EngineFailed: as in `engines.recognition.base.Recogniser`.
        """

    def close(self) -> None:
        """Free what `load` took."""


@dataclass(frozen=True, slots=True)
class CompleterModel(Model[Prompt, Completion]):
    """A language model by name."""

    capability: ClassVar[Capability] = COMPLETION
    spec: CompleterSpec
