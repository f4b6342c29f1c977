"""What the service wants of a language model, wherever it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from pydantic import JsonValue

from reflector_gpu.types import Completion, Prompt, SamplingOptions, ToolCallPiece

Schema: TypeAlias = Mapping[str, JsonValue]
"""A JSON schema."""

Answer: TypeAlias = AsyncGenerator[str | ToolCallPiece | Completion, None]
"""Pieces of text and of tool calls, and at last the whole of them."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Functions that the model may want called: ``definitions`` and ``choice`` as OpenAI's API
    has them. ``parallel``: several at once; None is as the model's server has it."""

    definitions: Sequence[JsonValue]
    choice: JsonValue = None
    parallel: bool | None = None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One request. With a ``schema``, the answer is to be JSON that fits it, unless it calls one
    of the ``tools``."""

    prompt: Prompt
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    schema: Schema | None = None
    tools: Tools | None = None


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
    def calls_tools(self) -> bool:
        """Whether it reads tools, and messages about them."""

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
            ReflectorError: it cannot.
        """

    async def complete(self, request: CompletionRequest) -> Completion:
        """The answer; what fails on the way is tried again.

        Raises:
            ReflectorError
        """

    def stream(self, request: CompletionRequest) -> Answer:
        """The answer while it is written; once a piece has come, nothing is tried again.

        Raises:
            ReflectorError
        """

    async def aclose(self) -> None:
        """Free what it took."""
