"""Tools in chat completions: passed on to a model on another server, refused where none is."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.api import llms
from tests.api.llms import CHAT, chat, events, user
from tests.api.support import error_of
from tests.live import LiveServer
from tests.llm.stub import Reply, Stub

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "What the weather is like.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}

ARGUMENTS = '{"city": "Malmö 😀"}'


def begin(index: int, call: str, name: str, arguments: str = "") -> dict[str, object]:
    """The first piece of a call, as vLLM sends it."""
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": call, "type": "function", "function": function}]}


def more(index: int, arguments: str) -> dict[str, object]:
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


# The halves of an emoji, escaped, may stand in two pieces.
ONE_CALL = Reply(
    [
        begin(0, "call-1", "get_weather"),
        more(0, '{"city": '),
        more(0, '"Malmö \ud83d'),
        more(0, '\ude00"}'),
    ],
    finish="tool_calls",
)
TWO_CALLS = Reply(
    [
        "Let me look.",
        begin(0, "call-1", "get_weather", '{"city": "Oslo"}'),
        begin(1, "call-2", "get_weather"),
        more(1, '{"city": "Rome"}'),
    ],
    finish="tool_calls",
)


@pytest.mark.parametrize("reply", [ONE_CALL, Reply(ONE_CALL.pieces, finish="stop")])
def test_a_call_comes_back_whole(reply: Reply) -> None:
    with Stub(reply) as stub, llms.relay(stub.url) as server, server.openai() as client:
        made = client.chat.completions.create(
            model="llm",
            messages=user("How is the weather?"),
            tools=[WEATHER],
            tool_choice="auto",
            parallel_tool_calls=False,
        )
    (asked,) = stub.asked
    assert asked["tools"] == [WEATHER]
    assert (asked["tool_choice"], asked["parallel_tool_calls"]) == ("auto", False)
    (choice,) = made.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert (call.id, call.function.name) == ("call-1", "get_weather")
    assert call.function.arguments == ARGUMENTS
    assert made.usage is not None
    assert made.usage.prompt_tokens == 7


def test_calls_stream_in_deltas() -> None:
    with Stub(TWO_CALLS) as stub, llms.relay(stub.url) as server, server.openai() as client:
        chunks = list(
            client.chat.completions.create(
                model="llm",
                messages=user("Compare the weather."),
                tools=[WEATHER],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    *pieces, end, usage = chunks
    deltas = [piece.choices[0].delta for piece in pieces]
    assert [delta.role for delta in deltas] == ["assistant", None, None, None]
    assert deltas[0].content == "Let me look."
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [(call.index, call.id, call.type) for call in calls] == [
        (0, "call-1", "function"),
        (1, "call-2", "function"),
        (1, None, None),
    ]
    told = [call.function for call in calls]
    assert [one and (one.name, one.arguments) for one in told] == [
        ("get_weather", '{"city": "Oslo"}'),
        ("get_weather", ""),
        (None, '{"city": "Rome"}'),
    ]
    assert end.choices[0].finish_reason == "tool_calls"
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.completion_tokens == 4


def test_the_clients_own_gathering_of_a_stream_works() -> None:
    with (
        Stub(ONE_CALL) as stub,
        llms.relay(stub.url) as server,
        server.openai() as client,
        client.chat.completions.stream(
            model="llm", messages=user("How is the weather?"), tools=[WEATHER]
        ) as stream,
    ):
        made = stream.get_final_completion()
    assert made.choices[0].message.tool_calls is not None
    assert made.choices[0].message.tool_calls[0].function.arguments == ARGUMENTS


def test_a_round_trip() -> None:
    replies = (ONE_CALL, Reply(("It ", "rains.")))
    with Stub(*replies) as stub, llms.relay(stub.url) as server, server.openai() as client:
        messages: list[ChatCompletionMessageParam] = [*user("How is the weather?")]
        first = client.chat.completions.create(model="llm", messages=messages, tools=[WEATHER])
        message = first.choices[0].message
        assert message.tool_calls is not None
        messages.append(message.to_dict())  # type: ignore[arg-type]  # what people do
        messages.append(
            {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": '{"rain": true}'}
        )
        second = client.chat.completions.create(model="llm", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "It rains."
    assert second.choices[0].message.tool_calls is None
    assert second.choices[0].finish_reason == "stop"
    call = {
        "id": "call-1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": ARGUMENTS},
    }
    assert stub.asked[1]["messages"] == [
        {"role": "user", "content": "How is the weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": '{"rain": true}', "tool_call_id": "call-1"},
    ]


def test_the_forms_of_langchain_and_litellm() -> None:
    """Lists of parts, empty texts beside calls, names on messages, and nulls everywhere."""
    call = {"type": "function", "id": "c", "function": {"name": "f", "arguments": "{}"}}
    parts = [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]
    messages = [
        {"role": "user", "content": parts, "name": "anna"},
        {"role": "assistant", "content": "", "tool_calls": [{**call, "index": 0}]},
        {"role": "tool", "content": parts, "tool_call_id": "c", "name": "f"},
        {"role": "assistant", "content": "Done.", "tool_calls": None, "function_call": None},
        {"role": "assistant", "content": [], "tool_calls": [call]},
        {"role": "tool", "content": "", "tool_call_id": "c"},
    ]
    extras = {"tools": None, "tool_choice": None, "parallel_tool_calls": None, "functions": None}
    with Stub() as stub, llms.relay(stub.url) as server, server.client() as client:
        answer = client.post(CHAT, json={"messages": messages, **extras})
    assert answer.status_code == 200, answer.text
    assert "tool_calls" not in answer.json()["choices"][0]["message"]
    (asked,) = stub.asked
    assert not asked.keys() & extras.keys()
    assert asked["messages"] == [
        {"role": "user", "content": "42", "name": "anna"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "42", "tool_call_id": "c", "name": "f"},
        {"role": "assistant", "content": "Done."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "", "tool_call_id": "c"},
    ]


def test_the_function_that_has_to_be_called_is_passed_on() -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    with Stub(ONE_CALL) as stub, llms.relay(stub.url) as server:
        assert chat(server, "Call.", tools=[WEATHER], tool_choice=choice).status_code == 200
    assert stub.asked[0]["tool_choice"] == choice


def test_a_server_that_does_not_stream_and_gives_no_ids() -> None:
    call = {"function": {"name": "get_weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call, call]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    reply = Reply(body=body, headers={"Content-Type": "application/json"})
    with Stub(reply) as stub, llms.relay(stub.url) as server:
        answer = chat(server, "Call.", tools=[WEATHER]).json()
    calls = answer["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["get_weather"] * 2
    assert len({call["id"] for call in calls}) == 2


FORM = {
    "type": "json_schema",
    "json_schema": {"name": "x", "schema": {"type": "object", "required": ["rain"]}},
}


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_binds_the_answer_and_not_the_calls(stream: bool) -> None:
    replies = (ONE_CALL, Reply(('{"rain"', ": true}")))
    with Stub(*replies) as stub, llms.relay(stub.url) as server:
        given: dict[str, Any] = {"tools": [WEATHER], "response_format": FORM, "stream": stream}
        called, answered = (chat(server, "How is it?", **given) for _ in range(2))
    assert all("response_format" in asked and "tools" in asked for asked in stub.asked)
    assert _text(answered, stream) == '{"rain": true}'
    assert not _text(called, stream)
    if stream:
        chunks = [json.loads(event)["choices"][0] for event in events(called)]
        (call,) = chunks[0]["delta"]["tool_calls"]
        finish = chunks[-1]["finish_reason"]
    else:
        (choice,) = called.json()["choices"]
        (call,), finish = choice["message"]["tool_calls"], choice["finish_reason"]
    assert call["function"] == {"name": "get_weather", "arguments": ARGUMENTS}
    assert finish == "tool_calls"


def _text(answer: httpx.Response, stream: bool) -> str:
    assert answer.status_code == 200, answer.text
    if not stream:
        return str(answer.json()["choices"][0]["message"]["content"] or "")
    chunks = [json.loads(event)["choices"][0] for event in events(answer)]
    return "".join(chunk["delta"].get("content") or "" for chunk in chunks)


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def tool(name: object = "f", **function: object) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, **function}}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"tools": "get_weather"}, "tools", "tools"),
        ({"tools": [{"type": "function"}]}, "tools", "tools.0.function"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools", "tools.0.type"),
        ({"tools": [tool("get weather")]}, "tools", "tools.0.function.name"),
        ({"tools": [tool("f" * 65)]}, "tools", "tools.0.function.name"),
        ({"tools": [tool(parameters=[])]}, "tools", "tools.0.function.parameters"),
        ({"tools": [tool()] * 129}, "tools", "128"),
        ({"tools": [tool(description="x" * 500_000)]}, "tools", "500000"),
        ({"tools": [tool()], "tool_choice": "maybe"}, "tool_choice", "tool_choice"),
        ({"tools": [tool()], "tool_choice": tool("g")}, "tool_choice", "'g'"),
        ({"tool_choice": "required"}, "tools", "no 'tools'"),
        ({"tools": [tool()], "parallel_tool_calls": "?"}, "parallel_tool_calls", "parallel"),
        ({"functions": [{"name": "f"}]}, "functions", "'tools'"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages", "tool_call_id"),
        ({"messages": [{"role": "tool", "tool_call_id": "c"}]}, "messages", "content"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages", "role"),
        ({"messages": [{"role": "assistant", "content": None}]}, "messages", "content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages", "content"),
        (
            {"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]},
            "messages",
            "assistant",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "id": ""}]}]},
            "messages",
            "tool_calls.0.id",
        ),
    ],
)
def test_what_is_wrong_with_tools_is_a_400_that_names_the_field(
    relay: LiveServer, fields: dict[str, Any], param: str, said: str
) -> None:
    error = error_of(chat(relay, "Say hello.", **fields), 400)
    assert error["param"] == param
    assert said in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [WEATHER]}, "tools"),
        ({"tools": [WEATHER], "tool_choice": "none"}, "tools"),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL]}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]}, "messages"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_runs_here_refuses_tools(
    llm: LiveServer, fields: dict[str, Any], param: str, stream: bool
) -> None:
    error = error_of(chat(llm, "Say hello.", stream=stream, **fields), 400)
    assert error["param"] == param
    assert "leave them out" in error["message"]


@pytest.mark.parametrize("choice", ["none", "auto", None])
def test_a_tool_choice_without_tools_must_be_none(either: LiveServer, choice: object) -> None:
    answer = chat(either, "Count to ten.", tools=[], tool_choice=choice, parallel_tool_calls=True)
    assert answer.json()["choices"][0]["message"]["content"] == llms.COUNT
