"""What is known of one request besides its answer: response headers, and fields of its log line.

Routes and middleware write here while they work; `middleware.Observe` reads it when the answer
begins and when it has ended.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from string import punctuation
from typing import Any
from urllib.parse import quote

MODEL_HEADER = "X-Reflector-Model"
"""The header that says which model answered."""

_STATE_KEY = "record"
_PLAIN = punctuation.replace("%", "")


@dataclass(slots=True)
class RequestRecord:
    """``headers`` go into the answer, if they are written before it begins. ``details`` go into
    the log line as ``name=value``, in the order in which they were written."""

    headers: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    def answered_by(self, model: str) -> None:
        """Say which model answers. Its name may be the operator's own: what a header or a log
        line cannot hold is written with percent signs."""
        name = quote(model, safe=_PLAIN)
        self.headers[MODEL_HEADER] = self.details["model"] = name


def record_of(scope: MutableMapping[str, Any]) -> RequestRecord:
    """The notes of the request with this ASGI ``scope``, begun if there are none yet."""
    state = scope.setdefault("state", {})
    found: RequestRecord = state.setdefault(_STATE_KEY, RequestRecord())
    return found
