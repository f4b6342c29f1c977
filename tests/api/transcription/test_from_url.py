"""POST /v1/audio/transcriptions-from-url: the server fetches the recording itself."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from reflector_gpu import pcm
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.wav import STREAM_HEAD
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    FROM_URL,
    Gate,
    ask_url,
    check_words,
    encoded,
    error_of,
    eventually,
    send_raw,
    silence,
    upload,
    wav,
)
from tests.arrival import ArrivalClock
from tests.live import LiveServer
from tests.loopback import Loopback, Quiet
from tests.waiting import PATIENCE_SECONDS

TARGETS = [
    "/meeting.wav",
    "/meeting.mp3",  # it is a WAV all the same
    "/meeting.mp4?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=ab%2Fcd%3D%3D&x=a+b",
    "/meeting?response-content-disposition=attachment%3B%20filename%3D%22a.webm%22",
    "/bucket/2026/a%2Fb%20c/%C3%A9t%C3%A9",
    "/",
    "/?empty=&flag",
    "/a//b",
]


@pytest.mark.parametrize("target", TARGETS)
def test_the_url_is_requested_unchanged(
    scripted: LiveServer, clip: bytes, text: str, host: AudioHost, target: str
) -> None:
    body = ask_url(scripted, host.put(target, Answer(clip))).json()
    assert body.keys() == {"text", "words"}
    assert body["text"] == text
    check_words(body["words"], text)
    assert host.asked[-1] == target


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/html"},
        {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment"},
        {"Content-Length": ""},  # nobody knows how much will come
    ],
)
@pytest.mark.parametrize("container", ["mp3", "mp4", "webm"])
def test_the_bytes_decide(
    scripted: LiveServer,
    snippets: list[Samples],
    host: AudioHost,
    headers: dict[str, str],
    container: str,
) -> None:
    codec = {"mp3": "libmp3lame", "mp4": "aac", "webm": "libopus"}[container]
    answer = Answer(encoded(snippets[0], container, codec), headers=headers)
    body = ask_url(scripted, host.put("/recording", answer)).json()
    check_words(body["words"], body["text"])


def test_redirects_are_followed(
    scripted: LiveServer, clip: bytes, text: str, host: AudioHost
) -> None:
    host.put("/real", Answer(clip))
    url = host.put("/moved", Answer(status=302, headers={"Location": "/real?signed=1"}))
    assert ask_url(scripted, url).json()["text"] == text
    assert host.asked[-1] == "/real?signed=1"


def test_a_redirect_to_a_forbidden_host_is_forbidden(scripted: LiveServer, host: AudioHost) -> None:
    away = Answer(status=302, headers={"Location": "http://169.254.169.254/latest"})
    assert error_of(ask_url(scripted, host.put("/away", away)), 403)["code"] == "url_forbidden"


def test_the_url_is_a_secret(
    scripted: LiveServer, clip: bytes, host: AudioHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    targets = ["/ok.wav", "/gone.wav"]
    for target, answer in zip(targets, [Answer(clip), Answer(status=404)], strict=True):
        url = host.put(f"{target}?X-Amz-Signature=hush", answer)
        assert "hush" not in ask_url(scripted, url).text
    eventually(lambda: f"POST {FROM_URL} 404" in caplog.text)
    assert "hush" not in caplog.text


# timestamp_offset


def _of_words(body: Any) -> Iterator[float]:
    for word in body["words"]:
        yield from (word["start"], word["end"])


def _of_segments(body: Any) -> Iterator[float]:
    for segment in body["segments"]:
        yield from (segment["start"], segment["end"])


def _of_both(body: Any) -> Iterator[float]:
    yield from _of_words(body)
    yield from _of_segments(body)


def _of_cues(text: str) -> Iterator[float]:
    for hours, minutes, seconds in re.findall(r"(\d+):(\d\d):(\d\d[.,]\d{3})", text):
        yield int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))


def _of_events(text: str) -> Iterator[float]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
    for event in (json.loads(line) for line in lines if line != "[DONE]"):
        if "start" in event:
            yield from (event["start"], event["end"], *_of_words({"words": event.get("words", ())}))


TIMES: dict[str, tuple[dict[str, object], Callable[[Any], Iterator[float]]]] = {
    "reflector": ({}, _of_words),
    "verbose_json": (
        {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]},
        _of_both,
    ),
    "diarized_json": ({"response_format": "diarized_json"}, _of_segments),
    "srt": ({"response_format": "srt"}, _of_cues),
    "vtt": ({"response_format": "vtt"}, _of_cues),
    "stream": ({"stream": True}, _of_events),
    "diarized stream": ({"stream": True, "response_format": "diarized_json"}, _of_events),
}


@pytest.mark.parametrize("form", TIMES)
@pytest.mark.parametrize("offset", [3600.505, 1.7e9])
def test_the_offset_is_added_to_every_time(
    scripted: LiveServer, pauses: bytes, host: AudioHost, form: str, offset: float
) -> None:
    fields, times = TIMES[form]
    url = host.put("/offset.wav", Answer(pauses))
    answers = [
        ask_url(scripted, url, **fields),
        ask_url(scripted, url, **fields, timestamp_offset=offset),
    ]
    isjson = answers[0].headers["Content-Type"] == "application/json"
    plain, shifted = (list(times(a.json() if isjson else a.text)) for a in answers)
    assert len(plain) >= 6
    assert shifted == pytest.approx([time + offset for time in plain], rel=0, abs=0.011)


@pytest.mark.parametrize("form", ["json", "text"])
def test_formats_without_times_have_no_offset(
    scripted: LiveServer, clip: bytes, host: AudioHost, form: str
) -> None:
    url = host.put("/offset.wav", Answer(clip))
    answers = {
        ask_url(scripted, url, response_format=form, timestamp_offset=offset).text
        for offset in (0, 1000)
    }
    assert len(answers) == 1


def test_an_offset_leaves_the_duration_alone(
    scripted: LiveServer, clip: bytes, host: AudioHost
) -> None:
    url = host.put("/offset.wav", Answer(clip))
    for form in ("verbose_json", "diarized_json"):
        bodies = [
            ask_url(scripted, url, response_format=form, timestamp_offset=offset).json()
            for offset in (0, 60)
        ]
        assert bodies[0]["duration"] == bodies[1]["duration"] > 0


def test_an_offset_may_be_negative(scripted: LiveServer, pauses: bytes, host: AudioHost) -> None:
    url = host.put("/offset.wav", Answer(pauses))
    words = ask_url(scripted, url, timestamp_offset=-3.25).json()["words"]
    plain = ask_url(scripted, url).json()["words"]
    assert words[0]["start"] == pytest.approx(plain[0]["start"] - 3.25, abs=0.011)
    subtitles = ask_url(scripted, url, timestamp_offset=-3.25, response_format="srt").text
    assert subtitles.startswith("1\n00:00:00,000 --> ")


# While it downloads


@pytest.fixture
def halfway(snippets: list[Samples], host: AudioHost) -> tuple[str, Answer]:
    """A recording whose host stops after the first two of three utterances."""
    gap = silence(2.5)
    beginning = wav(snippets[0], gap, snippets[1])
    whole = wav(snippets[0], gap, snippets[1], gap, snippets[2])
    answer = Answer(whole, pause_at=len(beginning))
    return host.put("/halfway.wav", answer), answer


def test_recognition_begins_while_the_download_runs(
    scripted: LiveServer, halfway: tuple[str, Answer], gate: Gate
) -> None:
    url, answer = halfway
    with scripted.client() as client:
        request = client.build_request("POST", FROM_URL, json={"audio_file_url": url})
    with send_raw(scripted, request) as connection:
        assert answer.paused.wait(PATIENCE_SECONDS)
        eventually(lambda: gate.arrived)
        assert not answer.resumed.is_set()
        answer.resumed.set()
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert gate.arrived == 3


def test_a_stream_speaks_while_the_download_runs(
    scripted: LiveServer, halfway: tuple[str, Answer]
) -> None:
    url, answer = halfway
    with (
        scripted.client() as client,
        client.stream("POST", FROM_URL, json={"audio_file_url": url, "stream": True}) as response,
    ):
        lines = (line for line in response.iter_lines() if line)
        first = json.loads(next(lines).removeprefix("data: "))
        assert first["type"] == "transcript.text.delta"
        assert not answer.resumed.is_set()
        answer.resumed.set()
        *deltas, done, end = lines
    assert end == "data: [DONE]"
    texts = [first["delta"], *(json.loads(line[6:])["delta"] for line in deltas)]
    assert "".join(texts) == json.loads(done[6:])["text"]
    assert len(texts) == 3


UNDECIDED_SECONDS = 5.0
"""At most so much has been sent, but is not decoded and looked at yet."""


class Radio(Loopback):
    """Plays what it is sent, and nothing after ``None``."""

    def __init__(self) -> None:
        self.pieces = pieces = SimpleQueue[bytes | None]()

        class Handler(Quiet):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                while piece := pieces.get():
                    self.wfile.write(piece)

        super().__init__(Handler)

    def let_go(self) -> None:
        self.pieces.put(None)


def test_words_of_a_radio_station_are_at_most_ten_seconds_behind(
    scripted: LiveServer, speech: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ArrivalClock()
    recordings = scripted.service.recordings
    monkeypatch.setattr(recordings, "spool", lambda: Spool(10**7, clock=clock))
    begun = 12  # seconds, in which there are words: the answer begins with them
    seconds = np.split(speech, range(begun * SAMPLE_RATE, len(speech), SAMPLE_RATE))
    with Radio() as radio, scripted.client() as client:
        radio.pieces.put(STREAM_HEAD + pcm.encoded(seconds[0]))
        asked = {"audio_file_url": radio.url, "stream": True}
        with client.stream("POST", FROM_URL, json=asked) as response:
            events = (json.loads(line[6:]) for line in response.iter_lines() if line)
            position = 0.0
            for sent, samples in enumerate(seconds[1:], begun):
                clock.awaited(1.0)
                while sent - position > 10.0 + UNDECIDED_SECONDS:
                    position = next(events)["end"]
                radio.pieces.put(pcm.encoded(samples))
        assert position > 50


def test_a_download_that_breaks_off_ends_the_stream_with_an_error(
    small: LiveServer, pauses: bytes, host: AudioHost
) -> None:
    url = host.put("/broken.wav", Answer(pauses, cut_at=len(pauses) * 3 // 4))
    response = ask_url(small, url, stream=True)
    assert response.status_code in (200, 502)
    body = response.text.removesuffix("\n\ndata: [DONE]\n\n").rpartition("data: ")[2]
    assert json.loads(body)["error"]["code"] == "upstream_failed"


def test_the_same_words_as_from_an_upload(
    scripted: LiveServer, pauses: bytes, host: AudioHost
) -> None:
    fetched = ask_url(scripted, host.put("/same.wav", Answer(pauses))).json()
    uploaded = upload(scripted, pauses).json()
    assert fetched["words"] == uploaded["words"]


@pytest.mark.parametrize("content", [b"", b"no audio"])
def test_audio_that_cannot_be_used_is_the_urls_fault(
    scripted: LiveServer, host: AudioHost, content: bytes
) -> None:
    response = ask_url(scripted, host.put("/a.wav", Answer(content)))
    error = error_of(response, 400)
    assert (error["code"], error["param"]) == ("undecodable_audio", "audio_file_url")
