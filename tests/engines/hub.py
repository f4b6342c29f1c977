"""A model hub on loopback: the few calls of the Hugging Face HTTP API that a download makes."""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.loopback import Loopback, Quiet

COMMIT = "0123456789abcdef0123456789abcdef01234567"
STORED = 1_000_000
"""Bytes from which on a file is kept as the hub keeps them: in a store on another host."""

LARGE = random.Random(1).randbytes(12_000_000)
"""A file that is longer than what the hub library holds back before it writes."""

WRITTEN = 10 * 2**20
"""Bytes of it that are on disk when all but the last of it have been sent."""


@dataclass(frozen=True)
class Download:
    """What somebody fetched: a file from its byte ``start`` on, and with which key."""

    name: str
    start: int = 0
    key: str | None = None


class Hub(Loopback):
    """Serves ``files`` as a repository, or each of several; ``downloads`` lists what was fetched,
    ``looked_up`` the paths of the questions that came before.

    It breaks where it is told to: ``stops_after`` so many bytes of a file it sends no more until
    it shall `go_on`; files in ``damaged`` arrive with their last byte flipped; ``refuses`` is a
    status for every question; ``names`` are a mirror's own names for contents.
    """

    def __init__(
        self, repository: str | tuple[str, ...], files: Mapping[str, bytes], commit: str = COMMIT
    ) -> None:
        repositories = (repository,) if isinstance(repository, str) else repository
        self.files = dict(files)
        self.downloads: list[Download] = []
        self.looked_up: list[str] = []
        self.stops_after: int | None = None
        self.damaged: set[str] = set()
        self.refuses: int | None = None
        self.names: dict[str, str] = {}
        self._going_on = threading.Event()
        self._closing = False
        hub = self

        class Handler(Quiet):
            def do_HEAD(self) -> None:
                hub.looked_up.append(self.path)
                self._route(with_body=False)

            def do_GET(self) -> None:
                self._route(with_body=True)

            def _route(self, *, with_body: bool) -> None:
                path = urlsplit(self.path).path
                if hub.refuses:
                    self.send_error(hub.refuses)
                    return
                if any(path.startswith(f"/api/models/{one}") for one in repositories):
                    self._info()
                    return
                owner, _, name = path.partition(f"/resolve/{commit}/")
                name = name if owner[1:] in repositories else ""
                stored = path.partition("/store/")[2]
                if stored in hub.files:
                    self._send(stored)
                elif name not in hub.files:
                    self.send_error(404)
                elif len(hub.files[name]) >= STORED:
                    self._redirect(name)
                elif with_body:
                    self._send(name)
                else:
                    self._answer(200, b"", hub._headers(name, commit), len(hub.files[name]))

            def _info(self) -> None:
                listed = [
                    {
                        "rfilename": name,
                        "size": len(data),
                        "type": "file",
                        "path": name,
                        "oid": _etag(data),
                    }
                    for name, data in hub.files.items()
                ]
                body: object = listed
                if "/tree/" not in self.path:
                    body = {"id": "any", "sha": commit, "siblings": listed}
                self._answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

            def _redirect(self, name: str) -> None:
                headers = hub._headers(name, commit)
                headers = {
                    **headers,
                    "ETag": '"of the redirect"',
                    "X-Linked-Etag": headers["ETag"],
                    "X-Linked-Size": str(len(hub.files[name])),
                    "Location": f"{hub.url.replace('127.0.0.1', 'localhost')}/store/{name}",
                }
                self._answer(302, b"", headers)

            def _send(self, name: str) -> None:
                data = hub.files[name]
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                start = int(asked[1]) if asked else 0
                key = self.headers.get("Authorization")
                hub.downloads.append(Download(name, start, key))
                headers = hub._headers(name, commit)
                if start:
                    headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                if name in hub.damaged:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                status = 206 if start else 200
                if hub.stops_after is None:
                    self._answer(status, data[start:], headers)
                else:
                    sent = data[start : hub.stops_after]
                    self._answer(status, sent, headers, len(data) - start)
                    hub._going_on.wait()
                    if not hub._closing:
                        self.wfile.write(data[start + len(sent) :])

            def _answer(
                self,
                status: int,
                data: bytes,
                headers: Mapping[str, str],
                length: int | None = None,
            ) -> None:
                self.send_response(status)
                for header, value in headers.items():
                    self.send_header(header, value)
                self.send_header("Content-Length", str(len(data) if length is None else length))
                self.end_headers()
                self.wfile.write(data)

        super().__init__(Handler)
        self._server.daemon_threads = False

    @property
    def fetched(self) -> list[str]:
        """Names of the files that were fetched, sorted."""
        return sorted(download.name for download in self.downloads)

    def go_on(self) -> None:
        """Send what was held back, and stop no more."""
        self.stops_after = None
        self._going_on.set()

    def _headers(self, name: str, commit: str) -> dict[str, str]:
        etag = self.names.get(name) or _etag(self.files[name])
        return {"ETag": f'"{etag}"', "X-Repo-Commit": commit}

    def let_go(self) -> None:
        self._closing = True
        self._going_on.set()


def _etag(data: bytes) -> str:
    """The hub's names for contents: Git's hash, and SHA-256 for what is in the store."""
    if len(data) >= STORED:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
