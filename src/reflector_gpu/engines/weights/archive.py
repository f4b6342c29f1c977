"""Weights in a tar archive, for machines that reach no network at all.

An archive holds ``manifest.json``, and then each file under its SHA-256. If it is unpacked into a
folder, that is a mirror (see `mirror`) of its pinned models.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BufferedRandom
from pathlib import Path
from typing import IO

from reflector_gpu.engines.weights import Weights
from reflector_gpu.engines.weights.cache import Repository
from reflector_gpu.engines.weights.pins import PinnedFile, Pins
from reflector_gpu.errors import InvalidRequest, ModelNotInstalled, UpstreamFailed

MANIFEST = "manifest.json"

_FORMAT = 1
_MOST_MANIFEST_BYTES = 1_000_000
_REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def export(weights: Weights, file: IO[bytes]) -> None:
    """Write the files of ``weights`` to ``file`` as an archive.

    Raises:
        ModelNotInstalled: they are not complete here.
        OSError: ``file`` cannot be written.
    """
    found = list(_contents(weights))
    manifest = {
        "format": _FORMAT,
        "repositories": [
            {
                "repository": repository,
                "revision": pins.revision,
                "files": [
                    {"name": one.name, "sha256": one.sha256, "size": one.size} for one in pins.files
                ],
            }
            for repository, pins, _ in found
        ],
    }
    with tarfile.open(fileobj=file, mode="w|") as archive:
        _add(archive, MANIFEST, io.BytesIO(json.dumps(manifest, indent=2).encode()))
        paths = {one.sha256: folder / one.name for _, pins, folder in found for one in pins.files}
        for sha256, path in paths.items():
            with path.open("rb") as content:
                _add(archive, sha256, content)


def install(file: IO[bytes], known: Iterable[Weights]) -> list[str]:
    """Put the files of an archive into the cache, and return the names of their repositories.

    Each file is compared with the manifest, and those of pinned models with their pins.

    Raises:
        InvalidRequest: it is no such archive, is damaged, or holds something that is not among the
            ``known`` weights.
        StorageFull: the files do not fit.
    """
    try:
        with _opened(file) as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST or first.size > _MOST_MANIFEST_BYTES:
                raise _foreign()
            promised = _promised(_read(archive, first), _by_repository(known))
            expected = _by_hash(promised)
            while member := archive.next():
                content = archive.extractfile(member)
                if content is None or member.name not in expected:
                    raise InvalidRequest(f"The archive holds '{member.name[:80]}' unannounced.")
                one, *others = expected.pop(member.name)
                path = _receive(*one, partial(_copy, content))
                for other in others:
                    _receive(*other, partial(_copy_file, path))
    except (tarfile.TarError, EOFError) as error:
        raise InvalidRequest(f"The archive is damaged: {error}.") from error
    except UpstreamFailed as error:
        raise InvalidRequest(f"The archive is damaged: {error.message}.") from error
    if expected:
        missing = ", ".join(file.name for places in expected.values() for _, _, file in places)
        raise InvalidRequest(f"The archive is not complete: it lacks {missing}.")
    for name, pins in promised.items():
        Repository(name).make_current(pins.revision)
    return list(promised)


def _opened(file: IO[bytes]) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r|*")
    except tarfile.TarError:
        raise _foreign() from None


def _foreign() -> InvalidRequest:
    return InvalidRequest(
        "This is no archive of weights; make one by `reflector-gpu models export`."
    )


def _contents(weights: Weights) -> Iterator[tuple[str, Pins, Path]]:
    """Each repository, its files on this machine, and their folder."""
    for one in _with_beside(weights):
        folder = one.folder
        if folder is None:
            raise ModelNotInstalled(f"{one.repository} is not complete here.")
        names = sorted(path.name for path in folder.iterdir() if one.wants(path.name))
        yield (
            one.repository,
            Pins(folder.name, tuple(_pinned(folder, name) for name in names)),
            folder,
        )


def _by_repository(known: Iterable[Weights]) -> dict[str, list[Weights]]:
    """The known weights by repository. Models may share one, as the two forms of Parakeet do."""
    found: dict[str, list[Weights]] = {}
    for weights in known:
        for one in _with_beside(weights):
            found.setdefault(one.repository, []).append(one)
    return found


def _by_hash(promised: Mapping[str, Pins]) -> dict[str, list[tuple[Repository, str, PinnedFile]]]:
    """By hash, the repository, revision and name of each file. Several may have one content."""
    found: dict[str, list[tuple[Repository, str, PinnedFile]]] = {}
    for name, pins in promised.items():
        for file in pins.files:
            found.setdefault(file.sha256, []).append((Repository(name), pins.revision, file))
    return found


def _receive(
    repository: Repository,
    revision: str,
    file: PinnedFile,
    write: Callable[[BufferedRandom], None],
) -> Path:
    repository.receive(file, revision, "the archive", write)
    return repository.snapshot(revision) / file.name


def _with_beside(weights: Weights) -> Iterator[Weights]:
    yield weights
    if weights.beside:
        yield from _with_beside(weights.beside)


def _pinned(folder: Path, name: str) -> PinnedFile:
    path = folder / name
    with path.open("rb") as content:
        return PinnedFile(
            name, hashlib.file_digest(content, "sha256").hexdigest(), path.stat().st_size
        )


def _promised(manifest: bytes, known: Mapping[str, Sequence[Weights]]) -> dict[str, Pins]:
    """The files that the manifest lists, by repository, after checks."""
    try:
        listed = json.loads(manifest)
        if listed["format"] != _FORMAT:
            raise InvalidRequest("This archive is of a newer version of reflector-gpu.")
        found = {
            str(entry["repository"]): Pins(
                str(entry["revision"]),
                tuple(
                    PinnedFile(str(one["name"]), str(one["sha256"]), int(one["size"]))
                    for one in entry["files"]
                ),
            )
            for entry in listed["repositories"]
        }
    except (ValueError, LookupError, TypeError) as error:
        if isinstance(error, InvalidRequest):
            raise
        raise InvalidRequest("The archive's manifest cannot be read.") from error
    for repository, pins in found.items():
        _check(repository, pins, known.get(repository, ()))
    return found


def _check(repository: str, pins: Pins, models: Sequence[Weights]) -> None:
    if not models:
        raise InvalidRequest(
            f"The archive holds '{repository[:80]}', which is no model that is known here."
        )
    if not (_REVISION.fullmatch(pins.revision) and all(_fits(one, models) for one in pins.files)):
        raise InvalidRequest(f"The archive announces files that {repository} does not have.")
    published = {one.name: one.sha256 for model in models if model.pins for one in model.pins.files}
    for one in pins.files:
        if published.get(one.name, one.sha256) != one.sha256:
            raise InvalidRequest(
                f"The {one.name} of the archive is not the one that {repository} published."
            )


def _fits(file: PinnedFile, models: Sequence[Weights]) -> bool:
    plain = "/" not in file.name and any(model.wants(file.name) for model in models)
    return plain and _SHA256.fullmatch(file.sha256) is not None


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes]) -> None:
    """Add ``content`` without an owner or a time of this machine."""
    entry = tarfile.TarInfo(name)
    entry.size = content.seek(0, io.SEEK_END)
    content.seek(0)
    archive.addfile(entry, content)


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    return content.read() if content else b""


def _copy(content: IO[bytes], place: BufferedRandom) -> None:
    place.truncate(0)
    shutil.copyfileobj(content, place)


def _copy_file(path: Path, place: BufferedRandom) -> None:
    with path.open("rb") as content:
        _copy(content, place)
