"""The answers and stream events of the OpenAI chat API, as openai-python 3.54 types them."""

from __future__ import annotations

import json
import time
import uuid
from typing import Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from reflector_gpu.formats.schemas import Body
from reflector_gpu.types import Completion, ToolCallPiece


class LlmText(Body):
    """The answer of /llm."""

    text: str = Field(
        description="The answer; with `gen_schema`, JSON.", examples=["The budget was agreed on."]
    )


class CalledFunction(Body):
    name: str
    arguments: str = Field(description="JSON, as the model wrote it.")


class CalledTool(Body):
    """A function that the model asks to call."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AnswerMessage(Body):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: tuple[CalledTool, ...] | None = Field(
        None, description="Left out if the model calls nothing."
    )

    @model_serializer(mode="wrap")
    def _without_no_calls(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        said: dict[str, object] = serialize(self)
        if self.tool_calls is None:
            del said["tool_calls"]
        return said


class Choice(Body):
    index: Literal[0] = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length", "tool_calls"]


class TokenUsage(Body):
    """Tokens; 0 where another server does not count them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(Body):
    """The answer of /v1/chat/completions."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Seconds since 1970.")
    model: str
    choices: tuple[Choice]
    usage: TokenUsage


class FunctionDelta(Body):
    name: str | None = None
    arguments: str


class ToolDelta(Body):
    """More of a call; the first piece has its id and name."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionDelta


class Delta(Body):
    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: tuple[ToolDelta, ...] | None = None


class ChunkChoice(Body):
    index: Literal[0] = 0
    delta: Delta
    finish_reason: Literal["stop", "length", "tool_calls"] | None = None


class ChatChunk(Body):
    """A piece of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: TokenUsage | None = None


class ChatRenderer:
    """Writes one answer of ``model``. All that is sent of it has the same id."""

    def __init__(self, model: str) -> None:
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = model
        self._begun = False

    def whole(self, completion: Completion) -> str:
        """The whole answer as JSON. Like OpenAI's, it has null for what is absent."""
        calls = tuple(
            CalledTool(
                id=call.id, function=CalledFunction(name=call.name, arguments=call.arguments)
            )
            for call in completion.tool_calls
        )
        message = AnswerMessage(
            content=completion.text or None if calls else completion.text,
            tool_calls=calls or None,
        )
        return ChatCompletion(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=(Choice(message=message, finish_reason=completion.finish),),
            usage=usage(completion),
        ).model_dump_json()

    def piece(self, text: str) -> str:
        """An event with more text."""
        return self._event(ChunkChoice(delta=self._delta(text)))

    def tool_call(self, piece: ToolCallPiece) -> str:
        """An event with more of a tool call."""
        delta = self._delta()
        call = ToolDelta(
            index=piece.index,
            id=piece.id,
            type="function" if piece.id is not None else None,
            function=FunctionDelta(name=piece.name, arguments=piece.arguments),
        )
        return self._event(ChunkChoice(delta=delta.model_copy(update={"tool_calls": (call,)})))

    def end(self, completion: Completion) -> str:
        """The last event of the text, which says why it ends."""
        return self._event(ChunkChoice(delta=self._delta(), finish_reason=completion.finish))

    def usage(self, completion: Completion) -> str:
        """The event with the tokens that were used."""
        return self._event(used=usage(completion))

    def _delta(self, text: str | None = None) -> Delta:
        """The content of an event. The first one has the role."""
        role: Literal["assistant"] | None = None if self._begun else "assistant"
        self._begun = True
        return Delta(role=role, content=text)

    def _event(self, *choices: ChunkChoice, used: TokenUsage | None = None) -> str:
        chunk = ChatChunk(
            id=self._id, created=self._created, model=self._model, choices=choices, usage=used
        )
        said = chunk.model_dump(exclude_none=True)
        for choice in said["choices"]:
            choice.setdefault("finish_reason", None)  # null until the end, as OpenAI's
        return f"data: {json.dumps(said, ensure_ascii=False, separators=(',', ':'))}\n\n"


def usage(completion: Completion) -> TokenUsage:
    prompt, answer = completion.prompt_tokens, completion.completion_tokens
    return TokenUsage(prompt_tokens=prompt, completion_tokens=answer, total_tokens=prompt + answer)
