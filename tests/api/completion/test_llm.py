"""POST /llm: a prompt in, text out; with a schema, JSON that fits it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.api.llms import COUNT, ITEMS, SCHEMA, SUMMARY
from tests.api.support import error_of
from tests.live import LiveServer


def ask(server: LiveServer, prompt: str, **fields: object) -> httpx.Response:
    with server.client() as client:
        return client.post("/llm", json={"prompt": prompt, "temperature": 0, **fields})


def test_a_prompt_is_answered(either: LiveServer) -> None:
    answer = ask(either, "Summarize the meeting.")
    assert (answer.status_code, answer.json()) == (200, {"text": SUMMARY})


def test_tokens_are_limited(either: LiveServer) -> None:
    assert ask(either, "Count to ten.", max_tokens=2).json() == {"text": "one two"}
    assert ask(either, "Count to ten.", max_tokens=None).json() == {"text": COUNT}


def test_with_a_schema_the_text_is_json_that_fits(either: LiveServer) -> None:
    answer = ask(either, "List the action items.", gen_schema=SCHEMA)
    assert answer.status_code == 200
    assert json.loads(answer.json()["text"]) == json.loads(ITEMS)


def test_a_model_that_answers_badly_is_asked_again(llm: LiveServer) -> None:
    assert ask(llm, "Answer badly.").json() == {"text": "There is nothing to do."}
    again = ask(llm, "Answer badly.", gen_schema=SCHEMA)
    assert again.json() == {"text": ITEMS}


def test_a_model_that_never_fits_is_an_error(either: LiveServer) -> None:
    answer = ask(either, "Never answer well.", gen_schema=SCHEMA)
    assert answer.status_code in (502, 503)
    assert "error" in answer.json()


def test_json_that_is_cut_off_is_an_error_about_the_limit(llm: LiveServer) -> None:
    answer = ask(llm, "List the action items.", gen_schema=SCHEMA, max_tokens=5)
    error = error_of(answer, 400)
    assert error["param"] == "max_tokens"
    assert "5 tokens" in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"gen_schema": "object"}, "gen_schema"),
        ({"gen_schema": {"type": "thing"}}, "gen_schema"),
        ({"gen_schema": {"properties": {"a": {"unevaluatedItems": False}}}}, "gen_schema"),
        ({"gen_schema": {"enum": ["word"] * 20_000}}, "gen_schema"),
    ],
)
def test_a_bad_field_is_named(llm: LiveServer, fields: dict[str, Any], param: str) -> None:
    answer = ask(llm, **{"prompt": "Say hello.", **fields})
    assert error_of(answer, 400)["param"] == param


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_in_a_schema_are_finite(either: LiveServer, number: str) -> None:
    body = f'{{"prompt": "Say hello.", "gen_schema": {{"maximum": {number}}}}}'
    with either.client() as client:
        assert error_of(client.post("/llm", content=body), 400)["param"] == "gen_schema"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"prompt"', b'{"prompt": "\xff"}'])
def test_a_body_that_is_no_object_is_told_so(llm: LiveServer, body: bytes) -> None:
    with llm.client() as client:
        error_of(client.post("/llm", content=body), 400)


def test_a_prompt_over_the_context_is_told_both_numbers(either: LiveServer) -> None:
    error = error_of(ask(either, "Never stop. " * 1000), 400)
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "prompt"
    assert "4011" in error["message"]
    assert "2048" in error["message"]


def test_a_prompt_far_over_the_context_is_not_even_read(llm: LiveServer) -> None:
    error = error_of(ask(llm, "Never stop. " * 10_000), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert "120000 characters" in error["message"]
    assert "2048 tokens" in error["message"]


def test_without_a_key_nothing_is_answered(llm: LiveServer) -> None:
    for path in ("/llm", "/v1/chat/completions"):
        with llm.client(key=None) as client:
            error_of(client.post(path, json={"prompt": "Say hello."}), 401)


def test_a_server_without_a_language_model_says_what_to_set(scripted: LiveServer) -> None:
    answer = ask(scripted, "Say hello.")
    error = error_of(answer, 404)
    assert error["code"] == "not_configured"
    assert "REFLECTOR_LLM_ENGINE" in error["message"]
    assert "retry-after" not in answer.headers, "it does not help"
