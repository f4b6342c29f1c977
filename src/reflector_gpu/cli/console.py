"""Where the program prints: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table

from reflector_gpu.errors import InvalidRequest

_WIDE = 400  # columns


def console(*, stderr: bool = False) -> Console:
    """A console that wraps lines on a terminal alone: pipes have no width."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _WIDE)


def print_table(table: Table, *, stderr: bool = False) -> None:
    """Print ``table``. A pipe gets no spaces at the ends of lines."""
    out = console(stderr=stderr)
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as printed:
        out.print(table)
    out.file.writelines(f"{line.rstrip()}\n" for line in printed.get().splitlines())


def print_json(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value, indent=2, ensure_ascii=False)}\n")


def agreed(question: str) -> bool:
    """Whether the user says yes.

    Raises:
        InvalidRequest: standard input is no terminal, so there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise InvalidRequest(f"{question} Pass --yes: there is nobody to ask.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
