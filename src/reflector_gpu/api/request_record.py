"""What is recorded of a request: headers of its answer, and fields of its line in the log.

Routes and middleware write it while they work. `middleware.Observe` reads the headers when the
answer begins, and the fields when it has ended.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from string import punctuation
from typing import Any
from urllib.parse import quote

MODEL_HEADER = "X-Reflector-Model"
"""The header that names the model that answered."""

_STATE_KEY = "record"
_PLAIN = punctuation.replace("%", "")


@dataclass(slots=True)
class RequestRecord:
    """``headers`` that are set before the answer begins become part of it.

    ``details`` go into the log, in their order; those with a fraction are seconds.
    """

    headers: dict[str, str] = field(default_factory=dict)
    details: dict[str, str | int | float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    has_words: bool = False
    """Whether words of its answer are known."""

    def answered_by(self, model: str) -> None:
        """Record the model that answers. Its name may be the operator's own, so characters that a
        header or the log cannot hold are percent-encoded."""
        name = quote(model, safe=_PLAIN)
        self.headers[MODEL_HEADER] = self.details["model"] = name


def record_of(scope: MutableMapping[str, Any]) -> RequestRecord:
    """The record of the request with this ASGI ``scope``."""
    state = scope.setdefault("state", {})
    if _STATE_KEY not in state:
        state[_STATE_KEY] = RequestRecord()
    found: RequestRecord = state[_STATE_KEY]
    return found
