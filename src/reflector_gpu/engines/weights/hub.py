"""Files from the Hugging Face hub.

The hub library asks the hub, so ``HF_ENDPOINT``, tokens and offline mode work as its users know
them. The files are downloaded here, by plain HTTP. The library (2.4,
`file_download._download_to_tmp_and_move`) would throw away unfinished downloads, and compare
nothing but sizes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path

from reflector_gpu.engines.weights.cache import Repository, cache_folder, is_pinned
from reflector_gpu.engines.weights.pins import PinnedFile
from reflector_gpu.errors import ModelNotInstalled, ReflectorError, StorageFull, UpstreamFailed


def fetch(repository: Repository, revision: str, files: Sequence[PinnedFile]) -> None:
    """Put pinned ``files`` into the cache.

    Raises:
        UpstreamFailed: the hub cannot be reached, refuses, or has something else.
        StorageFull: they do not fit.
        ModelNotInstalled: the hub library is missing.
    """
    with _explained(repository):
        for file in files:
            blob = _blob(repository, file.name, revision)
            with blob.open("rb+") as content:
                genuine = is_pinned(content, file)
            if not genuine:
                blob.unlink()
                raise UpstreamFailed(
                    f"the {file.name} of the hub is not the one that is pinned, and was thrown away"
                )
            repository.link(file.name, revision, blob)


def newest(repository: Repository, wanted: Callable[[str], bool]) -> str:
    """Put the ``wanted`` files of the newest revision into the cache, and return that revision.

    Raises:
        As `fetch`.
    """
    with _explained(repository):
        from huggingface_hub import HfApi, hf_hub_download

        info = HfApi().model_info(repository.name)
        revision = str(info.sha)
        folder = repository.snapshot(revision)
        names = [file.rfilename for file in info.siblings or ()]
        missing = [name for name in names if wanted(name) and not (folder / name).exists()]
        for name in missing:
            _blob(repository, name, revision)
        for name in missing:  # at the end, because files in the folder are taken to be complete
            hf_hub_download(repository.name, name, revision=revision, cache_dir=cache_folder())
        return revision


def _blob(repository: Repository, name: str, revision: str) -> Path:
    """Put the file ``name`` among the blobs of the cache, where the library finds it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # not in its __all__

    url = hf_hub_url(repository.name, name, revision=revision)
    promised = get_hf_file_metadata(url)
    if not promised.etag:
        raise UpstreamFailed(f"The model hub names no hash for {name} of {repository.name}.")
    blob = repository.blobs / promised.etag
    partial = blob.with_name(f"{blob.name}.incomplete")
    blob.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if blob.exists():  # another process has fetched it meanwhile
            partial.unlink(missing_ok=True)
            return blob
        here = file.truncate(min(file.seek(0, os.SEEK_END), promised.size or 0))
        repository.check_space((promised.size or 0) - here)
        http_get(
            url,
            file,
            resume_size=here,
            headers=build_hf_headers(),
            expected_size=promised.size,
            displayed_filename=name,
        )
        file.flush()
        if not _matches(file, promised.etag):
            file.truncate(0)
            raise UpstreamFailed(f"{name} of {repository.name} arrived damaged; pull it again.")
        partial.replace(blob)
    return blob


def _matches(file: BufferedRandom, name: str) -> bool:
    """Whether the content has the hash that is its name: SHA-256, or Git's SHA-1 of a small file.

    A mirror may have other names, which cannot be checked.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    if len(name) == hashlib.sha256().digest_size * 2:
        return hashlib.file_digest(file, "sha256").hexdigest() == name
    if len(name) == hashlib.sha1(usedforsecurity=False).digest_size * 2:
        git = hashlib.sha1(b"blob %d\0" % length, usedforsecurity=False)
        return hashlib.file_digest(file, lambda: git).hexdigest() == name
    return True


@contextmanager
def _explained(repository: Repository) -> Iterator[None]:
    """Raise errors of the hub library as ours."""
    try:
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise ModelNotInstalled(
            "Downloading models needs huggingface-hub: pip install huggingface-hub"
        ) from error
    try:
        yield
    except ReflectorError:
        raise
    except HfHubHTTPError as error:
        raise _refused(repository.name, error.response.status_code) from error
    except Exception as error:  # the library's transport, and its errors, differ by version
        if isinstance(error, OSError) and error.errno:
            raise _not_written(repository.name, error) from error
        raise _out_of_reach(repository.name, error) from error


class HubOutOfReach(UpstreamFailed):
    """The hub does not answer. The files in the cache may be enough."""


def _refused(repository: str, status: int) -> UpstreamFailed:
    page = f"https://huggingface.co/{repository}"
    gated = f" It may be gated: accept its terms at {page}, and set HF_TOKEN."
    hint = gated if status in (401, 403) else ""
    return UpstreamFailed(f"The model hub answers {status} for {repository}.{hint}")


def _not_written(repository: str, error: OSError) -> StorageFull:
    return StorageFull(
        f"{repository} cannot be written to the Hugging Face cache: {error.strerror}. Make room, "
        "or set HF_HOME. What has arrived is kept."
    )


def _out_of_reach(repository: str, error: Exception) -> HubOutOfReach:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return HubOutOfReach(f"HF_HUB_OFFLINE is set, and {repository} is not in the cache.")
    return HubOutOfReach(
        f"The model hub does not deliver {repository}: check the network and HF_ENDPOINT. A "
        "machine without the hub takes the weights from an archive: reflector-gpu models import "
        "FILE; docs/firewall.md says how. "
        f"({type(error).__name__}: {error})"
    )
