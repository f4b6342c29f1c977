"""Pinned files from a mirror: a folder or a web server that has each file under its SHA-256."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from io import BufferedRandom

from reflector_gpu.engines.weights.cache import Repository
from reflector_gpu.engines.weights.pins import PinnedFile
from reflector_gpu.errors import UpstreamFailed

_SILENT_SECONDS = 30.0  # the longest wait for the next bytes
_PIECE = 1 << 20  # bytes that are read at a time


def fetch(address: str, repository: Repository, revision: str, files: Sequence[PinnedFile]) -> None:
    """Put ``files`` into the cache from the mirror at ``address`` (https, http or file).

    A download that breaks off goes on the next time. Proxies are those of the environment.

    Raises:
        UpstreamFailed: the mirror has not all of them, or cannot be reached.
        StorageFull: they do not fit.
    """
    base = address.rstrip("/")
    for file in files:
        write = partial(_download, f"{base}/{file.sha256}", file)
        repository.receive(file, revision, "the mirror", write)


def _download(url: str, file: PinnedFile, place: BufferedRandom) -> None:
    # Not at the top, because every worker process imports this module.
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    here = place.tell()
    headers = {"Range": f"bytes={here}-"} if here else {}
    try:
        # The operator names the address; its scheme has been checked.
        request = Request(url, headers=headers)  # noqa: S310
        with urlopen(request, timeout=_SILENT_SECONDS) as response:  # noqa: S310
            if response.status != 206:  # file:// has no status and no ranges
                here = place.truncate(0)
            left = file.size - here
            while left >= 0 and (data := response.read(_PIECE)):  # a longer file is another one
                left -= place.write(data)
    except HTTPError as error:
        raise UpstreamFailed(f"it answers {error.code} for {file.name}") from error
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise UpstreamFailed(f"it does not deliver {file.name} ({type(error).__name__})") from error
