"""Uploads: PUTs a file, which may not be complete yet, to the URL that a client names.

Object stores take a file whose length they know beforehand. Some also take one as it comes
(``Transfer-Encoding: chunked``), which is tried first if it saves time. A presigned URL signs some
headers of the request, so no more are sent than HTTP needs.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from html import unescape
from typing import Protocol
from urllib.parse import unquote

import httpx

from reflector_gpu.audio.direct import direct_transport
from reflector_gpu.audio.fetch import FetchLimits
from reflector_gpu.audio.guard import (
    AddressGuard,
    GuardedTransport,
    NameNotResolved,
    parse_url,
    port_of,
)
from reflector_gpu.audio.urls import credentials, origin_of, redirected
from reflector_gpu.errors import ReflectorError, UpstreamFailed, UpstreamTimeout
from reflector_gpu.version import __version__

_log = logging.getLogger(__name__)

_REDIRECTS = frozenset((301, 302, 307, 308))
_FINAL = frozenset((401, 403, 404, 405, 409, 410, 412))
"""Refusals that another form of the same request does not change."""
_BUSY = frozenset((408, 425, 429))
_HEARD = 4_096  # the bytes of a refusal that are read
_QUOTED = 200  # characters of it that an error repeats
_SECRET_LENGTH = 8  # characters; shorter values in a query are common words
_XML_FIELD = re.compile(r"<(Code|Message)>([^<]*)</\1>")
_MARKUP = re.compile(r"<[^>]*>")


class Outgoing(Protocol):
    """A file that may not be complete yet."""

    @property
    def size(self) -> int:
        """The bytes that are there so far."""
        ...

    @property
    def complete(self) -> bool: ...

    async def completed(self) -> None:
        """Wait for the last byte. Raises the error that ended the making."""
        ...

    def arriving(self) -> AsyncIterator[bytes]:
        """All bytes as they come. Raises the error that ended the making."""
        ...

    def whole(self) -> AsyncIterator[bytes]:
        """All `size` bytes of the complete file."""
        ...


class _NotMade(Exception):
    """The error that ended the making, which is not the receiver's fault."""

    def __init__(self, error: ReflectorError) -> None:
        super().__init__(error.message)
        self.error = error


class _NotTaken(Exception):
    """An attempt failed. The caller gets ``error`` if it was the last.

    ``final`` means that no other form of the request would help, and ``again`` that the same one
    may work later.
    """

    def __init__(self, error: ReflectorError, *, final: bool = False, again: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.final = final
        self.again = again


class Sender:
    """Puts files to URLs that clients name. Safe to share between tasks."""

    def __init__(
        self,
        guard: AddressGuard,
        limits: FetchLimits,
        *,
        field: str,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``field`` is the request's field with the URL, which errors have as ``param``."""
        self._guard = guard
        self._transport = GuardedTransport(transport or direct_transport(), guard)
        self._limits = limits
        self._field = field
        self._sleep = sleep

    async def aclose(self) -> None:
        """Close the connections that are still open."""
        await self._transport.aclose()

    async def check(self, url: str) -> None:
        """Check before there is a file whether it may go to ``url``.

        Raises:
            InvalidRequest: this is no absolute URL.
            UrlForbidden: it leads where the policy does not allow.
            UpstreamFailed, UpstreamTimeout: its host cannot be found.
        """
        try:
            parsed = parse_url(url)
            async with asyncio.timeout(self._limits.connect_timeout):
                await self._guard.resolve(_host(parsed), port_of(parsed))
        except ReflectorError as error:
            error.param = self._field
            raise
        except TimeoutError:
            message = "The receiver's name cannot be looked up in time; try later."
            raise self._late(message) from None

    async def send(self, url: str, file: Outgoing) -> None:
        """PUT ``file`` to ``url``: as it comes if it is not complete, and otherwise as a whole.

        User and password in the URL become Basic credentials, for the URL's own origin only.

        Raises:
            InvalidRequest: this is no absolute URL.
            UrlForbidden: the URL, or a redirect, leads where the policy does not allow.
            UpstreamTimeout: the receiver is silent, or takes too long in all.
            UpstreamFailed: it cannot be reached, refuses, or misbehaves.
            ReflectorError: the file could not be made.
        """
        try:
            async with asyncio.timeout(self._limits.total_timeout):
                await self._send(parse_url(url), file)
        except _NotMade as unmade:
            raise unmade.error from unmade.__cause__
        except _NotTaken as refused:
            refused.error.param = self._field
            raise refused.error from refused.__cause__
        except ReflectorError as error:
            error.param = self._field
            raise
        except TimeoutError:
            raise self._late("The file takes too long to send; try again.") from None

    async def _send(self, url: httpx.URL, file: Outgoing) -> None:
        if not file.complete:
            try:
                await self._put(url, None, file.arriving)
            except _NotTaken as refused:
                if refused.final:
                    raise
                _log.info("Upload, once more with its length: %s", refused)
            else:
                return
        await _made(file.completed())
        limits, failures = self._limits, 0
        while True:
            try:
                await self._put(url, file.size, file.whole)
            except _NotTaken as refused:
                if failures == limits.retries or not refused.again:
                    raise
                failures += 1
                _log.info("Upload, retry %d: %s", failures, refused)
                await self._sleep(min(limits.max_backoff, limits.backoff * 2 ** (failures - 1)))
            else:
                return

    async def _put(
        self, first: httpx.URL, size: int | None, body: Callable[[], AsyncIterator[bytes]]
    ) -> None:
        """Make one attempt, and follow redirects. Without a ``size``, the body is chunked."""
        limits, authorization, url = self._limits, credentials(first), first
        timeouts = httpx.Timeout(limits.read_timeout, connect=limits.connect_timeout, pool=None)
        for _ in range(limits.max_redirects + 1):
            headers = {
                "Host": url.netloc.decode("ascii"),
                "User-Agent": f"reflector-gpu/{__version__}",
            }
            if size is not None:
                headers["Content-Length"] = str(size)
            if authorization and origin_of(url) == origin_of(first):
                headers["Authorization"] = authorization
            request = httpx.Request(
                "PUT",
                url.copy_with(userinfo=b""),
                headers=headers,
                content=_marked(body()),
                extensions={"timeout": timeouts.as_dict()},
            )
            location = await self._exchange(request)
            if location is None:
                return
            url = self._moved(url, location)
        message = f"The receiver {_host(first)} redirects too often; send the final URL."
        raise _NotTaken(self._failed(message), final=True)

    async def _exchange(self, request: httpx.Request) -> str | None:
        """Send ``request``, and return where it is redirected to. None: the file was taken."""
        host = _host(request.url)
        try:
            response = await self._transport.handle_async_request(request)
            try:
                if response.is_success:
                    return None
                if response.status_code in _REDIRECTS:
                    location: str = response.headers.get("location", "")
                    return location
                said = _quoted(await _heard(response), request.url)
                raise self._refusal(response.status_code, said, host)
            finally:
                await response.aclose()
        except NameNotResolved as error:
            raise _NotTaken(error, final=not error.temporary, again=True) from error
        except (httpx.TransportError, ssl.SSLError) as error:
            raise self._broken(error, host) from error

    def _moved(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            return redirected(url, location)
        except ValueError:
            message = f"The receiver {_host(url)} redirects to something that is no URL."
            raise _NotTaken(self._failed(message), final=True) from None

    def _refusal(self, status: int, said: str, host: str) -> _NotTaken:
        advice = "check the URL" if status < 500 else "try later"
        if status in (401, 403):
            advice = "a presigned URL may have expired: make a new one"
        words = f": {said}" if said else ""
        message = f"The receiver {host} did not take the file ({status}{words}); {advice}."
        again = status in _BUSY or (status >= 500 and status != 501)
        return _NotTaken(self._failed(message), final=status in _FINAL, again=again)

    def _broken(self, error: Exception, host: str) -> _NotTaken:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                message = f"The receiver {host} has no valid certificate; use another URL."
                return _NotTaken(self._failed(message), final=True)
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.ConnectTimeout):
            message = f"The receiver {host} cannot be reached in time; try later."
            return _NotTaken(self._late(message), final=True)
        if isinstance(error, httpx.TimeoutException):
            message = f"The receiver {host} does not answer in time; try later."
            return _NotTaken(self._late(message))
        if isinstance(error, httpx.ConnectError):
            message = f"The receiver {host} cannot be reached; check the URL."
            return _NotTaken(self._failed(message), again=True)
        message = f"The receiver {host} broke off the upload; try later."
        return _NotTaken(self._failed(message), again=True)

    def _failed(self, message: str) -> UpstreamFailed:
        return UpstreamFailed(message, param=self._field)

    def _late(self, message: str) -> UpstreamTimeout:
        return UpstreamTimeout(message, param=self._field)


async def _made(waiting: Awaitable[None]) -> None:
    try:
        await waiting
    except ReflectorError as error:
        raise _NotMade(error) from error


async def _marked(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """``pieces``, with errors that can be told from the receiver's."""
    try:
        async for piece in pieces:
            yield piece
    except ReflectorError as error:
        raise _NotMade(error) from error


async def _heard(response: httpx.Response) -> str:
    """The start of an answer's body."""
    body = bytearray()
    async for data in response.aiter_raw():
        body += data
        if len(body) >= _HEARD:
            break
    return body[:_HEARD].decode(errors="replace")


def _quoted(text: str, url: httpx.URL) -> str:
    """An error's body in one line: S3's code and message, or its first words.

    A body may repeat the URL or the signed text, so values of the URL's query are left out.
    """
    fields = _XML_FIELD.findall(text)
    said = ", ".join(value for _, value in fields) if fields else _MARKUP.sub(" ", text)
    said = " ".join(unescape(said).split())
    for pair in url.query.decode("ascii").split("&"):
        value = pair.partition("=")[2]
        for secret in {value, unquote(value)}:
            if len(secret) >= _SECRET_LENGTH:
                said = said.replace(secret, "...")
    return said[:_QUOTED]


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")
