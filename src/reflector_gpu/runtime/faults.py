"""When a job is at fault for the death of workers, and what jobs without a result are told."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TypeAlias, TypeVar

from reflector_gpu.errors import EngineFailed, ReflectorError
from reflector_gpu.runtime.queue import Job

Item = TypeVar("Item")
Result = TypeVar("Result")
_Outcome: TypeAlias = "Result | ReflectorError"

FORGIVEN_KILLS = 3
"""Kills in a row that are nobody's fault."""

CRASHES = 2
"""Crashes of an item that is alone, until it is at fault."""

_MOST_KILLS = 12


def fault(jobs: Sequence[Job[Item, Result]]) -> EngineFailed | None:
    """The error of ``jobs`` that run together once too many of their workers have died."""
    if max(job.crashed for job in jobs) >= CRASHES:
        return EngineFailed("The engine died twice on this piece of work.")
    killed = max(job.killed for job in jobs)
    if killed > _MOST_KILLS or max(job.killed_in_a_row for job in jobs) > FORGIVEN_KILLS:
        return EngineFailed(
            f"The engine was killed {killed} times while it worked on this, "
            "perhaps for want of memory."
        )
    return None


def all_fail(jobs: Sequence[Job[Item, Result]], error: ReflectorError) -> list[_Outcome[Result]]:
    return [copy(error) for _ in jobs]


def fail_all(jobs: list[Job[Item, Result]], error: ReflectorError) -> None:
    """Answer waiting ``jobs`` with ``error``, but for those that were cancelled meanwhile."""
    for job in jobs:
        if job.future.set_running_or_notify_cancel():
            job.future.set_exception(copy(error))
