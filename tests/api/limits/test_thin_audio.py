"""Audio that is far longer than its size tells: nine kilobytes of FLAC are six hours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from reflector_gpu.types import Samples
from tests.api.conftest import OTHER_KEY
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    FROM_URL,
    TRANSCRIBE,
    TRANSCRIPTIONS,
    Gate,
    error_of,
    eventually,
    metric,
    retry_after,
    running,
    silence,
    upload,
    wav,
)
from tests.audio.thin import thin_flac
from tests.live import KEY, LiveServer
from tests.waiting import PROGRAM_SECONDS

START = Callable[..., LiveServer]

SIX_HOURS = thin_flac(5.9 * 3_600)
FIELDS_OF_URLS = {FROM_URL: "audio_file_url", "/diarize": "audio_file_url", "/pad": "track_url"}


@pytest.fixture(scope="module")
def narrow() -> Iterator[LiveServer]:
    """A server that takes on a minute or two of such audio at once."""
    with LiveServer(
        model="scripted",
        apikey=KEY,
        live_audio_seconds=400,
        file_audio_seconds=120,
        url_allow="127.0.0.1",
    ) as server:
        yield server


def test_the_file_is_as_small_as_it_is_long() -> None:
    assert len(SIX_HOURS) < 10_000


@pytest.mark.parametrize(
    "route", [TRANSCRIPTIONS, TRANSCRIBE, "/asr", "/diarize", "/v1/audio/diarization"]
)
def test_413_for_an_upload(narrow: LiveServer, route: str) -> None:
    name = "audio_file" if route == "/asr" else "file"
    with narrow.client() as client:
        response = client.post(route, files={name: SIX_HOURS})
    check_refused(response)
    eventually(lambda: running(narrow, "live") == 0)


@pytest.mark.parametrize("stream", ["true", "false"])
def test_413_with_speakers_or_as_a_stream(narrow: LiveServer, stream: str) -> None:
    check_refused(upload(narrow, SIX_HOURS, data={"diarize": "true", "stream": stream}))


@pytest.mark.parametrize("route", FIELDS_OF_URLS)
def test_413_for_a_url(narrow: LiveServer, host: AudioHost, route: str) -> None:
    field = FIELDS_OF_URLS[route]
    fields = {field: host.put("/six-hours.flac", Answer(SIX_HOURS))}
    with narrow.client() as client:
        if route == "/pad":
            fields["output_url"] = fields[field]  # a host that takes nothing, which is known later
            response = client.post(route, json={**fields, "start_time_seconds": 1})
        elif route == "/diarize":
            response = client.post(route, params=fields)
        else:
            response = client.post(route, json=fields)
    check_refused(response, field)
    eventually(lambda: running(narrow, "file") == 0)


def check_refused(response: httpx.Response, field: str = "file") -> None:
    error = error_of(response, 413)
    assert "longer than its size tells" in error["message"]
    assert error["param"] == field


@pytest.mark.slow
def test_live_clients_are_answered_meanwhile(narrow: LiveServer, clip: bytes) -> None:
    """However many such files come, what others send is never refused because of them."""
    with ThreadPoolExecutor() as threads:
        thin = [threads.submit(upload, narrow, SIX_HOURS) for _ in range(8)]
        answers = [upload(narrow, clip).status_code for _ in range(8)]
        assert answers == [200] * 8
        assert {answer.result().status_code for answer in thin} <= {413, 429}
    assert metric(narrow, 'reflector_backlog_seconds{class="live"}') == 0


@pytest.mark.slow
def test_429_for_audio_that_is_too_much_beside_others_but_not_alone(
    narrow: LiveServer, snippets: list[Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other recording waits for the recogniser, while all of it is decoded for the diarizer."""
    gate = Gate(narrow, monkeypatch)
    gate.free = 0
    long, minute = wav(snippets[0], silence(380)), thin_flac(60)

    def refused() -> list[httpx.Response]:
        """The answer, once the long one has been decoded far enough."""
        answer = upload(narrow, minute)
        return [] if answer.is_success else [answer]

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(upload, narrow, long, data={"diarize": "true"})
        eventually(lambda: gate.arrived)
        [response] = eventually(refused, PROGRAM_SECONDS)  # much is decoded until then
        assert error_of(response, 429)["code"] == "overloaded"
        assert retry_after(response) >= 1
        gate.open()
        assert waiting.result().status_code == 200
    assert upload(narrow, minute).status_code == 200


def test_a_client_pays_for_what_was_decoded_though_it_got_no_answer(
    bare: START, clip: bytes
) -> None:
    server = bare(
        model="scripted",
        apikey=f"{KEY}, {OTHER_KEY}",
        live_audio_seconds=240,
        key_hourly_audio_seconds=30,
    )
    assert upload(server, SIX_HOURS).status_code == 413
    assert "of this hour" in error_of(upload(server, clip), 429)["message"]
    with server.client(OTHER_KEY) as client:
        assert client.post(TRANSCRIPTIONS, files={"file": clip}).status_code == 200
