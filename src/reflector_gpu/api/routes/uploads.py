"""Uploads that can be resumed: tus 1.0 (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from email.utils import formatdate

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api.checked_query import CheckedQuery
from reflector_gpu.api.connection import check_rate
from reflector_gpu.api.dependencies import AppJobs, AppService, Owner
from reflector_gpu.api.errors import ANY_FAILURE
from reflector_gpu.errors import (
    ClientTooSlow,
    InvalidRequest,
    UnsupportedMediaType,
    UnsupportedVersion,
)
from reflector_gpu.jobs.uploads import ALGORITHMS, Checksum, Upload, Uploads

_VERSION = "1.0.0"
_EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
_OCTETS = "application/offset+octet-stream"
_LONGEST_METADATA = 4000
_LONGEST_NAME = 255
_ADVICE = "go on where the upload is"

router = APIRouter(
    prefix="/v1/uploads",
    tags=["jobs"],
    responses={"default": ANY_FAILURE},
    default_response_class=Response,
    route_class=CheckedQuery,
)


@router.options("", status_code=204)
async def describe_uploads(jobs: AppJobs) -> Response:
    """Say which parts of tus this server knows."""
    return Response(
        status_code=204,
        headers={
            "Tus-Resumable": _VERSION,
            "Tus-Version": _VERSION,
            "Tus-Extension": _EXTENSIONS,
            "Tus-Max-Size": str(jobs.uploads.limit),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        },
    )


@router.post("", status_code=201)
async def create_upload(
    request: Request, jobs: AppJobs, service: AppService, owner: Owner
) -> Response:
    """Begin an upload that can be resumed, with a client of tus 1.0.

    The last part of the answer's `Location` is the `upload_id` of jobs. The metadata `filename`
    is the recording's name.
    """
    _check_version(request)
    length = _number(request, "Upload-Length")
    metadata = request.headers.get("upload-metadata", "")
    upload = await jobs.uploads.create(owner, length, _filename(metadata), metadata)
    if request.headers.get("content-type") == _OCTETS:
        upload = await _append(request, jobs.uploads, upload, 0, service.settings.body_seconds)
    headers = {"Location": f"{request.url.path}/{upload.id}"}
    return _answer(201, upload, headers)


@router.head("/{upload_id}")
async def get_upload_offset(
    upload_id: str, request: Request, jobs: AppJobs, owner: Owner
) -> Response:
    """Say how many bytes of an upload are here."""
    _check_version(request)
    upload = await jobs.uploads.get(owner, upload_id)
    headers = {"Upload-Length": str(upload.length), "Cache-Control": "no-store"}
    if upload.metadata:
        headers["Upload-Metadata"] = upload.metadata
    return _answer(200, upload, headers)


@router.patch("/{upload_id}", status_code=204)
async def append_to_upload(
    upload_id: str, request: Request, jobs: AppJobs, service: AppService, owner: Owner
) -> Response:
    """Append bytes to an upload, from `Upload-Offset` on."""
    _check_version(request)
    if request.headers.get("content-type") != _OCTETS:
        raise UnsupportedMediaType(f"Send the bytes with Content-Type: {_OCTETS}.")
    upload = await jobs.uploads.get(owner, upload_id)
    offset = _number(request, "Upload-Offset")
    patience = service.settings.body_seconds
    return _answer(204, await _append(request, jobs.uploads, upload, offset, patience))


@router.delete("/{upload_id}", status_code=204)
async def delete_upload(upload_id: str, request: Request, jobs: AppJobs, owner: Owner) -> Response:
    """Remove an upload. Jobs that were made of it keep their recording."""
    _check_version(request)
    await jobs.uploads.remove(owner, upload_id)
    return Response(status_code=204, headers={"Tus-Resumable": _VERSION})


async def _append(
    request: Request, uploads: Uploads, upload: Upload, offset: int, patience: float
) -> Upload:
    checksum = _checksum(request)
    async with aclosing(_pieces(request, patience)) as pieces:
        return await uploads.append(upload, offset, pieces, checksum)


async def _pieces(request: Request, patience: float) -> AsyncGenerator[bytes, None]:
    stream, began, got = request.stream(), time.monotonic(), 0
    while True:
        try:
            async with asyncio.timeout(patience):
                piece = await anext(stream, None)
        except TimeoutError:
            raise ClientTooSlow(f"No byte came for {patience:g} seconds; {_ADVICE}.") from None
        if piece is None:
            return
        got += len(piece)
        check_rate(got, time.monotonic() - began, patience, _ADVICE)
        yield piece


def _answer(status: int, upload: Upload, headers: dict[str, str] | None = None) -> Response:
    return Response(
        status_code=status,
        headers={
            "Tus-Resumable": _VERSION,
            "Upload-Offset": str(upload.offset),
            "Upload-Expires": formatdate(upload.expires, usegmt=True),
            **(headers or {}),
        },
    )


def _check_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != _VERSION:
        raise UnsupportedVersion(f"Send the header Tus-Resumable: {_VERSION}.")


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise InvalidRequest(f"Send the header {name}: a number of bytes.", param=name)
    return int(text)


def _filename(metadata: str) -> str:
    """The name among the ``metadata``: pairs of a key and a value in base64."""
    if len(metadata) > _LONGEST_METADATA:
        raise InvalidRequest(
            f"Upload-Metadata has at most {_LONGEST_METADATA} characters.", param="Upload-Metadata"
        )
    for pair in metadata.split(","):
        key, _, value = pair.strip().partition(" ")
        if key in ("filename", "name"):
            return _decoded(value, "Upload-Metadata").decode("utf-8", "replace")[:_LONGEST_NAME]
    return "audio"


def _checksum(request: Request) -> Checksum | None:
    header = request.headers.get("upload-checksum")
    if header is None:
        return None
    algorithm, _, value = header.partition(" ")
    if algorithm not in ALGORITHMS:
        raise InvalidRequest(
            f"Upload-Checksum: send one of {', '.join(ALGORITHMS)}, a space, and the digest in "
            "base64.",
            param="Upload-Checksum",
        )
    return Checksum(algorithm, _decoded(value, "Upload-Checksum"))


def _decoded(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise InvalidRequest(f"{header} has a value that is not base64.", param=header) from None
