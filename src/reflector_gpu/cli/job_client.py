"""The jobs of a server, for the command line."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import httpx
from pydantic import JsonValue

from reflector_gpu.cli.server_address import base_url, headers
from reflector_gpu.cli.server_errors import explained, refusal
from reflector_gpu.cli.transcript_warnings import warnings_of_header
from reflector_gpu.errors import InvalidRequest, NotFound, UpstreamFailed, UpstreamTimeout
from reflector_gpu.formats.audio_warnings import WARNINGS_HEADER

Json = Mapping[str, JsonValue]

_TIMEOUTS = httpx.Timeout(60.0, connect=10.0)
_PIECE = 8 << 20  # bytes of one request
_TRIES = 5  # to send a piece
_TUS = {"Tus-Resumable": "1.0.0"}


class Result(NamedTuple):
    text: str
    warnings: list[str]
    """What it may lack."""


class JobClient:
    """A connection to a server, as a context manager."""

    def __init__(self, server: str, key: str | None) -> None:
        """
        Raises:
            InvalidRequest: the address or the key cannot be right.
        """
        self._http = httpx.Client(
            base_url=base_url(server), headers=headers(key), timeout=_TIMEOUTS
        )

    def __enter__(self) -> JobClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, fields: Json) -> Json:
        """The job of ``fields``, which say where its recording is."""
        return self._asked("POST", "/v1/jobs", json=fields)

    def with_key(self, idempotency_key: str) -> Json | None:
        """The job that was submitted with this key, if there is one."""
        found = self._asked("GET", "/v1/jobs", params={"idempotency_key": idempotency_key})
        jobs = found["data"]
        assert isinstance(jobs, list)
        return next((job for job in jobs if isinstance(job, dict)), None)

    def get(self, job_id: str) -> Json:
        return self._asked("GET", f"/v1/jobs/{job_id}")

    def listed(self, status: str | None, limit: int) -> list[Json]:
        """The newest jobs first."""
        query = {"limit": str(limit), **({"status": status} if status else {})}
        jobs = self._asked("GET", "/v1/jobs", params=query)["data"]
        assert isinstance(jobs, list)
        return [job for job in jobs if isinstance(job, dict)]

    def cancel(self, job_id: str) -> Json:
        return self._asked("POST", f"/v1/jobs/{job_id}/cancel")

    def delete(self, job_id: str) -> str:
        """What became of the job."""
        self._asked("DELETE", f"/v1/jobs/{job_id}")
        return "deleted"

    def result(self, job_id: str, form: str | None, *, partial: bool = False) -> Result:
        """The result in this format, or in the job's own. ``partial``: what there is of it."""
        query = {**({"format": form} if form else {}), **({"partial": "true"} if partial else {})}
        with explained(self._http.base_url):
            answer = self._http.get(f"/v1/jobs/{job_id}/result", params=query)
        _check(answer)
        header = answer.headers.get(WARNINGS_HEADER)
        return Result(answer.text, warnings_of_header(header) if header else [])

    def upload(self, path: Path, report: Callable[[str], None]) -> str:
        """The ``upload_id`` of a file. After a broken connection, it goes on where it was.

        Raises:
            UpstreamFailed, UpstreamTimeout: it broke too often.
            InvalidRequest: the file became shorter meanwhile.
        """
        size = path.stat().st_size
        name = base64.b64encode(path.name.encode()).decode()
        told = {**_TUS, "Upload-Length": str(size), "Upload-Metadata": f"filename {name}"}
        with explained(self._http.base_url):
            made = self._http.post("/v1/uploads", headers=told)
        if not made.is_success:
            raise refusal(made.status_code, made.content)
        where, offset, failures = made.headers["Location"], 0, 0
        with path.open("rb") as file:
            while offset < size:
                report(f"sending {100 * offset // size}%")
                file.seek(offset)
                if not (piece := file.read(_PIECE)):
                    raise InvalidRequest("it became shorter while it was sent")
                try:
                    with explained(self._http.base_url):
                        offset = self._append(where, offset, piece)
                    failures = 0
                except (UpstreamFailed, UpstreamTimeout):
                    failures += 1
                    if failures == _TRIES:
                        raise
                    time.sleep(2.0 ** (failures - 1))
                    offset = self._offset(where, offset)
        return str(where).rsplit("/", 1)[1]

    def _append(self, where: str, offset: int, data: bytes) -> int:
        told = {
            **_TUS,
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
        }
        answer = self._http.patch(where, content=data, headers=told)
        if not answer.is_success:
            raise refusal(answer.status_code, answer.content)
        return int(answer.headers["Upload-Offset"])

    def _offset(self, where: str, known: int) -> int:
        """How many bytes of an upload the server has; ``known`` if it does not answer."""
        try:
            answer = self._http.head(where, headers=_TUS)
        except httpx.HTTPError:
            return known
        return int(answer.headers.get("Upload-Offset", known))

    def _asked(
        self,
        method: str,
        path: str,
        json: Json | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Json:
        with explained(self._http.base_url):
            answer = self._http.request(method, path, json=json, params=params)
        _check(answer)
        try:
            found: Json = answer.json()
        except ValueError:
            raise UpstreamFailed("The server's answer makes no sense.") from None
        return found


def _check(answer: httpx.Response) -> None:
    """
    Raises:
        NotFound: there is no such job.
        UpstreamFailed: the server refuses for another reason.
    """
    if answer.is_success:
        return
    error = refusal(answer.status_code, answer.content)
    raise NotFound(error.message) if answer.status_code == httpx.codes.NOT_FOUND else error


def key_of(path: Path, fields: Json) -> str:
    """The idempotency key of a file and ``fields``: however often they are sent, they are one
    job."""
    digest = hashlib.sha256(repr(sorted(fields.items())).encode())
    with path.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"cli-{digest.hexdigest()}"
