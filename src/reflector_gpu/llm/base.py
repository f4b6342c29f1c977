"""What the service wants of a language model, wherever it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from pydantic import JsonValue

from reflector_gpu.types import Completion, Prompt, SamplingOptions

Schema: TypeAlias = Mapping[str, JsonValue]
"""A JSON schema."""

Answer: TypeAlias = AsyncGenerator[str | Completion, None]
"""Pieces of text, and at last the whole of it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. With a ``schema``, the answer is to be JSON that fits it."""

    prompt: Prompt
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    schema: Schema | None = None


class LanguageModel(Protocol):
    """Cancelling whoever waits for an answer, or closing a stream, ends the work for it."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str:
        """What it is, for those who choose."""

    @property
    def licence(self) -> str: ...

    @property
    def enforces_schemas(self) -> bool:
        """Whether it can write nothing that does not fit; else a schema is not looked at."""

    @property
    def state(self) -> str:
        """As in /v1/models."""

    def start(self) -> None:
        """Begin to load in the background, if there is anything to load."""

    def check_ready(self) -> None:
        """Raise `ReflectorError` unless it can work now."""

    async def ready(self, patience: float) -> None:
        """Wait until it can work, ``patience`` seconds at most.

        Raises:
            ReflectorError: it can not.
        """

    async def complete(self, ask: Ask) -> Completion:
        """The answer; what fails on the way is tried again.

        Raises:
            ReflectorError
        """

    def stream(self, ask: Ask) -> Answer:
        """The answer while it is written; once a piece has come, nothing is tried again.

        Raises:
            ReflectorError
        """

    async def aclose(self) -> None:
        """Free what it took."""
