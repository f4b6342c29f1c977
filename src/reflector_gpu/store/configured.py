"""What the settings say about the store."""

from __future__ import annotations

from pathlib import Path

from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import Settings
from reflector_gpu.store import keys
from reflector_gpu.store.database import Database, sqlite_in
from reflector_gpu.store.postgresql import postgresql_at


def open_database(settings: Settings) -> Database | None:
    """The database in the operator's folder, which is made if need be. None: there is no folder.

    Raises:
        ConfigurationError: it cannot be used.
    """
    folder = settings.data_dir
    if folder is None:
        if settings.database_url:
            raise ConfigurationError(
                "REFLECTOR_DATABASE_URL needs REFLECTOR_DATA_DIR too: a folder for recordings that "
                "all servers share."
            )
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"REFLECTOR_DATA_DIR: {folder} cannot be used as a folder: {error.strerror}."
        ) from None
    return _database(settings, folder)


def has_keys(settings: Settings) -> bool:
    """Whether named keys keep strangers out."""
    database = open_database(settings)
    if database is None:
        return False
    try:
        return bool(database.write_now(keys.all_keys))
    finally:
        database.close()


def _database(settings: Settings, folder: Path) -> Database:
    if settings.database_url:
        return postgresql_at(settings.database_url.get_secret_value())
    return sqlite_in(folder)
