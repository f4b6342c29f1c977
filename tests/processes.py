"""Processes that may come and go while a test looks at them."""

from __future__ import annotations

from multiprocessing import process

import psutil


def alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie that nobody has buried yet does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def workers(engine: str) -> set[psutil.Process]:
    """Those that run ``engine``, ``module:Class``, for this program.

    Servers of other tests may start workers of other engines meanwhile. `active_children` would
    bury the dead before their pool has seen how they ended.
    """
    started = list(process._children)  # type: ignore[attr-defined]  # see above
    pids = {one.pid for one in started if one.name == engine}
    return {one for one in psutil.Process().children() if one.pid in pids and alive(one)}
