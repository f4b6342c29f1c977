"""Uploads that are resumed: what tus 1.0 says, and what becomes of them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reflector_gpu.api import connection
from tests.api.support import error_of, eventually, send_raw, trickled
from tests.live import KEY, LiveServer

UPLOADS = "/v1/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[LiveServer]:
    with LiveServer(
        model="scripted", apikey=f"{KEY},other", data_dir=data, max_upload_mb=1
    ) as server:
        yield server


@pytest.fixture(scope="module")
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def create(http: httpx.Client, length: int, **headers: str) -> str:
    answer = http.post(UPLOADS, headers={**TUS, "Upload-Length": str(length), **headers})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Upload-Expires"].endswith("GMT")
    return str(answer.headers["Location"])


def append(
    http: httpx.Client, where: str, offset: int, data: bytes, **headers: str
) -> httpx.Response:
    sent = {**OCTETS, "Upload-Offset": str(offset), **headers}
    return http.patch(where, content=data, headers=sent)


def offset_of(http: httpx.Client, where: str) -> int:
    answer = http.head(where, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return int(answer.headers["Upload-Offset"])


def completed(http: httpx.Client, job: str) -> None:
    eventually(lambda: http.get(job).json()["status"] == "completed")


def checksum(data: bytes, algorithm: str = "sha1") -> str:
    digest = hashlib.new(algorithm, data).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def test_the_server_says_what_it_knows(http: httpx.Client) -> None:
    answer = http.options(UPLOADS)
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == "1000000"
    extensions = answer.headers["Tus-Extension"].split(",")
    assert {"creation", "expiration", "checksum", "termination"} <= set(extensions)
    assert "sha1" in answer.headers["Tus-Checksum-Algorithm"]


def test_an_upload_in_pieces_becomes_a_job(http: httpx.Client, clip: bytes) -> None:
    name = base64.b64encode("Sitzung №1.wav".encode()).decode()
    where = create(http, len(clip), **{"Upload-Metadata": f"filename {name},private"})
    half = len(clip) // 2
    upload_id = where.rsplit("/", 1)[1]
    early = http.post("/v1/jobs", json={"upload_id": upload_id})
    assert error_of(early, 400)["param"] == "upload_id"
    assert append(http, where, 0, clip[:half]).headers["Upload-Offset"] == str(half)
    assert offset_of(http, where) == half
    assert append(http, where, half, clip[half:]).status_code == 204
    for kind in ("transcription", "diarization"):  # one upload does for several jobs
        job = http.post("/v1/jobs", json={"upload_id": upload_id, "kind": kind}).json()
        assert job["filename"] == "Sitzung №1.wav"
        completed(http, f"/v1/jobs/{job['id']}")


def test_a_repeated_request_gives_its_job_though_the_upload_is_gone(
    http: httpx.Client, clip: bytes
) -> None:
    where = create(http, len(clip))
    append(http, where, 0, clip)
    sent = {"upload_id": where.rsplit("/", 1)[1], "idempotency_key": "gone"}
    job = http.post("/v1/jobs", json=sent).json()["id"]
    assert http.delete(where, headers=TUS).status_code == 204
    again = http.post("/v1/jobs", json=sent)
    assert (again.status_code, again.json()["id"]) == (200, job)
    other = http.post("/v1/jobs", json={**sent, "language": "de"})
    assert error_of(other, 400)["param"] == "idempotency_key"
    new = http.post("/v1/jobs", json={**sent, "idempotency_key": "new"})
    assert error_of(new, 400)["param"] == "upload_id"


def test_an_upload_may_begin_with_its_creation(http: httpx.Client) -> None:
    answer = http.post(UPLOADS, headers={**OCTETS, "Upload-Length": "10"}, content=b"01234")
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "5")


def test_what_came_before_the_connection_broke_is_kept(
    server: LiveServer, http: httpx.Client, data: Path
) -> None:
    content = bytes(range(256)) * 1000
    where = create(http, len(content))
    request = http.build_request(
        "PATCH", where, headers={**OCTETS, "Upload-Offset": "0"}, content=content
    )
    connection = send_raw(server, request, share=0.5)
    eventually(lambda: offset_of(http, where) == len(content) // 2)
    connection.close()
    offset = offset_of(http, where)
    assert append(http, where, offset, content[offset:]).status_code == 204
    assert (data / "uploads" / where.rsplit("/", 1)[1]).read_bytes() == content


def test_a_client_that_comes_back_takes_over(server: LiveServer, http: httpx.Client) -> None:
    """Its first connection is dead, but the server does not know that yet."""
    content = b"x" * 200_000
    where = create(http, len(content))
    request = http.build_request(
        "PATCH", where, headers={**OCTETS, "Upload-Offset": "0"}, content=content
    )
    with send_raw(server, request, share=0.5) as dead:
        eventually(lambda: offset_of(http, where) == 100_000)
        assert append(http, where, 100_000, content[100_000:150_000]).status_code == 204
        dead.sendall(b"y" * 100_000)
        assert b"409" in dead.recv(1000)
    assert offset_of(http, where) == 150_000


def test_a_client_that_trickles_has_to_go_on_later(
    bare: Callable[..., LiveServer], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SLOWEST_RATE", 1e9)
    server = bare(model="scripted", apikey=KEY, data_dir=data, body_seconds=0.5)
    with server.client() as http:
        where = create(http, 100_000)
        request = http.build_request(
            "PATCH", where, headers={**OCTETS, "Upload-Offset": "0"}, content=b"x" * 100_000
        )
        said = trickled(server, request)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert offset_of(http, where) >= 50_000


def test_a_wrong_checksum_leaves_the_upload_as_it_was(http: httpx.Client) -> None:
    where = create(http, 10)
    for algorithm in ("sha1", "sha256", "md5"):
        wrong = append(http, where, 0, b"0123X", **{"Upload-Checksum": checksum(b"", algorithm)})
        assert error_of(wrong, 460)["code"] == "checksum_mismatch"
        assert offset_of(http, where) == 0
    right = append(http, where, 0, b"01234", **{"Upload-Checksum": checksum(b"01234")})
    assert right.status_code == 204
    assert offset_of(http, where) == 5


def test_an_upload_is_terminated(http: httpx.Client, data: Path) -> None:
    where = create(http, 10)
    assert http.delete(where, headers=TUS).status_code == 204
    assert http.head(where, headers=TUS).status_code == 404
    assert error_of(append(http, where, 0, b"0"), 404)
    assert not (data / "uploads" / where.rsplit("/", 1)[1]).exists()


def test_an_upload_belongs_to_its_key(server: LiveServer, http: httpx.Client) -> None:
    where = create(http, 10)
    with server.client("other") as other:
        assert other.head(where, headers=TUS).status_code == 404
        assert append(other, where, 0, b"0").status_code == 404
        assert other.delete(where, headers=TUS).status_code == 404


BAD: list[tuple[dict[str, Any], int]] = [
    ({"Upload-Offset": "7"}, 409),
    ({"Upload-Offset": "-1"}, 400),
    ({"Upload-Offset": "²"}, 400),
    ({"Content-Type": "application/octet-stream"}, 415),
    ({"Tus-Resumable": "0.2.2"}, 412),
    ({"Upload-Checksum": "crc32 AAAA"}, 400),
    ({"Upload-Checksum": "sha1 *"}, 400),
]


@pytest.mark.parametrize(("headers", "status"), BAD, ids=str)
def test_bad_pieces_are_refused(http: httpx.Client, headers: dict[str, str], status: int) -> None:
    where = create(http, 10)
    raw = {**OCTETS, "Upload-Offset": "0", **headers}
    sent = {name.encode(): value.encode() for name, value in raw.items()}
    error_of(http.patch(where, content=b"0", headers=sent), status)
    assert offset_of(http, where) == 0


def test_more_bytes_than_announced_are_refused(http: httpx.Client) -> None:
    where = create(http, 3)
    error_of(append(http, where, 0, b"0123"), 413)


@pytest.mark.parametrize(("length", "status"), [("1000001", 413), ("many", 400), ("", 400)])
def test_bad_lengths_are_refused(http: httpx.Client, length: str, status: int) -> None:
    error_of(http.post(UPLOADS, headers={**TUS, "Upload-Length": length}), status)
