"""Names that a route does not know: misspelled ones are refused, others are ignored and named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar, get_args

from pydantic import BaseModel
from pydantic_core import from_json

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.suggest import suggestion

M = TypeVar("M", bound=BaseModel)

IGNORED_HEADER = "X-Reflector-Ignored"
"""The header of an answer that names what was ignored."""

_NEIGHBOURS = frozenset({"languages", "models", "speed", "top_a", "top_k", "translate"})
"""What other servers read, and clients send on purpose, though it looks like a slip of ours."""

_CHANGES_NOTHING = frozenset({"", "none", "false", "0", "transcribe"})
"""Values of a misplaced field that ask for what is done anyway."""

_MOST_COMPARED = 100
_MOST_LISTED = 20
_LONGEST = 60
_UNPRINTABLE = re.compile(r"[^\w.\[\]-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class AcceptedFields(Generic[M]):
    """The names that a route reads: those of ``model``, except what is ``unused`` there.

    ``misplaced`` are names that other routes read, each with what to do instead.
    """

    model: type[M]
    unused: frozenset[str] = frozenset()
    misplaced: Mapping[str, str] = field(default_factory=dict)

    def ignored(self, sent: Mapping[str, object]) -> list[str]:
        """What of ``sent`` has no effect.

        Raises:
            InvalidRequest: a name is misspelled, or belongs to another route.
        """
        for name, advice in self.misplaced.items():
            if str(sent.get(name, "")).lower() not in _CHANGES_NOTHING:
                raise InvalidRequest(f"'{name}' is not a field of this route: {advice}", param=name)
        strangers = {stranger.path: stranger for stranger in _strangers(sent, self.model)}
        for stranger in islice(strangers.values(), _MOST_COMPARED):
            if stranger.path not in self.misplaced:
                stranger.check()
        return [*strangers, *(name for name in sent if name in self.unused)]


@dataclass(frozen=True, slots=True)
class _Stranger:
    """A name that is none of ``known``, and where it stands, such as ``messages.nmae``."""

    path: str
    name: str
    known: Iterable[str]

    def check(self) -> None:
        """Raise `InvalidRequest` if it is a slip."""
        meant = None if self.name in _NEIGHBOURS else suggestion(self.name, self.known)
        if meant:
            path = printable(self.path)
            raise InvalidRequest(f"'{path}' is not a field; did you mean '{meant}'?", param=path)


def listed(names: Iterable[str]) -> str:
    """``names`` for a header or a log line: short, and without anything that could break one."""
    found = [printable(name) for name in names]
    more = len(found) - _MOST_LISTED
    return ",".join(found[:_MOST_LISTED] + ([f"+{more}"] if more > 0 else []))


def printable(name: str) -> str:
    return _UNPRINTABLE.sub("?", name[:_LONGEST])


def _strangers(
    sent: Mapping[str, object], model: type[BaseModel], path: str = ""
) -> Iterator[_Stranger]:
    known = {info.alias or name: info.annotation for name, info in model.model_fields.items()}
    for name, value in sent.items():
        if name not in known:
            yield _Stranger(f"{path}{name}", name, known)
        elif inner := _model_in(known[name]):
            for item in _objects(value):
                yield from _strangers(item, inner, f"{path}{name}.")


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model that describes the objects in a field, if one does."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in get_args(annotation))
    return next(filter(None, found), None)


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
