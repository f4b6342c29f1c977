"""Requests to another server, in the form of OpenAI's API."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from reflector_gpu.llm.base import CompletionRequest
from reflector_gpu.types import Message


def body_of(request: CompletionRequest, model: str) -> dict[str, JsonValue]:
    """The body of a request for a streamed chat completion of ``model``."""
    prompt, sampling = request.prompt, request.sampling
    body: dict[str, JsonValue] = {
        "model": model,
        "messages": [_message_of(message) for message in prompt.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    wishes: Mapping[str, JsonValue] = {
        "max_tokens": prompt.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop": list(prompt.stop) or None,
    }
    body.update({name: wish for name, wish in wishes.items() if wish is not None})
    if request.schema is not None:
        form: dict[str, JsonValue] = {"name": "answer", "schema": dict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if request.tools is not None:
        body["tools"] = list(request.tools.definitions)
        if request.tools.choice is not None:
            body["tool_choice"] = request.tools.choice
        if request.tools.parallel is not None:
            body["parallel_tool_calls"] = request.tools.parallel
    return body


def _message_of(message: Message) -> dict[str, JsonValue]:
    calls: list[JsonValue] = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in message.tool_calls
    ]
    sent: dict[str, JsonValue] = {"role": message.role, "content": message.content}
    if calls:
        sent |= {"content": message.content or None, "tool_calls": calls}
    if message.tool_call_id is not None:
        sent["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        sent["name"] = message.name
    return sent
