"""Processes that may come and go while a test looks at them."""

from __future__ import annotations

import psutil


def alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie that nobody has buried yet does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def worker_processes() -> set[psutil.Process]:
    """Those that run an engine or a download, which this process has started.

    Servers of other tests may run beside, and one may start a worker at any time.
    """
    found = psutil.Process().children()
    return {child for child in found if alive(child) and "spawn_main" in _line(child)}


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""
