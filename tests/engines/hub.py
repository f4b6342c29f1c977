"""A model hub on loopback: the few calls of the Hugging Face HTTP API that a download makes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves ``files`` as one repository; ``downloads`` lists what was fetched."""

    def __init__(self, repository: str, files: Mapping[str, bytes]) -> None:
        self.downloads: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._file(with_body=False)

            def do_GET(self) -> None:
                if self.path.startswith(f"/api/models/{repository}/"):
                    self._info()
                else:
                    self._file(with_body=True)

            def _info(self) -> None:
                listed = [
                    {
                        "rfilename": n,
                        "size": len(data),
                        "type": "file",
                        "path": n,
                        "oid": _etag(data),
                    }
                    for n, data in files.items()
                ]
                body: object = listed
                if "/tree/" not in self.path:
                    body = {"id": repository, "sha": COMMIT, "siblings": listed}
                self._answer(json.dumps(body).encode(), {"Content-Type": "application/json"})

            def _file(self, *, with_body: bool) -> None:
                name = self.path.partition(f"/resolve/{COMMIT}/")[2]
                if name not in files:
                    self.send_error(404)
                    return
                data = files[name]
                headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": COMMIT}
                if with_body:
                    hub.downloads.append(name)
                self._answer(data, headers, with_body=with_body)

            def _answer(
                self, data: bytes, headers: Mapping[str, str], *, with_body: bool = True
            ) -> None:
                self.send_response(200)
                for header, value in headers.items():
                    self.send_header(header, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if with_body:
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _etag(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
