"""Answers that fit a JSON schema, whether the model can be held to one or not.

A model that can not is told the schema, and what is wrong with an answer, a few times over. That
is a limit: a small model may never find an answer that fits, which is then an error. What is
answered always fits.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue
from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema, from_json

from reflector_gpu.errors import EngineFailed, InvalidRequest, ModelNotInstalled
from reflector_gpu.llm.base import Answer, Ask, LanguageModel, Schema
from reflector_gpu.types import Completion, Message

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError as Misfit

TRIES = 3

SCHEMA = "schema"
"""The ``param`` of an error about the schema itself; fields call it differently."""

_INSTRUCTION = (
    "\n\nAnswer with JSON alone, without any other text, that fits this JSON schema:\n{schema}"
)
_CORRECTION = "That does not fit the schema: {problem} Answer again, with JSON alone."
_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*)\n\s*```\s*\Z", re.DOTALL)
_THOUGHT = "</think>"  # before it, reasoning models talk to themselves
_SHOWN = 200  # characters of what is wrong
_MOST_REFERENCES = 10_000  # that may be followed for one answer: they can multiply


class Unfit(Exception):
    """An answer does not fit, and why."""


class Fitting:
    """What fits one schema."""

    def __init__(self, schema: Schema) -> None:
        """
        Raises:
            InvalidRequest: this is no schema, or one that is not supported.
            ModelNotInstalled: the package jsonschema is missing.
        """
        try:
            from jsonschema import Draft202012Validator
            from jsonschema.exceptions import SchemaError as BadSchema
            from jsonschema.validators import extend
            from referencing import Registry
        except ImportError as error:
            raise ModelNotInstalled(
                "JSON schemas need the extra 'llm': pip install 'reflector-gpu[llm]'",
                retry_after=3600,
            ) from error
        if _names(schema) & {"patternProperties", "$dynamicRef", "$recursiveRef"}:
            raise _unusable("patternProperties and dynamic references are not supported.")
        try:
            Draft202012Validator.check_schema(schema)
        except BadSchema as error:
            raise _unusable(error.message) from None
        except RecursionError:
            raise _unusable("it is too deep.") from None
        self._followed = 0
        reference = Draft202012Validator.VALIDATORS["$ref"]

        def follow(validator: Any, target: Any, instance: Any, whole: Any) -> Any:
            self._followed += 1
            if self._followed > _MOST_REFERENCES:
                raise _unusable("its references multiply too much.")
            return reference(validator, target, instance, whole)

        kind = extend(Draft202012Validator, {"$ref": follow, "pattern": _pattern})
        # The registry is empty, so nothing is fetched from anywhere.
        self._validator = kind(schema, registry=Registry())

    async def parsed(self, text: str) -> JsonValue:
        """The value that ``text`` stands for.

        Raises:
            Unfit
            InvalidRequest: the schema does not work.
        """
        return await asyncio.to_thread(self._parsed, text)

    def _parsed(self, text: str) -> JsonValue:
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        text = text.rpartition(_THOUGHT)[2]
        fenced = _FENCED.match(text)
        try:
            value: JsonValue = from_json(fenced[1] if fenced else text, allow_inf_nan=False)
        except ValueError:
            raise Unfit("it is no JSON.") from None
        self._followed = 0
        try:
            problem: Misfit | None = best_match(self._validator.iter_errors(value))
        except Unresolvable:
            raise _unusable("it refers to what is not in it.") from None
        except RecursionError:
            raise _unusable("it refers to itself without end.") from None
        if problem is not None:
            where = problem.json_path.removeprefix("$").removeprefix(".")
            message = problem.message[:_SHOWN]
            raise Unfit(f"{where}: {message}." if where else f"{message}.")
        return value


async def complete(model: LanguageModel, ask: Ask) -> Completion:
    """What ``model`` answers; with a schema, compact JSON that fits it, unless it is cut off.

    Raises:
        InvalidRequest: the schema can not be used.
        EngineFailed: none of `TRIES` answers fits.
        ReflectorError: what the model raises.
    """
    if ask.schema is None:
        return await model.complete(ask)
    fitting = Fitting(ask.schema)
    if not model.enforces_schemas:
        ask = _instructed(ask, ask.schema)
    problem = ""
    for _ in range(TRIES):
        found = await model.complete(ask)
        if found.finish == "length":
            return found
        try:
            value = await fitting.parsed(found.text)
        except Unfit as error:
            problem = str(error)
            ask = _corrected(ask, found.text, problem)
        else:
            return replace(found, text=json.dumps(value, ensure_ascii=False))
    raise _hopeless(problem)


async def stream(model: LanguageModel, ask: Ask) -> Answer:
    """`complete`, in pieces. With a schema that the model can not be held to, in a single one.

    Raises:
        ReflectorError: as `complete`; perhaps only at the end, when the pieces are out.
    """
    if ask.schema is None or model.enforces_schemas:
        fitting = Fitting(ask.schema) if ask.schema is not None else None
        async with aclosing(model.stream(ask)) as pieces:
            async for piece in pieces:
                if fitting and isinstance(piece, Completion) and piece.finish == "stop":
                    try:
                        await fitting.parsed(piece.text)
                    except Unfit as error:
                        raise _hopeless(str(error)) from None
                yield piece
        return
    found = await complete(model, ask)
    yield found.text
    yield found


def _instructed(ask: Ask, schema: Schema) -> Ask:
    *before, last = ask.prompt.messages
    told = _INSTRUCTION.format(schema=json.dumps(schema, ensure_ascii=False))
    return _with_messages(ask, *before, replace(last, content=last.content + told))


def _corrected(ask: Ask, text: str, problem: str) -> Ask:
    return _with_messages(
        ask,
        *ask.prompt.messages,
        Message("assistant", text),
        Message("user", _CORRECTION.format(problem=problem)),
    )


def _with_messages(ask: Ask, *messages: Message) -> Ask:
    return replace(ask, prompt=replace(ask.prompt, messages=messages))


def _pattern(_: Any, pattern: str, instance: object, __: Any) -> Iterator[Misfit]:
    """Matched by Rust's engine, in linear time: the pattern is the client's."""
    from jsonschema.exceptions import ValidationError as Misfit

    if not isinstance(instance, str):
        return
    try:
        validator = SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError:
        raise _unusable(f"the pattern {pattern[:_SHOWN]} is not supported.") from None
    try:
        validator.validate_python(instance)
    except ValidationError:
        yield Misfit(f"{instance[:_SHOWN]!r} does not match {pattern[:_SHOWN]!r}")


def _names(node: object) -> set[str]:
    """Every key of every object in ``node``."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found.update(one)
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return found


def _unusable(problem: str) -> InvalidRequest:
    return InvalidRequest(f"The JSON schema can not be used: {problem[:_SHOWN]}", param=SCHEMA)


def _hopeless(problem: str) -> EngineFailed:
    return EngineFailed(
        f"The language model did not answer with JSON that fits the schema, the last time because "
        f"{problem} A simpler schema or a larger model may help.",
        retry_after=1,
    )
