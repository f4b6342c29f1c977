"""The names of fields that a route accepts.

Others are refused if they look misspelled or belong to another route. If not, they are ignored, and
the answer names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.unknown_fields import check_spelling, printable, unknown_fields

M = TypeVar("M", bound=BaseModel)

IGNORED_HEADER = "X-Reflector-Ignored"
"""The header that names the fields that were ignored."""

_CHANGES_NOTHING = frozenset({"", "none", "false", "0", "transcribe"})
"""Values of a misplaced field that change nothing, because they ask for the default."""

_MOST_LISTED = 20


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
        unknown = {found.path: found for found in unknown_fields(values, self.model)}
        check_spelling(found for found in unknown.values() if found.path not in self.misplaced)
        unused = set(self.unused)
        formats_with_words = (None, "", "verbose_json")
        if (
            self.granular
            and values.get("response_format") not in formats_with_words
            and "word" in str(values.get("timestamp_granularities"))
        ):
            unused.add("timestamp_granularities")
        return [*unknown, *(name for name in values if name in unused)]


def listed(names: Iterable[str]) -> str:
    """``names`` for a header or a log line: shortened, without characters that could break it."""
    found = [printable(name) for name in names]
    more = len(found) - _MOST_LISTED
    return ",".join(found[:_MOST_LISTED] + ([f"+{more}"] if more > 0 else []))
