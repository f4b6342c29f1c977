"""``keys``: who may use the server, and what for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

from rich.table import Table
from rich.text import Text

from reflector_gpu.cli.console import print_json, print_table
from reflector_gpu.errors import ConfigurationError, InvalidRequest
from reflector_gpu.settings import Settings, load_settings
from reflector_gpu.store import keys
from reflector_gpu.store.configured import open_database
from reflector_gpu.store.database import FILE, Database
from reflector_gpu.store.keys import Scope


def create(name: str, scopes: str, daily_audio_hours: float | None) -> None:
    """Make a key, and print it."""
    chosen = _scopes(scopes)
    seconds = None if daily_audio_hours is None else 3600.0 * daily_audio_hours
    settings = load_settings()
    with _database(settings) as database:
        secret = database.write_now(lambda c: keys.create(c, name, chosen, seconds))
    sys.stdout.write(f"{secret}\n")
    sys.stderr.write(
        f"Keep it: it is not shown again. It is for servers with {_place(settings)}.\n"
    )


def show(*, as_json: bool) -> None:
    """List the keys."""
    with _existing() as database:
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
        print_json(rows)
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
    with _existing() as database:
        for name in names:
            database.write_now(partial(keys.revoke, name=name))
            sys.stdout.write(f"{name} is revoked\n")


@contextmanager
def _existing() -> Iterator[Database]:
    """
    Raises:
        ConfigurationError: there is no database. None is made: it would be another than the
            server's.
    """
    settings = load_settings()
    folder = settings.data_dir
    if folder and not settings.database_url and not (folder / FILE).is_file():
        raise ConfigurationError(
            f"There are no keys in {folder.absolute()}, which REFLECTOR_DATA_DIR names: it has no "
            "database. Name the folder of the server."
        )
    with _database(settings) as database:
        sys.stderr.write(f"Keys of servers with {_place(settings)}:\n")
        yield database


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    """
    Raises:
        ConfigurationError: there is no place for it.
    """
    database = open_database(settings)
    if database is None:
        raise ConfigurationError(
            "Keys are kept in the folder that REFLECTOR_DATA_DIR names, or in the PostgreSQL of "
            "REFLECTOR_DATABASE_URL; set one of them, for the server too."
        )
    try:
        yield database
    finally:
        database.close()


def _place(settings: Settings) -> str:
    """Where keys are kept, without the password of a database."""
    if settings.database_url or settings.data_dir is None:
        return "the PostgreSQL of REFLECTOR_DATABASE_URL"
    return f"the folder {settings.data_dir.absolute()}"


def _scopes(text: str) -> list[Scope]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        if not names:
            raise ValueError
        return [Scope(name) for name in names]
    except ValueError:
        raise InvalidRequest(
            f"--scopes: '{text}' should be some of {', '.join(Scope)}, between commas."
        ) from None


def _day(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
