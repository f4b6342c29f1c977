"""Deletes weights from the Hugging Face cache, and from nowhere else.

Models share repositories. Files that another model needs stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import ConfigurationError


def remove(weights: Weights, others: Collection[Weights]) -> float:
    """Delete ``weights``, and return the megabytes that this freed.

    Files that complete ones of ``others`` need stay.

    Raises:
        ConfigurationError: they cannot be deleted.
    """
    before = occupied(weights)
    needed = [part for other in others if other.folder for part in parts(other)]
    try:
        for part in parts(weights):
            sharing = [one for one in needed if one.repository == part.repository]
            if not part.cached.path.exists():
                continue
            if part.cached.path.is_symlink():
                raise ConfigurationError(
                    f"{part.cached.path} is a link to a folder elsewhere: delete that yourself."
                )
            if sharing:
                _remove_files(part, sharing)
            else:
                _remove_repository(part.cached.path)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or weights.repository} cannot be deleted: {error.strerror}."
        ) from error
    return before - occupied(weights)


def occupied(weights: Weights) -> float:
    """Megabytes that the repositories of ``weights`` take on disk, unfinished files included."""
    return sum(
        file.stat().st_size / 1e6
        for part in parts(weights)
        for file in part.cached.path.rglob("*")
        if file.is_file() and not file.is_symlink()
    )


def parts(weights: Weights) -> Iterator[Weights]:
    """``weights``, and those beside them."""
    yield weights
    if weights.beside:
        yield from parts(weights.beside)


def _remove_repository(folder: Path) -> None:
    # The hub library would delete a commit from every repository that has it, and repositories that
    # were copied have the same commits.
    shutil.rmtree(folder)
    shutil.rmtree(folder.parent / ".locks" / folder.name, ignore_errors=True)


def _remove_files(weights: Weights, sharing: Collection[Weights]) -> None:
    blobs: set[Path] = set()
    for link in _links(weights):
        _, _, *path = link.relative_to(weights.cached.path).parts  # snapshots, the commit, the file
        name = "/".join(path)
        if weights.wants(name) and not any(other.wants(name) for other in sharing):
            blobs.add(link.resolve())
            link.unlink()
    for blob in blobs - {link.resolve() for link in _links(weights)}:
        blob.unlink(missing_ok=True)


def _links(weights: Weights) -> list[Path]:
    """The files of all snapshots."""
    return [file for file in (weights.cached.path / "snapshots").rglob("*") if not file.is_dir()]
