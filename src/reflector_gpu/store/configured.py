"""What the settings say about the store."""

from __future__ import annotations

from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import Settings
from reflector_gpu.store import keys
from reflector_gpu.store.database import FILE, Database, sqlite_in


def open_database(settings: Settings) -> Database | None:
    """The database in the operator's folder, which is made if need be. None: there is no folder.

    Raises:
        ConfigurationError: it cannot be used.
    """
    folder = settings.data_dir
    if folder is None:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"REFLECTOR_DATA_DIR: {folder} cannot be used as a folder: {error.strerror}."
        ) from None
    return sqlite_in(folder)


def has_keys(settings: Settings) -> bool:
    """Whether named keys keep strangers out."""
    if settings.data_dir is None or not (settings.data_dir / FILE).exists():
        return False
    database = sqlite_in(settings.data_dir)
    try:
        return bool(database.write_now(keys.all_keys))
    finally:
        database.close()
