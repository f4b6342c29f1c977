"""Downloads that end well, against a scripted host on loopback."""

from __future__ import annotations

import base64
import socket

import pytest

from reflector_gpu.audio.fetch import Fetcher
from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.audio.spool import Spool
from reflector_gpu.errors import (
    UndecodableAudio,
    UpstreamFailed,
    UrlForbidden,
)
from tests.audio.media import limited
from tests.audio.sources.scripted_host import (
    AUDIO,
    BROKEN,
    CHUNKED,
    HALF,
    HERE,
    SECRET,
    TAGGED,
    Asked,
    Host,
    Say,
    fetched,
    hosting,
    part,
    say,
)

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


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
