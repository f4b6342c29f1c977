"""The fields of completion requests, checked in one place."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    model_validator,
)

from reflector_gpu.api.sent_fields import SentFields
from reflector_gpu.api.tool_fields import (
    AnyToolChoice,
    CallId,
    SentToolCalls,
    ToolDefinitions,
    check_tools,
    tools_of,
)
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.llm.base import CompletionRequest
from reflector_gpu.types import Message, Prompt, Role, SamplingOptions

_LONGEST_NAME = 256
_MOST_STOPS = 16
_MOST_TOKENS = 1_000_000


def _joined(content: object) -> object:
    """Text parts, one after the other."""
    if not isinstance(content, list):
        return content
    texts: list[str] = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") not in ("text", "input_text"):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise ValueError(f"only text parts are read, not '{str(kind)[:40]}'")
        if not isinstance(part.get("text"), str):
            raise ValueError("a text part without text")
        texts.append(part["text"])
    return "".join(texts)


def _role(value: object) -> object:
    return "system" if value == "developer" else value


def _listed(value: object) -> object:
    """A single stop sequence is a list of one, and null an empty list."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _useful(stops: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(stop for stop in stops if stop)


MaxTokens: TypeAlias = Annotated[int | None, Field(ge=1, le=_MOST_TOKENS)]
Temperature: TypeAlias = Annotated[float | None, Field(ge=0, le=2)]


class LlmFields(SentFields):
    """The body of /llm."""

    prompt: str = Field(
        min_length=1, description="What to answer.", examples=["Summarize the meeting."]
    )
    max_tokens: MaxTokens = Field(None, description="Longest answer, in tokens.")
    temperature: Temperature = Field(
        None, description="0 takes the likeliest words; left out, the model's server decides."
    )
    gen_schema: dict[str, JsonValue] | None = Field(
        None, description="A JSON schema; the text is then JSON that validates against it."
    )

    @property
    def request(self) -> CompletionRequest:
        prompt = Prompt((Message("user", self.prompt),), self.max_tokens)
        return CompletionRequest(prompt, SamplingOptions(self.temperature), self.gen_schema)


class ChatMessage(SentFields):
    """One turn of the conversation."""

    role: Annotated[Role, BeforeValidator(_role)] = Field(
        description="`system` (or `developer`), `user`, `assistant` or `tool`."
    )
    content: Annotated[str | None, BeforeValidator(_joined)] = Field(
        None,
        description="Text, or a list of parts of type `text`; null only beside `tool_calls`.",
    )
    name: str | None = Field(None, max_length=_LONGEST_NAME, description="Who says it.")
    tool_calls: SentToolCalls = Field((), description="Functions that the assistant asked to call.")
    tool_call_id: CallId | None = Field(
        None, description="The call that a message of role `tool` is the result of."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.tool_calls and self.role != "assistant":
            raise ValueError(f"'tool_calls' are the assistant's, not of role '{self.role}'")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a message of role 'tool' needs its 'tool_call_id'")
        if self.content is None and not self.tool_calls:
            raise ValueError("'content' is missing")
        return self

    @property
    def message(self) -> Message:
        return Message(
            self.role,
            self.content or "",
            self.name,
            tuple(sent.call for sent in self.tool_calls),
            self.tool_call_id,
        )

    @property
    def about_tools(self) -> bool:
        return self.role == "tool" or bool(self.tool_calls)


class JsonSchemaForm(SentFields):
    form: dict[str, JsonValue] = Field({"type": "object"}, alias="schema")


class ResponseFormat(SentFields):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaForm | None = None


class StreamOptions(SentFields):
    include_usage: bool | None = None


class ChatFields(SentFields):
    """The body of /v1/chat/completions."""

    model: str | None = Field(
        None, description="The language model of /v1/models; `llm`, or left out, means it too."
    )
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    max_tokens: MaxTokens = Field(None, description="Longest answer, in tokens.")
    max_completion_tokens: MaxTokens = Field(None, description="The newer name of `max_tokens`.")
    temperature: Temperature = Field(
        None, description="0 takes the likeliest words; left out, the model's server decides."
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="Choose among tokens of so much probability in all."
    )
    stop: Annotated[
        tuple[str, ...],
        Field(max_length=_MOST_STOPS),
        BeforeValidator(_listed),
        AfterValidator(_useful),
    ] = Field((), description="Texts that end the answer, and are not in it.")
    seed: int | None = Field(
        None, description="The same answer again, where the engine can: on another server."
    )
    response_format: ResponseFormat | None = None
    stream: bool | None = Field(None, description="Answer as server-sent events.")
    stream_options: StreamOptions | None = None
    n: int | None = None
    tools: ToolDefinitions = Field(
        (), description="Functions that a model on another server may ask to call."
    )
    tool_choice: AnyToolChoice = Field(
        None, description="`none`, `auto`, `required`, or the function that has to be called."
    )
    parallel_tool_calls: bool | None = Field(None, description="Whether several may be called.")
    functions: JsonValue = Field(None, description="Not supported: `tools` are.")
    logprobs: bool | None = Field(None, description="Not supported.")

    def check_supported(self) -> None:
        """Raise `InvalidRequest` if something would be silently ignored."""
        if self.n not in (None, 1):
            raise InvalidRequest("Only one answer is given: 'n' must be 1.", param="n")
        if self.functions:
            raise InvalidRequest(
                "'functions' is not supported; send 'tools', its newer form.", param="functions"
            )
        if self.logprobs:
            raise InvalidRequest("'logprobs' is not supported; leave it out.", param="logprobs")
        check_tools(self.tools, self.tool_choice)
        wanted = self.response_format
        if wanted and wanted.type == "json_schema" and wanted.json_schema is None:
            raise InvalidRequest(
                "'response_format' of type json_schema needs 'json_schema' with a 'schema'.",
                param="response_format",
            )

    def check_no_tools(self) -> None:
        """Raise `InvalidRequest` if the request has to do with tools."""
        if self.tools:
            raise InvalidRequest(
                "The language model of this server calls no tools; leave them out.", param="tools"
            )
        if any(message.about_tools for message in self.messages):
            raise InvalidRequest(
                "The language model of this server reads no messages about tools; leave them out.",
                param="messages",
            )

    @property
    def request(self) -> CompletionRequest:
        messages = tuple(message.message for message in self.messages)
        limits = (self.max_tokens, self.max_completion_tokens)
        limit = min((limit for limit in limits if limit is not None), default=None)
        return CompletionRequest(
            Prompt(messages, limit, self.stop),
            SamplingOptions(self.temperature, self.top_p, self.seed),
            self._schema,
            tools_of(self.tools, self.tool_choice, self.parallel_tool_calls),
        )

    @property
    def _schema(self) -> dict[str, JsonValue] | None:
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        return wanted.json_schema.form if wanted.json_schema else {"type": "object"}
