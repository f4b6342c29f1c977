"""The protocol of a language model, which may run here or on another server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from pydantic import JsonValue

from reflector_gpu.types import Completion, Prompt, SamplingOptions, ToolCallPiece

Schema: TypeAlias = Mapping[str, JsonValue]
"""A JSON schema."""

Answer: TypeAlias = AsyncGenerator[str | ToolCallPiece | Completion, None]
"""Pieces of text and of tool calls, and at the end the whole answer."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Functions that the model may ask to call.

    ``definitions`` and ``choice`` are as in OpenAI's API. ``parallel`` says whether the model may
    ask for several at once; None leaves that to its server.
    """

    definitions: Sequence[JsonValue]
    choice: JsonValue = None
    parallel: bool | None = None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One request. With a ``schema``, the answer is JSON that fits it, or a call of ``tools``."""

    prompt: Prompt
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    schema: Schema | None = None
    tools: Tools | None = None


class LanguageModel(Protocol):
    """Answers prompts. Cancelling the wait for an answer, or closing a stream, ends the work."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str:
        """What it is, in one line."""

    @property
    def licence(self) -> str: ...

    @property
    def enforces_schemas(self) -> bool:
        """Whether its answers always fit a schema. If not, it does not look at schemas."""

    @property
    def calls_tools(self) -> bool:
        """Whether it reads tools and messages about them."""

    @property
    def state(self) -> str:
        """Its state, as /v1/models shows it."""

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
        """The answer. What fails on the way is tried again.

        Raises:
            ReflectorError
        """

    def stream(self, request: CompletionRequest) -> Answer:
        """The answer while it is written. Once a piece has come, nothing is tried again.

        Raises:
            ReflectorError
        """

    async def aclose(self) -> None:
        """Free what it took."""
