"""Resumable uploads by the official clients of tus: tuspy, and tus-js-client in node/."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from tests.clients.server import KEY, Server
from tests.clients.support import client, run_javascript

HEADERS = {"Authorization": f"Bearer {KEY}"}
PIECE = 100_000


def test_tuspy_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    tusclient = client("tusclient.client")
    content = os.urandom(10 * PIECE + 7)
    path = tmp_path / "talk.wav"
    path.write_bytes(content)
    where = None
    for cut in range(1, 6):  # each time another process begins, and stops halfway
        again = tusclient.TusClient(f"{server.api}/uploads", headers=HEADERS)
        uploader = again.uploader(
            str(path),
            url=where,
            chunk_size=PIECE,
            metadata={"filename": path.name},
            upload_checksum=True,
        )
        uploader.upload(stop_at=2 * cut * PIECE)
        where = uploader.url
        assert uploader.offset == 2 * cut * PIECE
    last = tusclient.TusClient(f"{server.api}/uploads", headers=HEADERS)
    last.uploader(str(path), url=where, chunk_size=PIECE).upload()
    kept = server.log.parent / "data" / "uploads" / str(where).rsplit("/", 1)[1]
    assert kept.read_bytes() == content
    assert submitted(server, str(where))["filename"] == "talk.wav"


def submitted(server: Server, where: str) -> dict[str, Any]:
    body = json.dumps({"upload_id": where.rsplit("/", 1)[1]}).encode()
    headers = {**HEADERS, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.api}/jobs", body, headers)
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_tus_js_client(server: Server) -> None:
    run_javascript("tus.test.mjs", server)
