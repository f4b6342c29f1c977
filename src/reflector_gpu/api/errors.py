"""Domain errors as HTTP: their statuses, and the body that all of them have."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from reflector_gpu import errors
from reflector_gpu.api.request_record import record_of
from reflector_gpu.api.route_table import RouteTable
from reflector_gpu.service.parameters import plain

logger = logging.getLogger(__name__)

STATUS: Mapping[type[errors.ReflectorError], int] = {
    errors.InvalidRequest: 400,
    errors.ChecksumMismatch: 460,  # as tus has it
    errors.UnsupportedMediaType: 415,
    errors.UnsupportedVersion: 412,
    errors.Conflict: 409,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.UrlForbidden: 403,
    errors.OriginForbidden: 403,
    errors.AudioNotFound: 404,
    errors.NotFound: 404,
    errors.NotConfigured: 404,
    errors.ClientTooSlow: 408,
    errors.UnknownModel: 404,
    errors.TooLarge: 413,
    errors.Overloaded: 429,
    errors.Unavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.UpstreamFailed: 502,
    errors.UpstreamTimeout: 504,
    errors.ReflectorError: 500,
}
"""The status of each class of errors. Others have that of their nearest ancestor here."""

_WORTH_WAITING = 60.0
"""Seconds. Most of OpenAI's clients wait no longer: they would ask again at once, for nothing."""

CLIENT_CLOSED = 499
"""nginx's status for a client that left. It is logged and never sent."""

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


class ErrorDetail(BaseModel):
    message: str = Field(description="What went wrong and what to do.")
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(None, description="The field that is at fault.")
    code: str | None = Field(None, examples=["unsupported_language"])


class ErrorBody(BaseModel):
    """Every error of this service: OpenAI clients read ``error``, others ``detail``."""

    error: ErrorDetail
    detail: str = Field(description="The message again.")


ANY_FAILURE = {"model": ErrorBody, "description": "What went wrong"}
"""How the OpenAPI document describes a route's errors, where it does not list them one by one."""


def status_of(error: errors.ReflectorError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def error_detail(error: errors.ReflectorError) -> ErrorDetail:
    return _detail(status_of(error), error.message, error.param, error.code)


def error_body(error: errors.ReflectorError) -> ErrorBody:
    detail = error_detail(error)
    return ErrorBody(error=detail, detail=detail.message)


def error_response(error: errors.ReflectorError) -> JSONResponse:
    """The response for ``error``, with the headers that go with its status."""
    headers: dict[str, str] = {}
    if isinstance(error, errors.Overloaded | errors.Unavailable):
        headers["Retry-After"] = str(math.ceil(error.retry_after))
        if error.retry_after > _WORTH_WAITING:
            headers["x-should-retry"] = "false"
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return _ErrorResponse(status_of(error), error_detail(error), headers)


def install(app: FastAPI, routes: RouteTable) -> None:
    """Have every failure of ``app``, which has these ``routes``, answered with an `ErrorBody`."""
    app.add_exception_handler(errors.ReflectorError, _on_domain_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, partial(_on_http_exception, routes))
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_bug)


async def _on_domain_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ReflectorError)
    errors.release_frames(error)
    return error_response(error)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    names = problem["loc"][1:]  # after the part of the request
    param = ".".join(name for name in names if isinstance(name, str)) or None
    message = f"{param}: {plain(problem)}" if param else plain(problem)
    return error_response(errors.InvalidRequest(message, param=param))


async def _on_http_exception(routes: RouteTable, request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message, path, headers = str(error.detail), request.url.path, error.headers
    if error.status_code == HTTPStatus.NOT_FOUND:
        message = f"There is no {path} here; /docs lists what there is."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # Starlette names those of one route
        allowed = routes.methods(request.scope)
        headers = {**(headers or {}), "Allow": ", ".join(allowed)}
        message = f"{path} does not take {request.method}; send {' or '.join(allowed)}."
    detail = _detail(error.status_code, message, None, None)
    return _ErrorResponse(error.status_code, detail, headers)


async def _on_disconnect(_: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED)


async def _on_bug(request: Request, error: Exception) -> Response:
    return bug_response(request.scope, error)


def bug_response(scope: Scope, error: Exception) -> Response:
    """The response to a request that ran into a bug of ours. Only the log says which."""
    logger.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
    return _ErrorResponse(500, _detail(500, "The server failed on this request.", None, None))


def _detail(status: int, message: str, param: str | None, code: str | None) -> ErrorDetail:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return ErrorDetail(message=message, type=kind, param=param, code=code)


class _ErrorResponse(JSONResponse):
    """An `ErrorBody`. Its message also goes into the request's line of the log."""

    def __init__(
        self, status: int, detail: ErrorDetail, headers: Mapping[str, str] | None = None
    ) -> None:
        body = ErrorBody(error=detail, detail=detail.message)
        super().__init__(body.model_dump(), status, headers=headers)
        self._detail = detail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _note(scope, self._detail)
        await super().__call__(scope, receive, send)


def record_failure(scope: Scope, error: errors.ReflectorError) -> None:
    """Have the request's line of the log say why it failed."""
    errors.release_frames(error)
    _note(scope, error_detail(error))


def _note(scope: Scope, detail: ErrorDetail) -> None:
    code = f"{detail.code}: " if detail.code else ""
    record_of(scope).details["reason"] = f"{code}{detail.message}"
