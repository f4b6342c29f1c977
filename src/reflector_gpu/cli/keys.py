"""``keys``: who may use the server, and what for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

from rich.table import Table
from rich.text import Text

from reflector_gpu.cli.console import print_table
from reflector_gpu.errors import ConfigurationError, InvalidRequest
from reflector_gpu.settings import load_settings
from reflector_gpu.store import keys
from reflector_gpu.store.configured import open_database
from reflector_gpu.store.database import Database
from reflector_gpu.store.keys import Scope


def create(name: str, scopes: str, daily_audio_hours: float | None) -> None:
    """Make a key, and print it."""
    chosen = _scopes(scopes)
    seconds = None if daily_audio_hours is None else 3600.0 * daily_audio_hours
    with _database() as database:
        secret = database.write_now(lambda c: keys.create(c, name, chosen, seconds))
    sys.stdout.write(f"{secret}\n")
    sys.stderr.write("Keep it: it is not shown again.\n")


def show(*, as_json: bool) -> None:
    """List the keys."""
    with _database() as database:
        found = database.write_now(keys.all_keys)
    rows = [
        {
            "name": key.name,
            "id": key.id,
            "scopes": sorted(key.scopes),
            "daily_audio_hours": key.daily_audio_seconds and key.daily_audio_seconds / 3600,
            "created": _day(key.created),
            "revoked": _day(key.revoked),
        }
        for key in found
    ]
    if as_json:
        sys.stdout.write(f"{json.dumps(rows, indent=1)}\n")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "id", "scopes", "hours a day", "created", "revoked"):
        table.add_column(heading, no_wrap=heading == "id", overflow="fold")
    for key, row in zip(found, rows, strict=True):
        hours = "" if key.daily_audio_seconds is None else f"{key.daily_audio_seconds / 3600:g}"
        scopes = ",".join(sorted(key.scopes))
        dates = str(row["created"]), str(row["revoked"] or "")
        table.add_row(*map(Text, (key.name, key.id, scopes, hours, *dates)))
    print_table(table)


def revoke(names: Iterable[str]) -> None:
    """End keys."""
    with _database() as database:
        for name in names:
            database.write_now(partial(keys.revoke, name=name))
            sys.stdout.write(f"{name} is revoked\n")


@contextmanager
def _database() -> Iterator[Database]:
    """
    Raises:
        ConfigurationError: there is no folder for it.
    """
    database = open_database(load_settings())
    if database is None:
        raise ConfigurationError(
            "Keys are kept in the folder that REFLECTOR_DATA_DIR names, or in the PostgreSQL of "
            "REFLECTOR_DATABASE_URL; set one of them, for the server too."
        )
    try:
        yield database
    finally:
        database.close()


def _scopes(text: str) -> list[Scope]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        return [Scope(name) for name in names]
    except ValueError:
        raise InvalidRequest(
            f"--scopes: '{text}' should be some of {', '.join(Scope)}, between commas."
        ) from None


def _day(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
