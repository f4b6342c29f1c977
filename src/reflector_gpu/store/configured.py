"""What the settings say about the store."""

from __future__ import annotations

from pathlib import Path

from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import Settings
from reflector_gpu.store import keys
from reflector_gpu.store.database import Database, sqlite_in
from reflector_gpu.store.postgresql import postgresql_at


def open_database(settings: Settings) -> Database | None:
    """The operator's PostgreSQL, or a file in the operator's folder, which is made if need be. None
    if the settings name neither.

    Raises:
        ConfigurationError: it cannot be used.
    """
    if settings.data_dir:
        _make(settings.data_dir)
    if settings.database_url:
        return postgresql_at(settings.database_url.get_secret_value())
    return sqlite_in(settings.data_dir) if settings.data_dir else None


def has_keys(settings: Settings) -> bool:
    """Whether named keys keep strangers out."""
    database = open_database(settings)
    if database is None:
        return False
    try:
        return bool(database.write_now(keys.all_keys))
    finally:
        database.close()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"REFLECTOR_DATA_DIR: {folder} cannot be used as a folder: {error.strerror}."
        ) from None
