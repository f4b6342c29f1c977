"""Downloads, against a scripted host on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from unittest.mock import Mock

import httpx
import pytest

from reflector_gpu.audio.fetch import Fetcher, FetchLimits
from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import (
    AudioNotFound,
    InvalidRequest,
    ReflectorError,
    ShuttingDown,
    TooLarge,
    UndecodableAudio,
    UpstreamFailed,
    UpstreamTimeout,
    UrlForbidden,
)
from tests.audio.media import limited

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

AUDIO = bytes(range(256)) * 40
HALF = len(AUDIO) // 2
SECRET = "hunter2"
HERE = ("127.0.0.1",)
PLAIN = httpx.AsyncHTTPTransport(verify=False, limits=httpx.Limits(max_keepalive_connections=0))


@dataclass
class Say:
    """An answer, sent as it stands; then the connection ends, or hangs until the client leaves,
    or goes on with ``drops`` until then."""

    data: bytes
    hang: bool = False
    drops: bytes = b""


Asked: TypeAlias = dict[str, str]  # the headers of a request, and its ``target``
Answer: TypeAlias = Say | Callable[[Asked], Say]


def say(status: int, body: bytes = b"", cut: int = 1 << 30, **headers: str) -> Say:
    """``cut`` sends only so many bytes of ``body``; ``Content-Length`` is that of all of it."""
    fields = {"Content_Length": str(len(body))} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return Say(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body[:cut])


def part(start: int, body: bytes = AUDIO, cut: int = 1 << 30, **headers: str) -> Say:
    where = f"bytes {start}-{len(body) - 1}/{len(body)}"
    return say(206, body[start:], cut, Content_Range=where, **headers)


@dataclass
class Host:
    """Gives one answer per connection and one per lookup, the last ones for ever."""

    answers: Sequence[Answer]
    lookups: Sequence[Sequence[str] | OSError] = (HERE,)  # none at all: they never end
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    looked_up: int = 0
    pauses: list[float] = field(default_factory=list)
    stuck: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, EOFError):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            pairs = (line.partition(": ") for line in lines[1:] if line)
            asked = {name.lower(): value for name, _, value in pairs}
            answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
            self.asked.append(asked | {"target": lines[0].split()[1]})
            said = answer if isinstance(answer, Say) else answer(asked)
            writer.write(said.data)
            await writer.drain()
            while said.drops and not reader.at_eof():
                writer.write(said.drops)
                await writer.drain()
                await asyncio.sleep(0.001)
            if said.hang:
                self.stuck.set()
                await reader.read()
                self.left.set()
        writer.close()

    async def look_up(self, host: str, port: int) -> Sequence[str]:
        while not self.lookups:
            await asyncio.Event().wait()
        self.looked_up += 1
        found = self.lookups[min(self.looked_up, len(self.lookups)) - 1]
        if isinstance(found, OSError):
            raise found
        return found

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/a.wav?X-Amz-Signature={SECRET}"

    async def fetch(
        self,
        url: str | None = None,
        limits: FetchLimits | None = None,
        transport: httpx.AsyncBaseTransport = PLAIN,
        clock: Callable[[], float] = float,
        room: int = 1 << 24,
    ) -> bytes:
        """What a spool with ``room`` bytes got; what is raised reaches the spool's readers, too."""
        fetcher = Fetcher(
            AddressGuard(HERE, resolver=self.look_up),
            limits or limited(retries=2),
            transport=transport,
            sleep=self.pause,
            clock=clock,
            jitter=lambda: 1.0,
        )
        with Spool(room) as spool:
            try:
                await fetcher.fetch(self.url() if url is None else url, spool)
            except ReflectorError as error:
                if SECRET in f"{error} {error.__cause__}" or not error.param:
                    pytest.fail(f"not fit for a client: {error!r}")
                with pytest.raises(type(error)):
                    spool.read_at(spool.size, 1)
                raise
            assert spool.complete
            return spool.read_at(0, spool.size)


@contextlib.asynccontextmanager
async def hosting(*answers: Answer) -> AsyncIterator[Host]:
    host = Host(answers)
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(60), server:
        yield host


async def fetched(*answers: Answer, limits: FetchLimits | None = None) -> bytes:
    async with hosting(*answers) as host:
        return await host.fetch(limits=limits)


async def test_streams_the_body_and_asks_for_the_plain_file() -> None:
    async with hosting(say(200, AUDIO)) as host:
        assert await host.fetch() == AUDIO
    asked = host.asked[0]
    assert f"http://{asked['host']}{asked['target']}" == host.url()
    assert set(asked) == {"host", "target", "user-agent", "accept", "accept-encoding"}
    assert asked["accept-encoding"] == "identity"


async def test_the_default_fetcher_keeps_no_connection() -> None:
    answer = Say(say(200, AUDIO).data, hang=True)
    with Spool(1 << 20) as spool:
        async with hosting(answer) as host, Fetcher(AddressGuard(HERE), limited()) as fetcher:
            await fetcher.fetch(host.url(), spool)
            await host.left.wait()
        assert spool.read_at(0, 1 << 20) == AUDIO


CHUNKED = b"HTTP/1.1 200 OK\r\nETag: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"


async def test_bodies_of_unknown_length() -> None:
    assert await fetched(Say(CHUNKED + b"0\r\n\r\n")) == b"abcde"
    assert await fetched(Say(CHUNKED), say(416, Content_Range="bytes */5")) == b"abcde"
    assert await fetched(Say(b"HTTP/1.0 200 OK\r\n\r\nabc")) == b"abc"
    assert await fetched(say(200, b"1\r\na\r\n0\r\n\r\n", Transfer_Encoding="chunked")) == b"a"


async def test_an_empty_body_is_no_recording() -> None:
    with pytest.raises(UndecodableAudio, match=r"The file is empty\.") as refused:
        await fetched(say(200))
    assert refused.value.param == "audio_file_url"


async def test_redirects_are_followed_without_cookies() -> None:
    def absolute(asked: Asked) -> Say:
        return say(307, Location=f"http://{asked['host']}/e")

    relative = say(301, Location="/b?c=d", Set_Cookie="a=b")
    async with hosting(relative, absolute, say(200, AUDIO)) as host:
        assert await host.fetch() == AUDIO
    assert [asked["target"] for asked in host.asked][1:] == ["/b?c=d", "/e"]
    assert "cookie" not in host.asked[1]


async def test_a_redirect_is_hung_up_on_and_not_read_to_its_end() -> None:
    endless = Say(say(302, AUDIO, HALF, Location="/there").data, hang=True)
    async with hosting(endless, say(200, AUDIO)) as host:
        assert await host.fetch() == AUDIO
        await host.left.wait()


async def test_credentials_stay_with_their_origin() -> None:
    def away(asked: Asked) -> Say:
        return say(302, Location=f"http://x:y@{asked['host'].replace('a.', 'b.')}/")

    async with hosting(say(302, Location="/again"), away, say(200, AUDIO)) as host:
        await host.fetch(host.url(f"user:{SECRET}%40@a.test"))
    basic = f"Basic {base64.b64encode(f'user:{SECRET}@'.encode()).decode()}"
    assert [asked.get("authorization") for asked in host.asked] == [basic, basic, None]
    assert [asked["host"][:6] for asked in host.asked] == ["a.test", "a.test", "b.test"]


async def test_a_name_that_changes_its_answer_gains_nothing() -> None:
    async with hosting(say(200, AUDIO)) as host:
        host.lookups = [HERE, ["10.0.0.1"]]
        assert await host.fetch(host.url("rebind.test")) == AUDIO
        assert (host.looked_up, host.asked[0]["host"]) == (1, f"rebind.test:{host.port}")
        with pytest.raises(UrlForbidden, match=r"rebind\.test is not a public one"):
            await host.fetch(host.url("rebind.test"))


@pytest.mark.parametrize(("code", "lookups"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 3)])
async def test_only_temporary_lookup_failures_are_retried(code: int, lookups: int) -> None:
    host = Host([], [socket.gaierror(code, "no")])
    with pytest.raises(UpstreamFailed, match=r"nowhere\.test"):
        await host.fetch(f"http://nowhere.test/?{SECRET}")
    assert host.looked_up == lookups


BROKEN = say(200, AUDIO, HALF)
TAGGED = say(200, AUDIO, HALF, ETag='"v1"')
PIECE = say(206, AUDIO[HALF:-9], Content_Range=f"bytes {HALF}-{len(AUDIO) - 10}/{len(AUDIO)}")
REST = f'bytes={HALF}- "v1"'
RECOVERIES = [
    ([say(429), say(503), say(200, AUDIO)], ["", "", ""]),
    ([Say(b""), Say(b"no HTTP\r\n\r\n"), say(200, AUDIO)], ["", "", ""]),
    ([BROKEN, say(200, AUDIO)], ["", ""]),
    ([TAGGED, part(HALF, ETag='"v1"')], ["", REST]),
    ([say(200, AUDIO, HALF, Last_Modified="Tue"), part(HALF)], ["", f"bytes={HALF}- Tue"]),
    ([say(200, AUDIO, HALF, ETag='"v1"', Last_Modified="Tue"), part(HALF)], ["", REST]),
    ([say(200, AUDIO, HALF, ETag='W/"v1"'), say(200, AUDIO, ETag='"v1"')], ["", ""]),
    ([TAGGED, say(200, AUDIO, ETag='"v1"')], ["", REST]),
    ([TAGGED, part(HALF - 99)], ["", REST]),
    ([TAGGED, PIECE, part(len(AUDIO) - 9)], ["", REST, 'bytes=10231- "v1"']),
    ([TAGGED, part(HALF + 1), say(200, AUDIO)], ["", REST, ""]),
    ([TAGGED, say(206, AUDIO), say(200, AUDIO)], ["", REST, ""]),
    ([say(200, AUDIO, 0, ETag='"v0"'), say(200, AUDIO, ETag='"v1"')], ["", ""]),
    ([say(200, AUDIO, Content_Encoding="aws-chunked")], [""]),
]


@pytest.mark.parametrize(("answers", "ranges"), RECOVERIES)
async def test_recovers_from_what_hosts_do(answers: list[Say], ranges: list[str]) -> None:
    async with hosting(*answers) as host:
        assert await host.fetch() == AUDIO
    sent = (f"{asked.get('range', '')} {asked.get('if-range', '')}" for asked in host.asked)
    assert [text.strip() for text in sent] == ranges


async def test_progress_earns_new_retries() -> None:
    big = AUDIO * 512

    def mebibyte(asked: Asked) -> Say:
        start = int(asked.get("range", "bytes=0-")[6:-1])
        return part(start, big, 1 << 20) if start else say(200, big, 1 << 20, ETag='"v"')

    async with hosting(mebibyte) as host:
        assert await host.fetch(limits=limited(retries=1)) == big
    assert len(host.asked) == 5


async def test_pauses_grow_and_respect_the_host() -> None:
    async with hosting(say(500), say(503, Retry_After="2"), say(502)) as host:
        with pytest.raises(UpstreamFailed, match="502"):
            await host.fetch(limits=limited(retries=5, backoff=0.5, max_backoff=2.0))
    assert host.pauses == [0.5, 2.0, 2.0, 2.0, 2.0]


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
