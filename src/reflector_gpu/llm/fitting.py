"""Checks answers against a JSON schema, with a limit on the work.

A client chooses the schema, and with its prompt also the answer. There are small schemas whose
check would never end. So each keyword that is evaluated costs steps, and their number is limited.
Keywords that look at everything again at each level are refused. Patterns are matched by Rust's
engine, which takes linear time.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from pydantic import JsonValue
from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema, from_json

from reflector_gpu.engines.base import needs_extra
from reflector_gpu.errors import InvalidRequest, ReflectorError
from reflector_gpu.llm.base import Schema

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError as Misfit

P = ParamSpec("P")
T = TypeVar("T")

_Keyword: TypeAlias = Callable[[Any, Any, Any, Any], "Iterator[Misfit] | None"]

SCHEMA = "schema"
"""The ``param`` of an error about the schema. Routes put the name of their own field there."""

_MOST_CHARACTERS = 100_000  # of a schema
_STEPS = 10_000_000  # of one check; each looks at about one character of schema or answer
_STEPS_A_KEYWORD = 100
_STEPS_TO_COMPILE = 2_000  # for a part of a pattern
_PARTS_A_STEP = 10  # parts of a pattern that one step tries at one character
_SHOWN = 200  # characters of a problem that an error repeats
_THOUGHT = "</think>"  # ends the thoughts of a reasoning model
_FENCE = "```"
_REPEATED = re.compile(r"\{([^{}]*)\}")
_SPACED_OUT = re.compile(r"\(\?[a-zA-Z-]*x")  # Rust's flag for comments, which may hide braces
_REFUSED = (
    "patternProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$recursiveRef",
)
_REPEATABLE = (")", "}", "*", "+", "?")  # may end a group, or a part that is repeated already
_ALL_FOR_ONE = {"allOf", "anyOf", "oneOf", "dependentSchemas"}  # check one value many times

# Threads of their own, because a hostile schema may keep one busy for seconds.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="schema")


class Unfit(Exception):
    """An answer does not fit; the text says why."""


class Fitting:
    """Checks values against one schema. `of` makes one without blocking the event loop."""

    def __init__(self, schema: Schema) -> None:
        """
        Raises:
            InvalidRequest: this is no schema, or one that is not supported.
            ModelNotInstalled: the package jsonschema is missing.
        """
        with needs_extra("JSON schemas", "llm"):
            from jsonschema.exceptions import best_match
        self._best_match = best_match
        self._schema = schema
        self._patterns: dict[str, _Pattern] = {}
        with _explained():
            if len(json.dumps(schema, allow_nan=False)) > _MOST_CHARACTERS:
                raise _unusable(f"it has more than {_MOST_CHARACTERS} characters.")
            problem = next(_errors_of_schema(schema), None)
            if problem is not None:
                raise _unusable(str(problem.message))
            self._look_at_keywords()
            self._resolver = _resolver(schema)

    @classmethod
    async def of(cls, schema: Schema) -> Fitting:
        """Raises as ``Fitting()`` does."""
        return await _apart(cls, schema)

    async def parsed(self, text: str) -> JsonValue:
        """The value in ``text``, without what models put around it.

        Raises:
            Unfit
            InvalidRequest: the schema does not work.
        """
        return await _apart(self._parsed, text)

    def _parsed(self, text: str) -> JsonValue:
        try:
            value: JsonValue = from_json(_unwrapped(text), allow_inf_nan=False)
        except ValueError:
            raise Unfit("it is not JSON.") from None
        with _explained():
            problem: Misfit | None = self._best_match(self._errors(value))
        if problem is not None:
            where = problem.json_path.removeprefix("$").removeprefix(".")
            message = problem.message[:_SHOWN]
            raise Unfit(f"{where}: {message}." if where else f"{message}.")
        return value

    def _errors(self, value: JsonValue) -> Iterator[Misfit]:
        budget = _Budget(self._schema, value)

        def match(_: Any, text: str, instance: object, __: Any) -> Iterator[Misfit]:
            if isinstance(instance, str):
                yield from self._pattern(text, budget).misfits(instance, budget)

        others: dict[str, _Keyword] = dict.fromkeys(_REFUSED, _refuse)
        others |= {"pattern": match, "uniqueItems": _unique}
        validator = _kind(budget, others)(self._schema, _resolver=self._resolver)
        found: Iterator[Misfit] = validator.iter_errors(value)
        return found

    def _look_at_keywords(self) -> None:
        """Refuse keywords that are not supported before a model does any work."""
        from referencing.jsonschema import DRAFT202012

        budget = _Budget()
        waiting: list[Any] = [self._schema]
        while waiting:
            node = waiting.pop()
            if not isinstance(node, dict):
                continue
            for name in _REFUSED:
                if name in node:
                    raise _unusable(f"{name} is not supported.")
            if "$schema" in node and node is not self._schema:
                raise _unusable("$schema is not supported below the top.")
            if "pattern" in node:
                self._pattern(node["pattern"], budget)
            waiting.extend(DRAFT202012.subresources_of(node))

    def _pattern(self, text: str, budget: _Budget) -> _Pattern:
        if text not in self._patterns:
            self._patterns[text] = _Pattern(text, budget)
        return self._patterns[text]


class _Budget:
    """The steps that are left to one check of ``values``."""

    def __init__(self, *values: object) -> None:
        self._left = _STEPS
        self._weights: dict[int, int] = {}  # by id, which is safe while the values live
        for value in values:
            self._weigh(value)

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _unusable("it takes too many steps to check.")

    def weight(self, value: object) -> int:
        """About how many characters ``value`` has, if it is in the values of this check; else 0."""
        return self._weights.get(id(value), 0)

    def _weigh(self, value: object) -> int:
        weight = 2
        if isinstance(value, str):
            weight += len(value)
        elif isinstance(value, int):
            weight += value.bit_length() // 3
        elif isinstance(value, float):
            weight += 16
        elif isinstance(value, dict):
            weight += sum(self._weigh(name) + self._weigh(one) for name, one in value.items())
        elif isinstance(value, list):
            weight += sum(map(self._weigh, value))
        self._weights[id(value)] = weight
        return weight


class _Pattern:
    """A pattern for Rust's engine. Its time grows with the text and with the pattern's parts."""

    def __init__(self, text: str, budget: _Budget) -> None:
        """
        Raises:
            InvalidRequest: Rust's engine does not know it, or it is too large.
        """
        if _SPACED_OUT.search(text):
            raise _unusable(f"the pattern {text[:_SHOWN]} is not supported.")
        self._text = text
        self._parts = _parts(text)
        budget.spend(_STEPS_TO_COMPILE * self._parts)
        try:
            self._validator = SchemaValidator(core_schema.str_schema(pattern=text))
        except SchemaError:
            raise _unusable(f"the pattern {text[:_SHOWN]} is not supported.") from None

    def misfits(self, instance: str, budget: _Budget) -> Iterator[Misfit]:
        from jsonschema.exceptions import ValidationError as Misfit

        budget.spend(len(instance) * self._parts // _PARTS_A_STEP)
        try:
            self._validator.validate_python(instance)
        except ValidationError:
            yield Misfit(f"{instance[:_SHOWN]!r} does not match {self._text[:_SHOWN]!r}")


def _parts(pattern: str) -> int:
    """An upper estimate of the parts of ``pattern`` once its repetitions are written out."""
    alone, groups = len(pattern), 1
    for found in _REPEATED.finditer(pattern):
        times = max(int(re.sub(r"\D", "", bound) or 1) for bound in found[1].split(","))
        if pattern.endswith(_REPEATABLE, 0, found.start()):
            groups *= max(times, 1)
        else:
            alone += times
    return alone * groups


def _kind(budget: _Budget, others: Mapping[str, _Keyword]) -> Any:
    """A class of validators that spend ``budget``; ``others`` replace some of its keywords."""
    import attrs
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    def counted(name: str, keyword: _Keyword) -> _Keyword:
        def check(validator: Any, wanted: Any, instance: object, whole: Any) -> Iterator[Misfit]:
            times = len(wanted) if name in _ALL_FOR_ONE else 1
            weight = budget.weight(wanted) + times * budget.weight(instance)
            budget.spend(_STEPS_A_KEYWORD + weight)
            for misfit in keyword(validator, wanted, instance, whole) or ():
                budget.spend(_STEPS_A_KEYWORD)
                yield misfit

        return check

    keywords = {**Draft202012Validator.VALIDATORS, **others}
    kind = extend(
        Draft202012Validator, {name: counted(name, one) for name, one in keywords.items()}
    )
    kind.evolve = attrs.evolve  # the package's own changes the class at a part that names a $schema
    return kind


def _errors_of_schema(schema: Schema) -> Iterator[Misfit]:
    from jsonschema import Draft202012Validator

    budget = _Budget(schema)
    kind = _kind(budget, {"uniqueItems": _unique})
    errors: Iterator[Misfit] = kind(Draft202012Validator.META_SCHEMA).iter_errors(schema)
    return errors


def _resolver(schema: Schema) -> Any:
    """Finds references inside ``schema``, and fetches none from elsewhere."""
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    root = DRAFT202012.create_resource(schema)
    address = root.id() or ""
    return Registry().with_resource(address, root).crawl().resolver(address)


def _unique(_: Any, wanted: object, instance: object, __: Any) -> Iterator[Misfit]:
    """``uniqueItems`` in linear time; the package compares each item with each."""
    from jsonschema.exceptions import ValidationError as Misfit

    if wanted is True and isinstance(instance, list):
        texts = {json.dumps(_plain(one), sort_keys=True) for one in instance}
        if len(texts) < len(instance):
            yield Misfit("two items are the same")


def _plain(value: object) -> object:
    """``value`` with whole numbers as ``int``: in JSON, 1.0 equals 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value


def _refuse(*_: object) -> None:
    """Refuse a keyword in a part that only a reference leads to."""
    raise _unusable("it refers to a part with a keyword that is not supported.")


def _unwrapped(text: str) -> str:
    """``text`` without thoughts before it and a fence around it."""
    text = text.rpartition(_THOUGHT)[2].strip()
    if not (text.startswith(_FENCE) and text.endswith(_FENCE)):
        return text
    kind, _, inner = text.removeprefix(_FENCE).removesuffix(_FENCE).partition("\n")
    return inner if kind.strip() in ("", "json") else text


async def _apart(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """The result of ``work``, which runs in one of the threads for schemas."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, partial(work, *args, **named))


@contextmanager
def _explained() -> Iterator[None]:
    """Raise `InvalidRequest` for whatever a schema makes the packages raise."""
    from referencing.exceptions import Unresolvable

    try:
        yield
    except ReflectorError:
        raise
    except Unresolvable:
        raise _unusable("it refers to what is not in it.") from None
    except RecursionError:
        raise _unusable("it is too deep, or refers to itself without end.") from None
    except Exception as error:  # wrong references make the packages raise anything
        raise _unusable(f"{type(error).__name__}: {error}") from error


def _unusable(problem: str) -> InvalidRequest:
    return InvalidRequest(f"The JSON schema cannot be used: {problem[:_SHOWN]}", param=SCHEMA)
