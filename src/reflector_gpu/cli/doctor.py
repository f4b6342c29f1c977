"""``doctor``: runs every check, and prints what it found and how to fix what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace

from rich.table import Table
from rich.text import Text

from reflector_gpu import logs
from reflector_gpu.cli import engine_checks, interrupt, machine_checks
from reflector_gpu.cli.checks import Check, Status
from reflector_gpu.cli.console import console, print_json
from reflector_gpu.cli.hints import here
from reflector_gpu.cli.progress import Activity
from reflector_gpu.errors import ReflectorError
from reflector_gpu.service import Service
from reflector_gpu.settings import load_settings

_MARKS = {Status.OK: ("ok", "green"), Status.WARN: ("warn", "yellow"), Status.FAIL: ("FAIL", "red")}


def run(*, as_json: bool, **overrides: object) -> int:
    """Run the checks. The exit status is 1 if something essential does not work."""
    logs.discard()
    interrupt.raise_error()
    activity = Activity()
    checks = map(_as_here, _checks(activity.say, **overrides))
    if as_json:
        done = list(activity.silenced(checks))
        print_json([asdict(check) for check in done])
    else:
        done = list(_shown(activity.silenced(checks)))
    return int(any(check.status is Status.FAIL for check in done))


def _as_here(check: Check) -> Check:
    return replace(check, detail=here(check.detail), fix=here(check.fix))


def _checks(say: Callable[[str], None], **overrides: object) -> Iterator[Check]:
    yield from machine_checks.machine()
    try:
        settings = load_settings(**overrides)
        service = Service(settings)
    except ReflectorError as error:
        yield Check("settings", Status.FAIL, error.message)
        return
    yield Check("settings", Status.OK, f"profile {settings.profile}, model {settings.model}")
    yield machine_checks.devices(settings)
    yield from machine_checks.layout(service)
    yield machine_checks.unnamed_language(service)
    yield machine_checks.spool(settings)
    yield machine_checks.port(settings)
    yield from machine_checks.access(settings)
    yield from engine_checks.engines(settings.model_copy(update={"workers": 1}), say)


def _shown(checks: Iterable[Check]) -> Iterator[Check]:
    """Print each of ``checks`` as soon as it is done."""
    out = console()
    for check in checks:
        mark, style = _MARKS[check.status]
        line = Table.grid(padding=(0, 2))
        line.add_column(width=4)
        line.add_column(min_width=12, no_wrap=True)
        line.add_row(Text(mark, f"bold {style}"), Text(check.name), Text(check.detail))
        out.print(line)
        if check.fix:  # in one piece, to be pasted
            out.print(Text(f"      → {check.fix}", style), soft_wrap=True)
        yield check
