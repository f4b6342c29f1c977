"""Where the program prints: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys

from rich.console import Console

_WIDE = 400  # columns


def console(*, stderr: bool = False) -> Console:
    """A console that wraps nothing unless it is a terminal: pipes have no width."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _WIDE)


def print_json(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value, indent=2, ensure_ascii=False)}\n")
