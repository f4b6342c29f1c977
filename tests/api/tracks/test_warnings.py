"""Tracks that are picked or left out, and files with something missing, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI

from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    TRANSCRIBE,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    ask_url,
    error_of,
    upload,
)
from tests.audio.media import Form, Heard, encode, with_tracks
from tests.live import KEY, LiveServer

HEADER = "X-Reflector-Warnings"
DIARIZE = "/diarize"
FORMS = [
    (TRANSCRIPTIONS, {}),
    (TRANSCRIPTIONS, {"response_format": "verbose_json"}),
    (TRANSCRIPTIONS, {"response_format": "diarized_json"}),
    (TRANSLATIONS, {"response_format": "verbose_json"}),
    (TRANSCRIBE, {}),
    (DIARIZE, {}),
    ("/v1/audio/diarization", {}),
]
WITHOUT_A_PLACE = [
    (TRANSCRIPTIONS, {"response_format": form}) for form in ("json", "text", "srt", "vtt")
]
WITHOUT_A_PLACE += [("/v1/audio/diarization", {"response_format": "rttm"}), ("/asr", {})]
TITLE = "Ton Ä \U0001f3b5\x7f"
"""With characters that no header can have."""
TRACKS = {
    "taken": {"number": 0, "language": "eng", "title": TITLE},
    "left": [{"number": 1, "language": "ger"}],
}


@pytest.fixture(scope="module")
def film(speech: Samples) -> bytes:
    """Two tracks in two languages."""
    one, other = speech[: 2 * SAMPLE_RATE], speech[6 * SAMPLE_RATE : 7 * SAMPLE_RATE]
    return with_tracks("matroska", "libopus", Heard(one, "eng", TITLE), Heard(other, "ger"))


@pytest.fixture(scope="module")
def cut(speech: Samples) -> bytes:
    """The first half of a file of twelve seconds."""
    data = encode(speech[: 12 * SAMPLE_RATE], Form("flac", "flac"))
    return data[: len(data) // 2]


def sent(server: LiveServer, data: bytes, route: str, fields: dict[str, str]) -> Any:
    answer = upload(server, data, route=route, data=fields)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize(("route", "fields"), FORMS)
def test_a_truncated_file_is_reported(
    scripted: LiveServer, cut: bytes, route: str, fields: dict[str, str]
) -> None:
    answer = sent(scripted, cut, route, fields)
    told = answer.json()["warnings"]["truncated"]
    assert told["expected"] == 12.0
    assert 4 < told["decoded"] < 8
    assert json.loads(answer.headers[HEADER]) == answer.json()["warnings"]


@pytest.mark.parametrize(("route", "fields"), WITHOUT_A_PLACE)
def test_formats_without_a_place_for_it_have_the_header(
    scripted: LiveServer, cut: bytes, route: str, fields: dict[str, str]
) -> None:
    answer = sent(scripted, cut, route, fields)
    assert json.loads(answer.headers[HEADER])["truncated"]["expected"] == 12.0
    assert "truncated" not in answer.text


def test_damage_is_reported_with_times_that_fit_the_words(
    scripted: LiveServer, speech: Samples, host: AudioHost
) -> None:
    form = Form("ogg", "libopus", 48_000, options={"b": "96000"})
    data = bytearray(encode(speech[: 20 * SAMPLE_RATE], form))
    data[60_000:120_000] = bytes(60_000)
    url = host.put("/damaged.ogg", Answer(bytes(data)))
    ((begin, end),) = ask_url(scripted, url, timestamp_offset=100).json()["warnings"]["damaged"]
    assert 102 < begin < end < 119


def test_a_stream_tells_it_at_its_end_and_the_client_reads_every_form(
    scripted: LiveServer, cut: bytes
) -> None:
    with OpenAI(base_url=f"{scripted.url}/v1", api_key=KEY) as client:
        create = client.audio.transcriptions.create
        last = list(create(model="whisper-1", file=("a.flac", cut), stream=True))[-1]
        assert last.model_dump()["warnings"]["truncated"]["expected"] == 12.0
        verbose = create(model="whisper-1", file=("a.flac", cut), response_format="verbose_json")
        assert verbose.model_dump()["warnings"]["truncated"]["expected"] == 12.0
        told_apart = create(
            model="whisper-1", file=("a.flac", cut), response_format="diarized_json"
        )
        assert told_apart.model_dump()["warnings"]["truncated"]["expected"] == 12.0


def test_each_of_several_files_says_it(scripted: LiveServer, cut: bytes, clip: bytes) -> None:
    for form in ("", "json", "text", "verbose_json"):
        fields = {"response_format": form}
        first, second = upload(scripted, cut, clip, data=fields).json()["results"]
        assert first["warnings"]["truncated"], form
        assert "warnings" not in second


@pytest.mark.parametrize(("route", "fields"), FORMS)
def test_tracks_that_were_left_out_are_in_the_warnings(
    scripted: LiveServer, film: bytes, route: str, fields: dict[str, str]
) -> None:
    answer = sent(scripted, film, route, fields)
    assert answer.json()["warnings"] == {"tracks": TRACKS}
    assert json.loads(answer.headers[HEADER]) == {"tracks": TRACKS}


@pytest.mark.parametrize("track", ["1", "de", "ger"])
@pytest.mark.parametrize(("route", "fields"), [*FORMS, *WITHOUT_A_PLACE])
def test_a_track_can_be_picked(
    scripted: LiveServer, film: bytes, route: str, fields: dict[str, str], track: str
) -> None:
    answer = sent(scripted, film, route, {**fields, "track": track})
    assert HEADER not in answer.headers


def test_the_track_that_is_picked_is_heard(
    scripted: LiveServer, film: bytes, host: AudioHost
) -> None:
    """The second one is a second long, the first two."""
    url = host.put("/film.mkv", Answer(film))
    for track, seconds in ((0, 2), ("0", 2), (1, 1), ("de", 1)):
        answer = ask_url(scripted, url, track=track, response_format="verbose_json")
        assert answer.json()["duration"] == pytest.approx(seconds, abs=0.1)
    only = upload(scripted, film, data={"language": "de", "response_format": "verbose_json"})
    assert only.json()["duration"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("fields", [{}, {"stream": "true"}])
@pytest.mark.parametrize("route", [TRANSCRIPTIONS, TRANSLATIONS, TRANSCRIBE, DIARIZE])
def test_a_track_that_is_not_there_is_a_400_that_lists_those_that_are(
    scripted: LiveServer, film: bytes, route: str, fields: dict[str, str]
) -> None:
    answer = upload(scripted, film, route=route, data={**fields, "track": "fr"})
    problem = error_of(answer, 400)
    assert problem["param"] == "track"
    assert f"0 (eng, '{TITLE}'); 1 (ger)" in problem["message"]


def test_diarize_reads_the_track_from_its_query(
    scripted: LiveServer, film: bytes, host: AudioHost
) -> None:
    url = host.put("/film.mkv", Answer(film))
    with scripted.client() as client:
        query = {"audio_file_url": url, "track": "7"}
        problem = error_of(client.post(DIARIZE, params=query), 400)
    assert problem["param"] == "track"
