"""What fits a schema is found, whatever schema and answer are made to do to who looks for it."""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import JsonValue

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.llm.fitting import SCHEMA, Fitting, Unfit

Object: TypeAlias = dict[str, JsonValue]

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def fits(schema: Object, value: JsonValue) -> bool:
    return fits_text(schema, json.dumps(value))


async def _fits(schema: Object, text: str) -> bool:
    fitting = await Fitting.of(schema)
    try:
        await fitting.parsed(text)
    except Unfit:
        return False
    return True


def fits_text(schema: Object, text: str) -> bool:
    return asyncio.run(_fits(schema, text))


def refused(schema: Object, value: JsonValue = None) -> str:
    """What is wrong with ``schema``, which must not be found only when it is too late."""
    with pytest.raises(InvalidRequest) as failure:
        fits(schema, value)
    assert failure.value.param == SCHEMA
    return failure.value.message


def nested(keyword: str, depth: int) -> Object:
    schema: Object = {"type": "object"}
    for _ in range(depth):
        schema = {keyword: False, "allOf": [schema]}
    return schema


def multiplied(keyword: str, end: JsonValue) -> Object:
    """Each of 40 definitions refers to the next one twice."""
    definitions: Object = {
        f"a{n}": {keyword: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)
    }
    return {"$ref": "#/$defs/a0", "$defs": {**definitions, "a40": end}}


UNUSABLE: dict[str, Object] = {
    "no such type": {"type": "thing"},
    "no list": {"required": "items"},
    "elsewhere": {"$ref": "http://127.0.0.1:1/schema.json"},
    "a file": {"$ref": "file:///etc/passwd"},
    "nowhere": {"$ref": "#/$defs/nothing"},
    "no anchor": {"$ref": "#nothing"},
    "without end": {"$ref": "#"},
    "pattern properties": {"patternProperties": {"(a+)+$": {"type": "string"}}},
    "dynamic": {"$dynamicRef": "#x"},
    "properties twice": nested("unevaluatedProperties", 30),
    "items twice": nested("unevaluatedItems", 30),
    "behind a property": {"properties": {"a": {"items": {"unevaluatedItems": False}}}},
    "odd pattern": {"properties": {"items": {"pattern": "(?<=a)b"}}},
    "a pattern that overflows": {"pattern": "a{99999999999999}"},
    "a pattern with a number that is none": {"pattern": "a{" + "9" * 5000 + "}"},
    "a large pattern": {"pattern": "(a{1000}){1000}"},
    "a pattern with comments": {"pattern": "(?sx)a{1#}\n000}"},
    "many patterns": {"allOf": [{"pattern": rf"\w{{200}}{n}"} for n in range(100)]},
    "another draft below": {"properties": {"a": {"$schema": DRAFT, "pattern": "^(a+)+$"}}},
    "a number for a schema": {"$ref": "#/const", "const": 5},
    "a word for an index": {"$ref": "#/allOf/x", "allOf": [{}]},
    "not finite": {"const": float("nan")},
    "infinite": {"maximum": float("inf")},
    "large": {"enum": ["word"] * 20_000},
    "many words": {"description": "word" * 30_000},
}


@pytest.mark.parametrize("schema", UNUSABLE.values(), ids=UNUSABLE)
def test_a_schema_that_can_not_be_used_is_the_clients_fault(schema: Object) -> None:
    assert "JSON schema" in refused(schema, "aab")


def test_a_schema_that_is_deeper_than_the_stack_is_refused() -> None:
    schema: Object = {}
    for _ in range(400):
        schema = {"not": schema}
    assert "too deep" in refused(schema)


HIDDEN: dict[str, Object] = {
    "pattern properties": {"patternProperties": {"(a+)+$": {}}},
    "twice": nested("unevaluatedProperties", 30),
    "dynamic": {"$dynamicRef": "#x"},
}


@pytest.mark.parametrize("schema", HIDDEN.values(), ids=HIDDEN)
def test_what_is_not_supported_can_not_be_smuggled_in_as_a_value(schema: Object) -> None:
    assert "not supported" in refused({"$ref": "#/default", "default": schema}, {"a": 1})
    assert fits({"default": schema}, {"a": 1})


HARD: dict[str, tuple[Object, JsonValue]] = {
    "references that multiply": (multiplied("allOf", {"type": "object"}), {}),
    "alternatives that multiply": (multiplied("anyOf", False), {}),
    "each with each": ({"items": {"enum": [*range(10_000, 20_000)]}}, [7] * 10_000),
    "many alternatives for much": ({"oneOf": [{}, *[False] * 2000]}, ["word"] * 10_000),
    "everything is missing": ({"items": {"required": [f"a{n}" for n in range(5000)]}}, [{}] * 900),
    "a pattern with many parts": ({"pattern": "[ab]*a[ab]{10000}c"}, "aab" * 10_000),
    "a pattern that repeats repetitions": (
        {"pattern": "[ab]*a[ab]{20}{ 20 }{0,20}c"},
        "aab" * 9999,
    ),
    "a pattern with parts in parts": ({"pattern": "[ab]*a(([ab]{20}){20}){20}c"}, "aab" * 10_000),
}


@pytest.mark.parametrize(("schema", "value"), HARD.values(), ids=HARD)
def test_a_check_that_takes_too_long_is_given_up(schema: Object, value: JsonValue) -> None:
    assert "too many steps" in refused(schema, value)


def test_a_number_that_the_arithmetic_does_not_reach_is_the_schemas_fault() -> None:
    assert "OverflowError" in refused({"multipleOf": 10**400}, 1.5)


PERSON: Object = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
        "id": {"pattern": "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$"},
        "boss": {"anyOf": [{"$ref": "#/$defs/person"}, {"type": "null"}]},
    },
    "required": ["name", "boss"],
    "additionalProperties": False,
}
PEOPLE: Object = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$id": "https://example.com/people.json",
    "type": "array",
    "items": {"$ref": "#/$defs/person"},
    "$defs": {"person": PERSON},
}
OTTO: Object = {"name": "Otto", "zip": "12345", "id": "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"}


def test_long_answers_to_plain_schemas_are_checked_to_the_end() -> None:
    boss: Object = {**OTTO, "boss": None}
    people: list[JsonValue] = [{**OTTO, "boss": boss} for _ in range(300)]
    assert fits(PEOPLE, people)
    assert not fits(PEOPLE, [*people, {**OTTO, "boss": {**OTTO, "boss": 7}}])


def test_a_schema_of_many_parts_is_read() -> None:
    schema: Object = {"properties": {f"property{n}": {"type": "integer"} for n in range(1000)}}
    assert fits(schema, {"property999": 1})
    assert not fits(schema, {"property999": "one"})


def test_a_pattern_that_takes_other_engines_for_ever_does_not() -> None:
    """``re`` would need longer than the universe has been there."""
    schema: Object = {"pattern": "^(a+)+$"}
    assert not fits(schema, "a" * 60 + "!")


def test_a_draft_that_is_named_does_not_change_the_rules() -> None:
    """``re`` does not know this pattern."""
    letters: Object = {"$schema": DRAFT, "pattern": r"^\p{L}+$"}
    behind: Object = {"$ref": "#/default", "default": letters}
    for schema in (letters, behind):
        assert fits(schema, "Köln")
        assert not fits(schema, "Köln 7")


def test_patterns_are_searched_for() -> None:
    assert fits({"pattern": "ab"}, "xaby")
    assert not fits({"pattern": "^x"}, "ab")
    assert fits({"pattern": "^x"}, 7)
    assert fits({"pattern": r"^\p{L}+$"}, "Köln")
    assert not fits({"pattern": r"^\p{L}+$"}, "Köln 7")


@pytest.mark.parametrize("name", ["patternProperties", "$dynamicRef", "unevaluatedItems"])
def test_properties_and_values_may_be_called_like_keywords(name: str) -> None:
    schema: Object = {
        "properties": {name: {"type": "integer"}},
        "required": [name],
        "not": {"enum": [{name: 7}]},
        "default": {name: 1},
    }
    assert fits(schema, {name: 1})
    assert not fits(schema, {name: 7})
    assert not fits(schema, {name: "one"})


@pytest.mark.parametrize(
    ("value", "unique"),
    [
        ([1, 2, "1", [1], {"a": 1}, None, True, False, 0], True),
        ([1, 1.0], False),
        ([[{"a": [0.0]}], [{"a": [0]}]], False),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], False),
        ([[n] if n % 2 else {"a": n} for n in range(10_000)], True),
        (7, True),
    ],
)
def test_items_that_are_to_differ(value: JsonValue, unique: bool) -> None:
    assert fits({"uniqueItems": True}, value) is unique
    assert fits({"uniqueItems": False}, value)


@pytest.mark.parametrize(
    "text",
    [
        "```json\n{}\n```",
        "```\n{}```",
        "```JSON \n{}\n```",
        "<think>```</think>```json\n\n{}\n\n```",
        "<think>I end with </think>, as told.</think>{}",
        " \n{} \n",
    ],
)
def test_fences_and_thoughts_around_json_are_taken_off(text: str) -> None:
    assert fits_text({"type": "object"}, text) is (not text.startswith("```JSON"))


@pytest.mark.parametrize("text", ["```", "``````", "```json", "```" + "\n " * 50_000 + "x"])
def test_a_fence_around_nothing_is_no_json(text: str) -> None:
    assert not fits_text({}, text)


LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2)
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([{"type": kind} for kind in ("object", "array", "string", "integer", "null")])
    | st.builds(lambda value: {"const": value}, LEAVES),
    lambda inner: (
        st.builds(lambda one: {"items": one}, inner)
        | st.builds(lambda one: {"not": one}, inner)
        | st.builds(lambda one: {"properties": {"a": one}, "additionalProperties": False}, inner)
        | st.builds(
            lambda name, some: {name: some},
            st.sampled_from(["allOf", "anyOf", "oneOf"]),
            st.lists(inner, min_size=1, max_size=3),
        )
    ),
    max_leaves=6,
)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(SCHEMAS, VALUES)
def test_the_package_alone_would_say_the_same(schema: Object, value: JsonValue) -> None:
    assert fits(schema, value) == Draft202012Validator(schema).is_valid(value)
