"""The names of fields that a route accepts.

Others are refused if they look misspelled or belong to another route. If not, they are ignored, and
the answer names them.
"""

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
"""The header that names the fields that were ignored."""

_NEIGHBOURS = frozenset({"languages", "models", "speed", "top_a", "top_k", "translate"})
"""Fields of other servers that clients send on purpose, though they look like misspelled ones."""

_CHANGES_NOTHING = frozenset({"", "none", "false", "0", "transcribe"})
"""Values of a misplaced field that change nothing, because they ask for the default."""

_MOST_COMPARED = 100
_MOST_LISTED = 20
_LONGEST = 60
_UNPRINTABLE = re.compile(r"[^\w.\[\]-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class AcceptedFields(Generic[M]):
    """The fields of ``model`` that a route accepts. Those that are ``unused`` have no effect there.

    ``misplaced`` has names that other routes accept, each with advice for the client. ``granular``
    says that asking for the times of words has no effect but in `verbose_json`, and in the answer
    without a format, which has them anyway. Clients that always ask for segments ask for nothing.
    """

    model: type[M]
    unused: frozenset[str] = frozenset()
    misplaced: Mapping[str, str] = field(default_factory=dict)
    granular: bool = False

    def ignored(self, values: Mapping[str, object]) -> list[str]:
        """The names in ``values`` that have no effect.

        Raises:
            InvalidRequest: a name is misspelled, or belongs to another route.
        """
        for name, advice in self.misplaced.items():
            if str(values.get(name, "")).lower() not in _CHANGES_NOTHING:
                raise InvalidRequest(f"'{name}' is not a field of this route: {advice}", param=name)
        unknown = {found.path: found for found in _unknown(values, self.model)}
        for found in islice(unknown.values(), _MOST_COMPARED):
            if found.path not in self.misplaced:
                found.check()
        unused = set(self.unused)
        formats_with_words = (None, "", "verbose_json")
        if (
            self.granular
            and values.get("response_format") not in formats_with_words
            and "word" in str(values.get("timestamp_granularities"))
        ):
            unused.add("timestamp_granularities")
        return [*unknown, *(name for name in values if name in unused)]


@dataclass(frozen=True, slots=True)
class _UnknownField:
    """A name that is not ``known``, and the path to it, such as ``messages.nmae``."""

    path: str
    name: str
    known: Iterable[str]

    def check(self) -> None:
        """Raise `InvalidRequest` if it looks like a misspelled name."""
        meant = None if self.name in _NEIGHBOURS else suggestion(self.name, self.known)
        if meant:
            path = printable(self.path)
            raise InvalidRequest(f"'{path}' is not a field; did you mean '{meant}'?", param=path)


def listed(names: Iterable[str]) -> str:
    """``names`` for a header or a log line: shortened, without characters that could break it."""
    found = [printable(name) for name in names]
    more = len(found) - _MOST_LISTED
    return ",".join(found[:_MOST_LISTED] + ([f"+{more}"] if more > 0 else []))


def printable(name: str) -> str:
    return _UNPRINTABLE.sub("?", name[:_LONGEST])


def _unknown(
    values: Mapping[str, object], model: type[BaseModel], path: str = ""
) -> Iterator[_UnknownField]:
    known = {info.alias or name: info.annotation for name, info in model.model_fields.items()}
    for name, value in values.items():
        if name not in known:
            yield _UnknownField(f"{path}{name}", name, known)
        elif inner := _model_in(known[name]):
            for item in _objects(value):
                yield from _unknown(item, inner, f"{path}{name}.")


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model of the objects in a field, if it has one."""
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
