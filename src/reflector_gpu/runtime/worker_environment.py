"""The variables of a process that is about to start.

Multiprocessing gives a process the variables of the one that starts it. If we changed ours for that
moment, other threads of the service would notice. So the new process sets its own, before it
imports the libraries that read them. That is why this module needs the standard library alone.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler


@dataclass(frozen=True, slots=True)
class WithEnvironment:
    """``call``, for a process that sets these variables before it imports anything for ``call``."""

    call: Callable[[], None]
    environment: Mapping[str, str]

    def __call__(self) -> None:
        self.call()

    def __reduce__(self) -> tuple[object, ...]:
        return _unpacked, (dict(self.environment), bytes(ForkingPickler.dumps(self.call)))


def _unpacked(environment: Mapping[str, str], call: bytes) -> Callable[[], None]:
    os.environ.update(environment)
    found: Callable[[], None] = pickle.loads(call)  # noqa: S301  from our server
    return found
