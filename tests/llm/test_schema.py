"""Answers fit their schema or are no answers, whatever the model and the client come up with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from reflector_gpu.errors import ContextExceeded, EngineFailed
from reflector_gpu.llm import schema
from reflector_gpu.llm.base import Answer, CompletionRequest
from reflector_gpu.types import Completion, Message, Prompt

ITEMS: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"type": "string"}}},
    "required": ["items"],
}
GOOD = '{"items": ["rest"]}'


class Parrot:
    """Says the given answers, one after the other, and keeps what it was asked."""

    name = "parrot"
    summary = licence = ""
    state = "ready"

    def __init__(self, *answers: str, finish: Any = "stop", enforces_schemas: bool = False) -> None:
        self.asked: list[CompletionRequest] = []
        self.enforces_schemas = enforces_schemas
        self.calls_tools = False
        self._answers = list(answers)
        self._finish = finish

    def start(self) -> None: ...
    def check_ready(self) -> None: ...
    async def ready(self, patience: float) -> None: ...
    async def aclose(self) -> None: ...

    async def complete(self, request: CompletionRequest) -> Completion:
        self.asked.append(request)
        return Completion(self._answers.pop(0), self._finish, 1, 1)

    async def stream(self, request: CompletionRequest) -> Answer:
        found = await self.complete(request)
        yield found.text
        yield found


def request(wanted: dict[str, JsonValue] | None = ITEMS) -> CompletionRequest:
    return CompletionRequest(
        Prompt((Message("system", "Be brief."), Message("user", "What now?"))), schema=wanted
    )


def complete(model: Parrot, wanted: dict[str, JsonValue] | None = ITEMS) -> Completion:
    return asyncio.run(schema.complete(model, request(wanted)))


def stream(model: Parrot, wanted: dict[str, JsonValue] | None = ITEMS) -> Sequence[object]:
    async def gather() -> list[object]:
        return [piece async for piece in schema.stream(model, request(wanted))]

    return asyncio.run(gather())


def test_without_a_schema_nothing_is_done() -> None:
    model = Parrot("no JSON", "no JSON")
    assert complete(model, None).text == "no JSON"
    assert stream(model, None)[0] == "no JSON"
    assert model.asked == [request(None)] * 2


def test_a_model_is_told_the_schema_with_what_it_is_asked() -> None:
    model = Parrot(GOOD)
    assert complete(model).text == GOOD
    before, last = model.asked[0].prompt.messages
    assert before == Message("system", "Be brief.")
    assert last.content.startswith("What now?\n\n")
    assert json.dumps(ITEMS) in last.content


@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        f"<think>Let me see: {{}}</think>\n\n{GOOD}",
        f"```json\n{GOOD}\n```",
        f"\n```\n{GOOD}\n```\n",
        f"  {GOOD}  ",
    ],
)
def test_the_answer_is_plain_json_however_the_model_wraps_it(answer: str) -> None:
    assert complete(Parrot(answer)).text == GOOD


def test_a_model_is_told_what_does_not_fit_until_it_fits() -> None:
    model = Parrot("Let me think.", '{"items": [1]}', GOOD)
    assert complete(model).text == GOOD
    *_, said, told = model.asked[-1].prompt.messages
    assert said == Message("assistant", '{"items": [1]}')
    assert told.role == "user"
    assert "items[0]: 1 is not of type 'string'" in told.content
    assert "not JSON" in model.asked[1].prompt.messages[-1].content


def test_a_model_that_never_fits_is_an_error() -> None:
    model = Parrot(*["{}"] * schema.TRIES)
    with pytest.raises(EngineFailed, match="'items' is a required property"):
        complete(model)
    assert len(model.asked) == schema.TRIES


def test_an_answer_that_is_cut_off_is_left_as_it_is() -> None:
    model = Parrot('{"items": ["re', finish="length")
    assert complete(model).text == '{"items": ["re'
    assert len(model.asked) == 1


def test_a_model_that_is_held_to_schemas_is_checked_all_the_same() -> None:
    model = Parrot("{}", GOOD, enforces_schemas=True)
    assert complete(model).text == GOOD
    assert model.asked[0] == request()


@pytest.mark.parametrize("enforces_schemas", [False, True])
def test_streams_are_one_piece_that_fits(enforces_schemas: bool) -> None:
    thought = f"<think>Which items?</think>```json\n{GOOD}\n```"
    found = stream(Parrot("{}", thought, enforces_schemas=enforces_schemas))
    assert found == [GOOD, Completion(GOOD, "stop", 2, 2)]
    with pytest.raises(EngineFailed):
        stream(Parrot(*["{}"] * schema.TRIES, enforces_schemas=enforces_schemas))
    cut_off = Parrot("{", finish="length", enforces_schemas=enforces_schemas)
    assert stream(cut_off)[0] == "{"


class Forgetful(Parrot):
    """Has no room for more than ``room`` messages."""

    def __init__(self, room: int, *answers: str) -> None:
        super().__init__(*answers)
        self._room = room

    async def complete(self, request: CompletionRequest) -> Completion:
        if len(request.prompt.messages) > self._room:
            raise ContextExceeded("Too long.", param="messages")
        return await super().complete(request)


def test_a_correction_without_room_is_not_the_clients_fault() -> None:
    with pytest.raises(EngineFailed, match="'items' is a required property"):
        complete(Forgetful(2, "{}", GOOD))
    with pytest.raises(ContextExceeded):
        complete(Forgetful(1, GOOD))


def test_the_tokens_of_all_tries_count() -> None:
    found = complete(Parrot("{}", "{}", GOOD))
    assert (found.prompt_tokens, found.completion_tokens) == (3, 3)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_any_value_comes_through(value: JsonValue) -> None:
    wanted: dict[str, JsonValue] = {"const": value}
    assert json.loads(complete(Parrot(json.dumps(value, indent=1)), wanted).text) == value


@pytest.mark.parametrize("answer", ["NaN", "Infinity", "", "{} {}", "'items'", '{"a": 1,}'])
def test_an_answer_that_is_not_json_does_not_fit(answer: str) -> None:
    with pytest.raises(EngineFailed, match="not JSON"):
        complete(Parrot(*[answer] * schema.TRIES), {})
