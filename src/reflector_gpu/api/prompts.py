"""The fields of completion requests, checked in one place."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.llm.base import Ask
from reflector_gpu.types import Message, Prompt, Role, SamplingOptions

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
    """One stop sequence stands for a list of one; null is none."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _useful(stops: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(stop for stop in stops if stop)


MaxTokens: TypeAlias = Annotated[int | None, Field(ge=1, le=_MOST_TOKENS)]
Temperature: TypeAlias = Annotated[float | None, Field(ge=0, le=2)]


class LlmFields(BaseModel):
    """The body of /llm."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt: str = Field(
        min_length=1, description="What to answer.", examples=["Summarize the meeting."]
    )
    max_tokens: MaxTokens = Field(None, description="Most tokens of the answer.")
    temperature: Temperature = Field(
        None, description="0 is deterministic; left out, the engine decides."
    )
    gen_schema: dict[str, JsonValue] | None = Field(
        None, description="A JSON schema; the text is then JSON that validates against it."
    )

    @property
    def ask(self) -> Ask:
        prompt = Prompt((Message("user", self.prompt),), self.max_tokens)
        return Ask(prompt, SamplingOptions(self.temperature), self.gen_schema)


class ChatMessage(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    role: Annotated[Role, BeforeValidator(_role)] = Field(
        description="`system` (or `developer`), `user` or `assistant`."
    )
    content: Annotated[str, BeforeValidator(_joined)] = Field(
        description="Text, or a list of parts of type `text`."
    )


class JsonSchemaForm(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    form: dict[str, JsonValue] = Field({"type": "object"}, alias="schema")


class ResponseFormat(BaseModel):
    """What the answer is to be."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaForm | None = None


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    include_usage: bool | None = None


class ChatFields(BaseModel):
    """The body of /v1/chat/completions."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str | None = Field(
        None, description="The language model of /v1/models; `llm`, or left out, means it too."
    )
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    max_tokens: MaxTokens = Field(None, description="Most tokens of the answer.")
    max_completion_tokens: MaxTokens = Field(None, description="The newer name of `max_tokens`.")
    temperature: Temperature = Field(
        None, description="0 is deterministic; left out, the engine decides."
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
    tools: JsonValue = Field(None, description="Not supported.")
    functions: JsonValue = Field(None, description="Not supported.")
    logprobs: bool | None = Field(None, description="Not supported.")

    def check_supported(self) -> None:
        """Raise `InvalidRequest` for wishes that would be silently broken."""
        if self.n not in (None, 1):
            raise InvalidRequest("Only one answer is given: 'n' must be 1.", param="n")
        for name, wish in (
            ("tools", self.tools),
            ("functions", self.functions),
            ("logprobs", self.logprobs),
        ):
            if wish:
                raise InvalidRequest(f"'{name}' is not supported; leave it out.", param=name)
        wanted = self.response_format
        if wanted and wanted.type == "json_schema" and wanted.json_schema is None:
            raise InvalidRequest(
                "'response_format' of type json_schema needs 'json_schema' with a 'schema'.",
                param="response_format",
            )

    @property
    def ask(self) -> Ask:
        messages = tuple(Message(message.role, message.content) for message in self.messages)
        limits = (self.max_tokens, self.max_completion_tokens)
        limit = min((limit for limit in limits if limit is not None), default=None)
        return Ask(
            Prompt(messages, limit, self.stop),
            SamplingOptions(self.temperature, self.top_p, self.seed),
            self._schema,
        )

    @property
    def _schema(self) -> dict[str, JsonValue] | None:
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        return wanted.json_schema.form if wanted.json_schema else {"type": "object"}
