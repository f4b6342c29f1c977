"""Tools in chat: a model on another server asks for one, and gets what the client found."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.clients.conftest import SMALL
from tests.clients.server import KEY, Server, serving
from tests.clients.support import client, run_javascript
from tests.llm.stub import Reply, Stub

FUNCTION = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
CALL = Reply(
    [{"tool_calls": [{"index": 0, "id": "call-1", "type": "function", "function": FUNCTION}]}],
    finish="tool_calls",
)
ANSWER = Reply(["It rains", " in Oslo."])

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "What the weather is like.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def model() -> Iterator[Stub]:
    """The language model on another server."""
    with Stub() as model:
        yield model


@pytest.fixture(scope="module")
def relay(model: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service in front of it."""
    settings = {**SMALL, "LLM_ENGINE": "openai", "LLM_MODEL": "model", "LLM_BASE_URL": model.url}
    with serving(tmp_path_factory.mktemp("relay"), settings) as server:
        yield server


@pytest.fixture(autouse=True)
def _replies(model: Stub) -> None:
    """The model asks for the tool, and then answers."""
    model.asked.clear()
    model.replies[:] = [CALL, ANSWER]


def check_conversation(model: Stub) -> None:
    """The tool was offered, and its result came back to the model."""
    first, second = model.asked
    assert first["tools"][0]["function"]["name"] == "get_weather"
    asked, result = second["messages"][-2:]
    (call,) = asked["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo"}
    assert (result["role"], result["tool_call_id"]) == ("tool", "call-1")
    assert "rain" in json.dumps(result["content"])


@pytest.mark.parametrize("streaming", [False, True])
def test_langchain(relay: Server, model: Stub, streaming: bool) -> None:
    messages = client("langchain_core.messages")
    chat = client("langchain_openai").ChatOpenAI(
        base_url=relay.api, api_key=KEY, model="model", max_retries=0, streaming=streaming
    )
    able = chat.bind_tools([WEATHER])
    question = messages.HumanMessage("How is the weather?")
    asked = able.invoke([question])
    (call,) = asked.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})
    result = messages.ToolMessage("rain", tool_call_id=call["id"])
    assert able.invoke([question, asked, result]).content == "It rains in Oslo."
    check_conversation(model)


def test_litellm(relay: Server, model: Stub) -> None:
    litellm = client("litellm")
    given = {"model": "openai/model", "api_base": relay.api, "api_key": KEY, "tools": [WEATHER]}
    talk: list[object] = [{"role": "user", "content": "How is the weather?"}]
    asked = litellm.completion(messages=talk, **given).choices[0].message
    (call,) = asked.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    talk += [asked, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    answer = litellm.completion(messages=talk, **given).choices[0].message
    assert answer.content == "It rains in Oslo."
    check_conversation(model)


def test_the_ai_sdk(relay: Server, model: Stub) -> None:
    run_javascript("tools.test.mjs", relay)
    check_conversation(model)
