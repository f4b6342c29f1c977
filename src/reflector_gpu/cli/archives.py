"""``models export`` and ``models import``: weights for machines that reach no network."""

from __future__ import annotations

import sys
from pathlib import Path

from reflector_gpu.cli.console import agreed
from reflector_gpu.cli.inventory import Inventory
from reflector_gpu.engines.weights import archive, size
from reflector_gpu.errors import InvalidRequest, ModelNotInstalled, ReflectorError
from reflector_gpu.settings import load_settings


def export(name: str, path: Path, *, sure: bool) -> None:
    """Write the weights of the model ``name`` to ``path``. If that fails, ``path`` is as before.

    Unless ``sure``, ask before a file is replaced.

    Raises:
        UnknownModel: there is no such model.
        ModelNotInstalled: its weights are not here.
        InvalidRequest: it has none, nobody agreed to replace ``path``, or it cannot be written.
    """
    model = Inventory.of(load_settings()).find(name)
    if model.weights is None:
        raise InvalidRequest(f"{model.name} has no weights to export: it needs no download.")
    if path.is_file() and not sure and not agreed(f"Replace {path}?"):
        sys.stderr.write(f"{path}: kept\n")
        return
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            archive.export(model.weights, file)
        beside.replace(path)
    except ModelNotInstalled as error:
        beside.unlink()
        raise ModelNotInstalled(
            f"{error.message} Fetch it first: reflector-gpu models pull {model.name}"
        ) from None
    except OSError as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, ReflectorError):
            raise
        raise InvalidRequest(f"{path} cannot be written: {error.strerror}.") from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sys.stdout.write(f"{path}: {model.name}, {size(path.stat().st_size / 1e6)}\n")


def install(path: Path) -> None:
    """Put the weights of the archive at ``path`` into the cache.

    Raises:
        InvalidRequest: ``path`` cannot be read, is not such an archive, or is damaged.
        StorageFull: there is no room for the weights.
    """
    models = Inventory.of(load_settings()).models
    try:
        with path.open("rb") as file:
            weights = [model.weights for model in models if model.weights]
            for repository in archive.install(file, weights):
                sys.stdout.write(f"{repository}: imported\n")
    except OSError as error:
        if isinstance(error, ReflectorError):
            raise
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.") from error
