"""Downloads that fail: what the client is told, and that nothing is held or leaked."""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
from collections.abc import AsyncIterator
from unittest.mock import Mock

import httpx
import pytest

from reflector_gpu.audio.fetch import Fetcher
from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import (
    AudioNotFound,
    InvalidRequest,
    ReflectorError,
    ShuttingDown,
    TooLarge,
    UpstreamFailed,
    UpstreamTimeout,
    UrlForbidden,
)
from tests.audio.media import limited
from tests.audio.sources.scripted_host import (
    AUDIO,
    BROKEN,
    CHUNKED,
    HALF,
    HERE,
    PLAIN,
    SECRET,
    TAGGED,
    Host,
    Say,
    fetched,
    hosting,
    part,
    say,
)

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

PLACES = "http://169.254.169.254/ //10.0.0.1/ http://[::1]/ http://0x7f.1/ file:///etc/hosts data:x"

NO_URLS = ["", "http://[::1", "http://h:99999/"]


ENDS = [
    *(([say(302, Location=place)], UrlForbidden, 1, "URL") for place in PLACES.split()),
    ([say(302, Location="/")], UpstreamFailed, 6, "too often"),
    *(([say(302, Location=text)], UpstreamFailed, 1, "no URL") for text in NO_URLS),
    *(([say(status)], AudioNotFound, 1, "check the URL") for status in (404, 410)),
    *(([say(status)], UpstreamFailed, 1, "expired") for status in (401, 403)),
    *(([say(status)], UpstreamFailed, 1, f"{status}") for status in (204, 304, 400)),
    *(([say(status)], UpstreamFailed, 3, f"{status}") for status in (408, 500, 501)),
    ([say(429, Retry_After="3600")], UpstreamFailed, 1, "429"),
    ([BROKEN], UpstreamFailed, 3, "broke off"),
    ([say(206, AUDIO)], UpstreamFailed, 3, "another part"),
    ([say(200, AUDIO, Content_Encoding="gzip")], UpstreamFailed, 1, "Content-Encoding"),
    ([say(200, Content_Length="99999999999")], TooLarge, 1, "2000 MB"),
    ([say(206, AUDIO, Content_Range="bytes 0-9/99999999999")], TooLarge, 1, "2000 MB"),
    ([TAGGED, say(200, AUDIO, ETag='"v2"')], UpstreamFailed, 2, "changed"),
    ([TAGGED, part(HALF, ETag='"v2"')], UpstreamFailed, 2, "changed"),
    ([TAGGED, part(HALF, AUDIO + b"more")], UpstreamFailed, 2, "changed"),
    ([TAGGED, say(416, Content_Range="bytes */9")], UpstreamFailed, 2, "changed"),
    ([BROKEN, say(200, AUDIO[:-1])], UpstreamFailed, 2, "changed"),
    ([BROKEN, say(200, AUDIO[::-1])], UpstreamFailed, 2, "changed"),
    ([Say(CHUNKED), Say(b"HTTP/1.0 200 OK\r\n\r\nabc")], UpstreamFailed, 2, "changed"),
]


@pytest.mark.parametrize(("answers", "kind", "requests", "words"), ENDS)
async def test_answers_become_errors(
    answers: list[Say], kind: type[ReflectorError], requests: int, words: str
) -> None:
    async with hosting(*answers) as host:
        with pytest.raises(kind, match=words):
            await host.fetch()
    assert len(host.asked) == requests


async def test_bodies_that_do_not_tell_their_length_are_limited() -> None:
    async with hosting(Say(b"HTTP/1.0 200 OK\r\n\r\n" + AUDIO)) as host:
        for limits, room in ((limited(max_bytes=9), 1 << 20), (None, 9)):
            with pytest.raises(TooLarge):
                await host.fetch(limits=limits, room=room)


@pytest.mark.parametrize("head", [b"", b"Content-Length: %d\r\n" % len(AUDIO)])
async def test_a_body_of_exactly_the_limit_is_taken(head: bytes) -> None:
    answer = Say(b"HTTP/1.0 200 OK\r\n" + head + b"\r\n" + AUDIO)
    assert await fetched(answer, limits=limited(max_bytes=len(AUDIO))) == AUDIO
    with pytest.raises(TooLarge):
        await fetched(answer, limits=limited(max_bytes=len(AUDIO) - 1))


@pytest.mark.parametrize("url", ["a.wav", "http://h:{}/", "data:,{}", "http://u:{}@10.0.0.1/"])
async def test_bad_urls_open_no_connection(url: str) -> None:
    with pytest.raises((InvalidRequest, UrlForbidden)):
        await Host([]).fetch(url.format(SECRET), transport=httpx.MockTransport(Mock()))


CERTIFICATE = httpx.ConnectError("hostname mismatch")

CERTIFICATE.__context__ = ssl.SSLCertVerificationError()


FAILURES = [
    (httpx.ConnectError("refused"), UpstreamFailed, "cannot be reached", 2),
    (httpx.ConnectTimeout("late"), UpstreamTimeout, "in time", 2),
    (httpx.ReadError("reset"), UpstreamFailed, "broke off", 2),
    (ssl.SSLError("bad record"), UpstreamFailed, "broke off", 2),
    (CERTIFICATE, UpstreamFailed, "no valid certificate", 0),
]


@pytest.mark.parametrize(("error", "kind", "words", "retries"), FAILURES)
async def test_connections_that_fail(
    error: Exception, kind: type[ReflectorError], words: str, retries: int
) -> None:
    host, transport = Host([]), httpx.MockTransport(Mock(side_effect=error))
    with pytest.raises(kind, match=words):
        await host.fetch("https://127.0.0.1/", transport=transport)
    assert len(host.pauses) == retries


async def test_logs_name_the_host_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(UpstreamFailed, match=r"127\.0\.0\.1"):
        await fetched(say(302, Location=f"/b?{SECRET}"), say(500))
    assert "127.0.0.1, retry 2" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("said", [b"", TAGGED.data])
async def test_a_silent_host(said: bytes) -> None:
    with pytest.raises(UpstreamTimeout, match="in time"):
        await fetched(Say(said, hang=True), limits=limited(read_timeout=0.01, retries=1))
    with pytest.raises(UpstreamTimeout, match="too long"):
        await fetched(Say(said, hang=True), limits=limited(total_timeout=0.01))


async def test_a_host_that_drips() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield AUDIO
        yield b"x"

    async def fetch(min_rate: float) -> bytes:
        ticks = itertools.count(step=100)
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body()))
        limits = limited(min_rate=min_rate)
        return await Host([]).fetch("http://127.0.0.1/", limits, transport, lambda: next(ticks))

    for too_much in (1024, 9):
        with pytest.raises(UpstreamTimeout, match="slowly"):
            await fetch(too_much)
    assert await fetch(0.01) == AUDIO + b"x"


DRIPS = [
    pytest.param(b"HTTP/1.1 200 OK\r\nX: ", b"x", "in time", id="head"),
    pytest.param(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", "in time", id="hints"),
    pytest.param(CHUNKED + b"1;", b"x", "slowly", id="chunk"),
]


@pytest.mark.parametrize(("head", "drops", "words"), DRIPS)
async def test_a_host_that_drips_what_is_no_audio(head: bytes, drops: bytes, words: str) -> None:
    limits = limited(connect_timeout=0.1, read_timeout=0.1, rate_window=0.1, retries=0)
    with pytest.raises(UpstreamTimeout, match=words):
        await fetched(Say(head, drops=drops), limits=limits)


async def test_a_name_server_that_never_answers() -> None:
    with pytest.raises(UpstreamTimeout, match="in time"):
        await Host([], []).fetch("http://a.test/", limited(connect_timeout=0.01, retries=0))


async def test_a_refused_body_closes_the_connection() -> None:
    async with hosting(Say(say(404, AUDIO, HALF).data, hang=True)) as host:
        with pytest.raises(AudioNotFound):
            await host.fetch()
        await host.left.wait()


@pytest.mark.parametrize("start", [b"", TAGGED.data])
async def test_cancelling_closes_the_connection(start: bytes) -> None:
    with Spool(1 << 20) as spool:
        async with hosting(Say(start, hang=True)) as host:
            fetcher = Fetcher(AddressGuard(HERE), limited(), transport=PLAIN)
            task = asyncio.create_task(fetcher.fetch(host.url(), spool))
            await host.stuck.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await host.left.wait()
        with pytest.raises(ShuttingDown):
            spool.read_at(spool.size, 1)
