"""Downloads: the recording behind a client's URL, streamed into a `Spool`.

Requests go straight to an httpx transport. `httpx.AsyncClient` is left out on purpose: it logs
whole URLs (a presigned one is a secret), and keeps cookies from one client's download for the next.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import httpx

from reflector_gpu.audio.direct import direct_transport
from reflector_gpu.audio.guard import (
    URL_FIELD,
    AddressGuard,
    GuardedTransport,
    NameNotResolved,
    parse_url,
)
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.urls import credentials, origin_of, redirected
from reflector_gpu.errors import (
    AudioNotFound,
    ReflectorError,
    ShuttingDown,
    TooLarge,
    UndecodableAudio,
    UpstreamFailed,
    UpstreamTimeout,
)
from reflector_gpu.settings import Settings
from reflector_gpu.version import __version__

_log = logging.getLogger(__name__)

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_BUSY = frozenset((408, 425, 429))
_PROGRESS = 1 << 20
_COMPRESSED = re.compile(r"\b(gzip|deflate|br|zstd|compress)\b", re.IGNORECASE)
_CONTENT_RANGE = re.compile(
    r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """How much and how long a download may take; times are in seconds."""

    max_bytes: int
    connect_timeout: float
    """For the name lookup, and again for the connection to each address with its TLS handshake."""
    read_timeout: float
    """The longest silence of the host, and how long the head of an answer may take."""
    total_timeout: float
    """For everything: redirects, retries and the pauses between them."""
    retries: int
    """Attempts after the first. One that brought a mebibyte starts the count anew."""
    min_rate: float = 1024.0
    """Bytes per second; a host that stays below it for `rate_window` counts as too slow."""
    rate_window: float = 30.0
    backoff: float = 0.5
    """The pause before the first retry; it doubles with every further one, up to `max_backoff`."""
    max_backoff: float = 8.0
    max_redirects: int = 5

    @classmethod
    def of(cls, settings: Settings) -> FetchLimits:
        return cls(
            max_bytes=settings.max_upload_bytes,
            connect_timeout=settings.url_connect_seconds,
            read_timeout=settings.url_read_seconds,
            total_timeout=settings.url_total_seconds,
            retries=settings.url_retries,
        )


class _Transient(Exception):
    """Another attempt may help; if none does, ``error`` is what the caller gets."""

    def __init__(self, error: ReflectorError, wait: float = 0.0) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait = wait


class Fetcher:
    """Downloads recordings from URLs that clients send. Safe to share between tasks.

    An async context manager; `aclose` closes the connections that are still open.
    """

    def __init__(
        self,
        guard: AddressGuard,
        limits: FetchLimits,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``transport`` opens the connections (for another certificate authority, say); it sees
        addresses instead of hosts, and must not keep connections alive. ``jitter`` is in [0, 1).
        """
        self._transport = GuardedTransport(transport or direct_transport(), guard)
        self._limits = limits
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter

    async def __aenter__(self) -> Fetcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that are still open."""
        await self._transport.aclose()

    async def fetch(self, url: str, spool: Spool) -> None:
        """Stream what ``url`` holds into ``spool``, and finish it; on any error, fail it.

        User and password in the URL become Basic credentials, for the URL's own origin only.

        Raises:
            InvalidRequest: this is no absolute URL.
            UrlForbidden: the URL, or a redirect, leads where the policy does not allow.
            AudioNotFound: the host answers 404 or 410.
            UndecodableAudio: the body is empty.
            TooLarge: the body is over a limit.
            UpstreamTimeout: the host is silent, too slow, or takes too long in all.
            UpstreamFailed: the host cannot be found or reached, refuses, or misbehaves.
            StorageFull: the spool cannot be written.
        """
        try:
            task = _Task.of(parse_url(url), spool)
            async with asyncio.timeout(self._limits.total_timeout):
                await self._download(task)
            if not spool.size:
                raise UndecodableAudio("The file is empty.", param=URL_FIELD)
        except ReflectorError as error:
            spool.fail(error)
            raise
        except TimeoutError:
            message = "The audio URL takes too long to download; upload the file instead."
            late = UpstreamTimeout(message, param=URL_FIELD)
            spool.fail(late)
            raise late from None
        except BaseException:
            spool.fail(ShuttingDown("The download was dropped before its end."))
            raise
        spool.finish()

    async def _download(self, task: _Task) -> None:
        limits = self._limits
        failures = 0
        while True:
            before = task.spool.size
            try:
                await self._attempt(task)
            except _Transient as failure:
                failures = 1 if task.spool.size - before >= _PROGRESS else failures + 1
                if failures > limits.retries or failure.wait > limits.max_backoff:
                    raise failure.error from failure.__cause__
                pause = min(limits.max_backoff, limits.backoff * 2 ** (failures - 1))
                pause = max(failure.wait, pause * (0.5 + self._jitter() / 2))
                _log.info("Download from %s, retry %d: %s", task.host, failures, failure)
            else:
                return
            await self._sleep(pause)

    async def _attempt(self, task: _Task) -> None:
        try:
            response = await self._open(task)
            try:
                await self._receive(response, task)
            finally:
                await response.aclose()
        except NameNotResolved as error:
            if error.temporary:
                raise _Transient(error) from error
            raise
        except (httpx.TransportError, ssl.SSLError) as error:
            raise _translated(error, task.host) from error

    async def _open(self, task: _Task) -> httpx.Response:
        """The first response that is no redirect."""
        limits = self._limits
        timeouts = httpx.Timeout(limits.read_timeout, connect=limits.connect_timeout, pool=None)
        extensions = {"timeout": timeouts.as_dict()}
        url = task.url
        for _ in range(limits.max_redirects + 1):
            task.host = url.raw_host.decode("ascii")
            request = httpx.Request("GET", url, headers=task.headers(url), extensions=extensions)
            response = await self._transport.handle_async_request(request)
            if response.status_code not in _REDIRECTS:
                return response
            await response.aclose()
            try:
                url = redirected(url, response.headers.get("location", ""))
            except ValueError:
                message = f"The audio host {task.host} redirects to something that is no URL."
                raise _failed(message) from None
        raise _failed(f"The audio host {task.host} redirects too often; send the file's own URL.")

    async def _receive(self, response: httpx.Response, task: _Task) -> None:
        """Spool the body from where the last attempt broke off."""
        spool = task.spool
        if response.status_code == 416 and spool.size:
            if spool.size == _total(response):
                return  # a body of unknown length whose last byte we already had
            raise task.changed()
        _check_status(response, task.host)
        position = task.begin(response)
        if task.total is not None and task.total > self._limits.max_bytes:
            raise self._too_large()
        since, received = self._clock(), 0
        pieces = response.aiter_raw()
        while data := await self._next(pieces, task.host):
            received += len(data)
            now = self._clock()
            if now - since >= self._limits.rate_window:
                if received < (now - since) * self._limits.min_rate:
                    raise _too_slow(task.host)
                since, received = now, 0
            known = min(len(data), max(0, spool.size - position))
            if known and spool.read_at(position, known) != data[:known]:
                raise task.changed()
            position += len(data)
            if position > self._limits.max_bytes:
                raise self._too_large()
            spool.write(data[known:])
        if task.total is None and position < spool.size:
            raise task.changed()
        if task.total is not None and position != task.total:
            raise _Transient(_failed(f"The audio host {task.host} ends the file early; try again."))

    async def _next(self, pieces: AsyncIterator[bytes], host: str) -> bytes:
        """The next piece of a body, or nothing at its end."""
        longest = max(self._limits.rate_window, self._limits.read_timeout)
        try:
            async with asyncio.timeout(longest):  # what comes between two pieces can drip, too
                return await anext(pieces, b"")
        except TimeoutError:
            raise _too_slow(host) from None

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The audio is larger than this server's limit of {self._limits.max_bytes / 1e6:g} MB.",
            param=URL_FIELD,
        )


@dataclass(slots=True)
class _Task:
    """One download, and what its attempts have learnt about the file."""

    url: httpx.URL
    authorization: str | None
    spool: Spool
    host: str
    """The host being asked right now: redirects change it."""
    total: int | None = None
    etag: str | None = None
    validator: str | None = None
    """What ``If-Range`` takes. Without one, a retry reads from the start and compares."""

    @classmethod
    def of(cls, url: httpx.URL, spool: Spool) -> _Task:
        host = url.raw_host.decode("ascii")
        return cls(url.copy_with(userinfo=b""), credentials(url), spool, host)

    def headers(self, url: httpx.URL) -> dict[str, str]:
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": f"reflector-gpu/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        if self.authorization and origin_of(url) == origin_of(self.url):
            headers["Authorization"] = self.authorization
        if self.spool.size and self.validator:
            headers["Range"] = f"bytes={self.spool.size}-"
            headers["If-Range"] = self.validator
        return headers

    def begin(self, response: httpx.Response) -> int:
        """Where in the file the body begins; at most what is spooled already.

        Raises:
            UpstreamFailed: the file is compressed, or no longer the one of the first attempt.
        """
        headers = response.headers
        # Others, such as the aws-chunked that some object stores echo, are labels on plain bytes.
        if _COMPRESSED.search(headers.get("content-encoding", "")):
            raise _failed(
                f"The audio host {self.host} sends the file with a compressing Content-Encoding;"
                " store it without, or upload it."
            )
        start, total = 0, _total(response)
        if response.status_code == 206:
            match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
            if match is None or match[1] is None or int(match[1]) > self.spool.size:
                self.validator = None  # do not ask for a part again
                raise _Transient(
                    _failed(f"The audio host {self.host} answers with another part than asked for.")
                )
            start = int(match[1])
        etag = headers.get("etag")
        if not self.spool.size:
            strong = etag if etag and not etag.startswith("W/") else None
            self.etag, self.total = etag, total
            self.validator = strong or headers.get("last-modified")
        elif (etag and self.etag and etag.removeprefix("W/") != self.etag.removeprefix("W/")) or (
            total is not None and self.total is not None and total != self.total
        ):
            raise self.changed()
        elif self.total is None:
            self.total = total
        return start

    def changed(self) -> UpstreamFailed:
        return _failed(f"The file at the audio host {self.host} changed meanwhile; try again.")


def _failed(message: str) -> UpstreamFailed:
    return UpstreamFailed(message, param=URL_FIELD)


def _too_slow(host: str) -> UpstreamTimeout:
    message = f"The audio host {host} sends too slowly; upload the file."
    return UpstreamTimeout(message, param=URL_FIELD)


def _total(response: httpx.Response) -> int | None:
    """The length of the whole file, if the response tells."""
    headers = response.headers
    if response.status_code in (206, 416):
        match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        text = match[2] if match else ""
    else:
        text = "" if "transfer-encoding" in headers else headers.get("content-length", "")
    return _number(text)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _check_status(response: httpx.Response, host: str) -> None:
    status = response.status_code
    if status in (200, 203, 206):
        return
    if status in (404, 410):
        raise AudioNotFound(
            f"The audio host {host} has no file at this URL ({status}); check the URL.",
            param=URL_FIELD,
        )
    if status in (401, 403):
        raise _failed(
            f"The audio host {host} refused access ({status}). A presigned URL may have expired:"
            " make a new one."
        )
    if status >= 500 or status in _BUSY:
        wait = _number(response.headers.get("retry-after", ""))  # its date form is left out
        raise _Transient(
            _failed(f"The audio host {host} cannot deliver the file now ({status}); try later."),
            float(wait or 0),
        )
    raise _failed(f"The audio host {host} answered {status} instead of a file; check the URL.")


def _translated(error: Exception, host: str) -> _Transient | UpstreamFailed:
    """What a failed exchange means. It is tried again, unless the host's certificate is wrong."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _failed(f"The audio host {host} has no valid certificate; use another URL.")
        cause = cause.__cause__ or cause.__context__  # httpcore clears the causes of its errors
    if isinstance(error, httpx.TimeoutException):
        message = f"The audio host {host} does not answer in time; try later."
        return _Transient(UpstreamTimeout(message, param=URL_FIELD))
    if isinstance(error, httpx.ConnectError):
        return _Transient(_failed(f"The audio host {host} cannot be reached; check the URL."))
    return _Transient(_failed(f"The audio host {host} broke off the download; try later."))
