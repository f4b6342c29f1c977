"""Tools in chat requests: functions that a language model may call, and its earlier calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, JsonValue

from reflector_gpu.api.sent_fields import SentFields
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.llm.base import Tools
from reflector_gpu.types import ToolCall

MOST_TOOLS = 128
"""As many as OpenAI takes."""

_LONGEST_ID = 256
_LONGEST_NAME = 256  # of a function that a model called, which may be one it made up
_LONGEST_ARGUMENTS = 1_000_000
_LONGEST_DEFINITIONS = 500_000  # characters of JSON in all

CallId: TypeAlias = Annotated[str, Field(min_length=1, max_length=_LONGEST_ID)]
FunctionName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class FunctionDefinition(SentFields):
    name: FunctionName = Field(description="Letters, digits, `_` and `-`, 64 at most.")
    description: str | None = None
    parameters: dict[str, JsonValue] | None = Field(
        None, description="A JSON schema of the arguments."
    )
    strict: bool | None = None


class ToolDefinition(SentFields):
    """A function that the model may ask to call."""

    type: Literal["function"]
    function: FunctionDefinition


class FunctionChoice(SentFields):
    name: FunctionName


class ToolChoice(SentFields):
    """The function that has to be called."""

    type: Literal["function"]
    function: FunctionChoice


class SentFunction(SentFields):
    name: str = Field(min_length=1, max_length=_LONGEST_NAME)
    arguments: str = Field(max_length=_LONGEST_ARGUMENTS)


class SentToolCall(SentFields):
    """A call that the model asked for, in a message of the assistant."""

    id: CallId
    type: Literal["function"] = "function"
    function: SentFunction

    @property
    def call(self) -> ToolCall:
        return ToolCall(self.id, self.function.name, self.function.arguments)


def _none(value: object) -> object:
    return () if value is None else value


SentToolCalls: TypeAlias = Annotated[
    tuple[SentToolCall, ...], Field(max_length=MOST_TOOLS), BeforeValidator(_none)
]
ToolDefinitions: TypeAlias = Annotated[
    tuple[ToolDefinition, ...], Field(max_length=MOST_TOOLS), BeforeValidator(_none)
]
AnyToolChoice: TypeAlias = Literal["none", "auto", "required"] | ToolChoice | None


def tools_of(
    definitions: Sequence[ToolDefinition], choice: AnyToolChoice, parallel: bool | None
) -> Tools | None:
    """The tools as a language model gets them; None without any."""
    if not definitions:
        return None
    told: list[JsonValue] = [tool.model_dump(exclude_unset=True) for tool in definitions]
    chosen = choice.model_dump() if isinstance(choice, ToolChoice) else choice
    return Tools(told, chosen, parallel)


def check_tools(definitions: Sequence[ToolDefinition], choice: AnyToolChoice) -> None:
    """Check tools that a client sent.

    Raises:
        InvalidRequest: they are too long, or the choice is not among them.
    """
    length = sum(len(json.dumps(tool.model_dump(exclude_unset=True))) for tool in definitions)
    if length > _LONGEST_DEFINITIONS:
        raise InvalidRequest(
            f"The tools have {length} characters in all; {_LONGEST_DEFINITIONS} are read at most.",
            param="tools",
        )
    names = {tool.function.name for tool in definitions}
    if isinstance(choice, ToolChoice) and choice.function.name not in names:
        raise InvalidRequest(
            f"'tool_choice' wants '{choice.function.name}', which is none of the 'tools'.",
            param="tool_choice",
        )
    if choice == "required" and not names:
        raise InvalidRequest("'tool_choice' is required, but there are no 'tools'.", param="tools")
