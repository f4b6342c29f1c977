"""Names in what a client sends that its model has not, and those of them that look misspelled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import get_args

from pydantic import BaseModel
from pydantic_core import from_json

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.suggest import suggestion

NEIGHBOURS = frozenset({"languages", "models", "speed", "top_a", "top_k", "translate"})
"""Fields of other servers that clients send on purpose, though they look like misspelled ones."""

_MOST_COMPARED = 100
_LONGEST = 60
_UNPRINTABLE = re.compile(r"[^\w.\[\]-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A name that is not ``known``, and the path to it, such as ``messages.nmae``."""

    path: str
    name: str
    known: Iterable[str]


def unknown_fields(
    values: Mapping[str, object], *models: type[BaseModel], path: str = ""
) -> Iterator[UnknownField]:
    """The names in ``values``, and in the objects in them, that none of the ``models`` has."""
    known = _known(models)
    for name, value in values.items():
        if name not in known:
            yield UnknownField(f"{path}{name}", name, known)
        elif inner := known[name]:
            for item in _objects(value):
                yield from unknown_fields(item, *inner, path=f"{path}{name}.")


def check_spelling(unknown: Iterable[UnknownField]) -> None:
    """Raise `InvalidRequest` for a name that looks misspelled. `NEIGHBOURS` never do."""
    for field in islice(unknown, _MOST_COMPARED):
        meant = None if field.name in NEIGHBOURS else suggestion(field.name, field.known)
        if meant:
            path = printable(field.path)
            raise InvalidRequest(f"'{path}' is not a field; did you mean '{meant}'?", param=path)


def printable(name: str) -> str:
    """``name`` shortened, without characters that could break a header or a line of the log."""
    return _UNPRINTABLE.sub("?", name[:_LONGEST])


@cache
def _known(models: tuple[type[BaseModel], ...]) -> Mapping[str, Sequence[type[BaseModel]]]:
    """The names that any of ``models`` has, each with the models of the objects in it."""
    known: dict[str, list[type[BaseModel]]] = {}
    for model in models:
        for name, info in model.model_fields.items():
            known.setdefault(info.alias or name, []).extend(_models_in(info.annotation))
    return known


def _models_in(annotation: object) -> Sequence[type[BaseModel]]:
    """The models that an object in a field may have."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    """The objects in a field's value; forms send them as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = from_json(value)
        except ValueError:
            return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item
