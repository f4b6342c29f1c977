"""``config``: every setting, its value and where that comes from."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from rich.table import Table
from rich.text import Text

from reflector_gpu.cli.console import console, print_json
from reflector_gpu.settings import Settings, load_settings, origins, variables

_MASK = "********"


def run(*, as_json: bool, **overrides: object) -> None:
    settings = load_settings(**overrides)
    found = origins(settings, **overrides)
    if as_json:
        print_json([_record(settings, name, found[name]) for name in Settings.model_fields])
        return
    table = Table("Variable", "Value", "From", "What it is", box=None)
    for name, origin in found.items():
        style = "dim" if origin == "default" else "bold"
        value = _text(_plain(getattr(settings, name)))
        table.add_row(
            variables(name)[0], Text(value, style), Text(origin, style), _description(name)
        )
    console().print(table)


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
    """``value`` in what JSON knows, with secrets covered."""
    if isinstance(value, SecretStr):
        return _MASK
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _text(value: object) -> str:
    """``value`` as it would stand in the environment."""
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
