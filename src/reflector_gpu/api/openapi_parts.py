"""What descriptions of routes are made of, and when."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from pydantic import BaseModel, JsonValue

from reflector_gpu.api.errors import ErrorBody

Extra = dict[str, JsonValue]

ERRORS = {
    "400": "A field or the audio cannot be used",
    "401": "No key, or a wrong one",
    "404": "Unknown model, or the audio URL answers 404",
    "413": "Too many bytes or seconds",
    "429": "The server is full; see Retry-After",
    "503": "The model is not installed or still loads; see Retry-After",
}


class _Later(Mapping[str, JsonValue]):
    """What a route adds to the OpenAPI document, made when the document is asked for."""

    def __init__(self, make: Callable[[], Extra]) -> None:
        self._made = functools.cache(make)

    def __getitem__(self, key: str) -> JsonValue:
        return self._made()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made())

    def __len__(self) -> int:
        return len(self._made())


def later(make: Callable[[], Extra]) -> Extra:
    """What ``make`` returns, made when FastAPI first looks into it.

    All of them together take as long as a fifth of a server's imports.
    """
    return cast("Extra", _Later(make))  # FastAPI asks for a dict, and only reads it


@functools.cache
def inlined(model: type[BaseModel]) -> Extra:
    """The JSON schema of ``model`` with its definitions written out in place. It is not to be
    changed: several routes share it."""
    schema: Extra = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    assert isinstance(definitions, dict)

    def resolve(node: JsonValue) -> JsonValue:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str):
            return resolve(definitions[reference.rsplit("/", 1)[1]])
        # /docs would fill a form in with every default, even with null. A discriminator names
        # definitions, which are no more.
        kept = (
            (name, value)
            for name, value in node.items()
            if (name, value) != ("default", None) and name != "discriminator"
        )
        return {key: resolve(value) for key, value in kept}

    resolved = resolve(schema)
    assert isinstance(resolved, dict)
    return resolved


def answers(
    *models: type[BaseModel],
    texts: Sequence[str] = (),
    example: JsonValue,
    errors: Mapping[str, str],
) -> Extra:
    schemas: list[JsonValue] = [inlined(model) for model in models]
    content: Extra = {
        "application/json": {
            "schema": {"anyOf": schemas} if len(schemas) > 1 else schemas[0],
            "example": example,
        }
    }
    content |= {media_type: {"schema": {"type": "string"}} for media_type in texts}
    return {"200": {"description": "The answer", "content": content}, **failures(errors)}


def failures(errors: Mapping[str, str]) -> Extra:
    return {
        status: {
            "description": reason,
            "content": {"application/json": {"schema": inlined(ErrorBody)}},
        }
        for status, reason in sorted(errors.items())
    }


def json_in(model: type[BaseModel]) -> Extra:
    return {"required": True, "content": {"application/json": {"schema": inlined(model)}}}
