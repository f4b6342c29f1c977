"""``config``: every setting, its value and where that comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reflector_gpu.cli.console import console, print_json, print_table
from reflector_gpu.settings import Settings, load_settings, origins, variables

UNSET = "-"
"""Shown for a setting that has no value."""

_MASK = "********"
_ROOM_FOR_A_TABLE = 140  # columns


def run(*, as_json: bool, **overrides: object) -> None:
    """Print the settings, as ``overrides`` from the command line change them."""
    settings = load_settings(**overrides)
    found = origins(settings, **overrides)
    if as_json:
        print_json([_record(settings, name, origin) for name, origin in found.items()])
        return
    if console().width < _ROOM_FOR_A_TABLE:
        _print_paragraphs(settings, found)
        return
    table = Table("Variable", "Value", "From", "What it is", box=None)
    for name, origin in found.items():
        style = "dim" if origin == "default" else "bold"
        value = _text(_plain(getattr(settings, name)))
        table.add_row(
            variables(name)[0], Text(value, style), Text(origin, style), _description(name)
        )
    print_table(table)


def _print_paragraphs(settings: Settings, found: Mapping[str, str]) -> None:
    """Print the facts of the table, for a terminal that is too narrow for it."""
    out = console()
    for name, origin in found.items():
        style = "" if origin == "default" else "bold"
        value = _text(_plain(getattr(settings, name)))
        source = "" if origin in ("default", variables(name)[0]) else f"  ({origin})"
        out.print(Text(f"{variables(name)[0]}={value}{source}", style))
        out.print(Padding(Text(_description(name), "dim"), (0, 0, 0, 4)))


def _record(settings: Settings, name: str, origin: str) -> dict[str, object]:
    return {
        "variable": variables(name)[0],
        "value": _plain(getattr(settings, name)),
        "origin": origin,
        "description": _description(name),
    }


def _description(name: str) -> str:
    return Settings.model_fields[name].description or ""


def _plain(value: object) -> object:
    """``value`` as JSON can hold it, with secrets masked."""
    if isinstance(value, SecretStr):
        return _MASK
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _text(value: object) -> str:
    """``value`` as an environment variable would hold it."""
    if value is None or value in ("", [], {}):
        return UNSET
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
