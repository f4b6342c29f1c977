"""POST /v1/chat/completions: OpenAI's client, with a model that runs here and one elsewhere."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from openai import Stream
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from reflector_gpu.engines.completion.catalog import completer_of
from tests.api import llms
from tests.api.llms import CHAT, COUNT, ITEMS, SCHEMA, SUMMARY, chat, events, said, user
from tests.api.support import (
    error_of,
    eventually,
    metric,
    retry_after,
    running,
    send_raw,
)
from tests.live import LiveServer
from tests.llm.stub import Reply, Stub
from tests.processes import workers
from tests.waiting import PATIENCE_SECONDS


def streamed(server: LiveServer, text: str, **fields: Any) -> list[ChatCompletionChunk]:
    with server.openai() as client:
        made: Stream[ChatCompletionChunk] = client.chat.completions.create(
            model="llm", messages=user(text), temperature=0, stream=True, **fields
        )
        return list(made)


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_the_openai_client_gets_an_answer(either: LiveServer) -> None:
    with either.openai() as client:
        made = client.chat.completions.create(
            model="llm-tiny", messages=user("Summarize the meeting."), temperature=0
        )
    (choice,) = made.choices
    assert (choice.message.content, choice.message.role) == (SUMMARY, "assistant")
    assert (choice.finish_reason, choice.index, choice.message.refusal) == ("stop", 0, None)
    assert (made.model, made.object) == ("llm-tiny", "chat.completion")
    assert made.id.startswith("chatcmpl-")
    assert made.usage
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (15, 15)
    assert made.usage.total_tokens == 30


@pytest.mark.parametrize("stream", [False, True])
def test_a_header_says_which_model_answered(either: LiveServer, stream: bool) -> None:
    answer = chat(either, "Summarize the meeting.", stream=stream)
    assert answer.headers["X-Reflector-Model"] == "llm-tiny"


def test_a_streamed_answer_comes_in_pieces_with_its_usage(either: LiveServer) -> None:
    chunks = streamed(either, "Summarize the meeting.", stream_options={"include_usage": True})
    *pieces, end, usage = chunks
    assert text_of(pieces) == SUMMARY
    assert len(pieces) > 5
    assert [piece.choices[0].delta.role for piece in pieces] == [
        "assistant",
        *[None] * (len(pieces) - 1),
    ]
    assert all("finish_reason" in piece.choices[0].model_fields_set for piece in pieces)  # as null
    assert end.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage
    assert (usage.usage.prompt_tokens, usage.usage.completion_tokens) == (15, 15)
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_counted(llm: LiveServer, stream: bool) -> None:
    def count(kind: str) -> float:
        labels = f'kind="{kind}",model="llm-tiny"'
        return metric(llm, f"reflector_llm_tokens_total{{{labels}}}")

    before = count("prompt"), count("completion")
    chat(llm, "Count to ten.", max_tokens=3, stream=stream)
    assert (count("prompt"), count("completion")) == (before[0] + 15, before[1] + 3)


def test_an_empty_answer_says_whose_it_is(either: LiveServer) -> None:
    first, *_ = streamed(either, "Count to ten.", stop=["one"])
    assert first.choices[0].delta.role == "assistant"


def test_usage_is_sent_only_if_it_is_asked_for(either: LiveServer) -> None:
    chunks = streamed(either, "Count to ten.")
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert text_of(chunks) == COUNT


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_tokens_are_limited(either: LiveServer, name: str) -> None:
    answer = chat(either, "Count to ten.", **{name: 3}).json()
    assert answer["choices"][0]["message"]["content"] == "one two three"
    assert answer["choices"][0]["finish_reason"] == "length"
    chunks = streamed(either, "Count to ten.", **{name: 3})
    assert (text_of(chunks), chunks[-1].choices[0].finish_reason) == ("one two three", "length")


@pytest.mark.parametrize(
    ("stop", "text"),
    [(" four", "one two three"), (["x", "r fiv"], "one two three fou"), ([], COUNT), (None, COUNT)],
)
def test_stop_sequences(either: LiveServer, stop: object, text: str) -> None:
    assert said(chat(either, "Count to ten.", stop=stop)) == text
    assert text_of(streamed(either, "Count to ten.", stop=stop)) == text


def test_the_roles_of_messages_reach_the_model(either: LiveServer) -> None:
    def answered(*messages: dict[str, object]) -> str:
        with either.client() as client:
            return said(client.post(CHAT, json={"messages": messages, "temperature": 0}))

    who: dict[str, object] = {"role": "user", "content": "Who are you?"}
    assert answered(who) == "I am a tiny model."
    assert answered({"role": "system", "content": "You are Otto."}, who) == "I am Otto."
    assert answered({"role": "developer", "content": "You are Anna."}, who) == "I am Anna."
    parts = [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}]
    hello: dict[str, object] = {"role": "user", "content": parts}
    assert answered(hello) == "Hello! How can I help you?"
    assert (
        answered(
            hello,
            {"role": "assistant", "content": "Hello! How can I help you?"},
            {"role": "user", "content": "Again."},
        )
        == "Hello again!"
    )


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
    ],
)
def test_json_on_request(either: LiveServer, form: dict[str, object]) -> None:
    answer = said(chat(either, "List the action items.", response_format=form))
    assert json.loads(answer) == json.loads(ITEMS)
    chunks = streamed(either, "List the action items.", response_format=form)
    assert json.loads(text_of(chunks)) == json.loads(ITEMS)
    assert chunks[-1].choices[0].finish_reason == "stop"


class Answer(BaseModel):
    items: list[str]
    urgent: bool


def test_the_clients_own_parsing_works(either: LiveServer) -> None:
    with either.openai() as client:
        made = client.chat.completions.parse(
            model="llm",
            messages=user("List the action items."),
            response_format=Answer,
            temperature=0,
        )
    parsed = made.choices[0].message.parsed
    assert parsed == Answer(items=["send the report", "book the room"], urgent=True)


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stop": 7}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "thing"}},
                }
            },
            "response_format",
        ),
        ({"messages": user("Never stop. " * 1000)}, "messages"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_a_400_that_names_the_field(
    llm: LiveServer, fields: dict[str, Any], param: str, stream: bool
) -> None:
    assert error_of(chat(llm, "Say hello.", stream=stream, **fields), 400)["param"] == param


def test_harmless_fields_are_ignored(either: LiveServer) -> None:
    harmless = {
        "n": 1,
        "user": "me",
        "seed": 7,
        "top_p": 1.0,
        "presence_penalty": 0.5,
        "metadata": {"a": "b"},
        "tools": None,
        "logprobs": False,
        "stream_options": None,
        "unheard_of": [1],
    }
    assert said(chat(either, "Count to ten.", **harmless)) == COUNT


def test_a_prompt_over_the_context_is_told_both_numbers(either: LiveServer) -> None:
    with either.openai() as client, pytest.raises(openai.BadRequestError) as failure:
        client.chat.completions.create(model="llm", messages=user("Never stop. " * 1000))
    assert failure.value.code == "context_length_exceeded"
    assert "4011" in failure.value.message
    assert "2048" in failure.value.message


def test_another_model_is_not_found(either: LiveServer) -> None:
    error = error_of(chat(either, "Say hello.", model="gpt-none"), 404)
    assert error["code"] == "model_not_found"
    assert "llm-tiny" in error["message"]


def test_the_model_is_listed(either: LiveServer) -> None:
    with either.openai() as client:
        assert [model.id for model in client.models.list() if model.id == "llm-tiny"]
        assert client.models.retrieve("llm-tiny").id == "llm-tiny"


def test_requests_share_batches_and_get_their_own_answers(llm: LiveServer) -> None:
    asked = [("Summarize the meeting.", SUMMARY), ("Count to ten.", COUNT)] * 6
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = list(threads.map(lambda one: said(chat(llm, one[0])), asked))
    assert answers == [text for _, text in asked]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_work(
    either: LiveServer, llm: LiveServer, stream: bool
) -> None:
    body = {"messages": user("Never stop."), "temperature": 0, "stream": stream}
    with either.client() as client:
        connection = send_raw(either, client.build_request("POST", CHAT, json=body))
    eventually(lambda: running(either, "live") == 1)
    if stream:
        assert b"200 OK" in connection.recv(1000)
    connection.close()
    eventually(lambda: running(either, "live") == 0 == running(llm, "live"))
    assert said(chat(llm, "Count to ten.")) == COUNT


def test_a_deadline_ends_a_stream(llm: LiveServer) -> None:
    with llm.client() as client:
        answer = client.post(
            CHAT,
            json={"messages": user("Never stop."), "temperature": 0, "stream": True},
            headers={"X-Request-Timeout": "0.5"},
        )
    assert json.loads(events(answer)[-1])["error"]["code"] == "deadline_exceeded"


def test_a_stream_whose_worker_dies_ends_with_an_error() -> None:
    engine = completer_of(str(llms.LLM)).engine
    before = workers(engine)
    with llms.local() as server:
        body = {"messages": user("Never stop."), "temperature": 0, "stream": True}
        with server.client() as client, client.stream("POST", CHAT, json=body) as answer:
            texts = answer.iter_text()
            text = next(texts)
            for worker in workers(engine) - before:
                worker.kill()
            text += "".join(texts)
        assert "in the middle of this answer" in text
        assert text.endswith("data: [DONE]\n\n")
        assert said(chat(server, "Count to ten.")) == COUNT


def test_when_the_other_server_is_down_the_client_is_told() -> None:
    busy = Reply(status=429, body="", headers={"Retry-After": "60"})
    down = Reply(status=500, body="")
    broken = Reply(breaks_after=2)
    with Stub(busy, down, broken) as stub, llms.relay(stub.url, llm_retries=0) as server:
        answer = chat(server, "Say hello.")
        error_of(answer, 429)
        assert retry_after(answer) == 60
        error_of(chat(server, "Say hello.", stream=True), 502)
        *pieces, error = events(chat(server, "Say hello.", stream=True))
        assert [json.loads(piece)["choices"][0]["delta"]["content"] for piece in pieces] == [
            "Hello",
            " there",
        ]
        assert json.loads(error)["error"]["code"] == "upstream_failed"
        assert said(chat(server, "Say hello.")) == "Hello there."


def test_requests_beyond_the_limit_are_told_when_to_come_back() -> None:
    with Stub(Reply(holds=True)) as stub, llms.relay(stub.url, live_requests=1) as server:
        body = {"messages": user("Say hello."), "stream": True}
        with server.client() as client:
            first = send_raw(server, client.build_request("POST", CHAT, json=body))
        eventually(lambda: running(server, "live") == 1)
        answer: httpx.Response = chat(server, "Say hello.")
        error_of(answer, 429)
        assert retry_after(answer) >= 1
        eventually(lambda: stub.asked)
        first.close()
        assert stub.left.wait(PATIENCE_SECONDS)
