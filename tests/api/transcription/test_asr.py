"""The routes of whisper-asr-webservice, as its clients use them."""

from __future__ import annotations

import wave
from io import BytesIO
from typing import Any

import httpx
import pytest

from tests.api.support import TRANSCRIPTIONS, Gate, error_of, silence, upload, wav
from tests.live import LiveServer

ASR = "/asr"
DETECT = "/detect-language"


def bare(audio: bytes) -> bytes:
    """The samples of a WAV file alone."""
    with wave.open(BytesIO(audio)) as reader:
        return bytes(reader.readframes(reader.getnframes()))


def as_bazarr(server: LiveServer, route: str, pcm: bytes, **params: str) -> httpx.Response:
    """What `Session.post(..., files={"audio_file": pcm})` of Bazarr's provider puts on the wire."""
    boundary = "d2f4a3a5b0c1e6f7d2f4a3a5b0c1e6f7"
    head = 'Content-Disposition: form-data; name="audio_file"; filename="audio_file"'
    body = f"--{boundary}\r\n{head}\r\n\r\n".encode() + pcm + f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "User-Agent": "Subliminal/2.1.0",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
    }
    with server.client() as client:
        return client.post(route, params=params, content=body, headers=headers)


def post(server: LiveServer, audio: bytes, **params: str) -> httpx.Response:
    with server.client() as client:
        files = {"audio_file": ("my film.mkv", audio)}
        return client.post(ASR, params=params, files=files)


# Bazarr


def test_bazarr_asks_for_subtitles(scripted: LiveServer, pauses: bytes, gate: Gate) -> None:
    answer = as_bazarr(
        scripted,
        ASR,
        bare(pauses),
        task="transcribe",
        language="es",
        output="srt",
        encode="false",
        video_file="/films/a.mkv",
    )
    assert answer.status_code == 200
    assert "X-Reflector-Ignored" not in answer.headers
    assert {one.language for one in gate.options} == {"es"}
    fields: dict[str, str | list[str]] = {"response_format": "srt", "language": "es"}
    assert answer.text == upload(scripted, pauses, data=fields).text


def test_bazarr_asks_for_english_subtitles(translating: None, clip: bytes) -> None:
    params = {"task": "translate", "language": "fr", "output": "srt", "encode": "false"}
    with LiveServer(model="scripted", workers=1) as server:
        answer = as_bazarr(server, ASR, bare(clip), **params)
    assert answer.text.startswith("1\n00:00:00,")


def test_bazarr_asks_for_the_language(scripted: LiveServer, clip: bytes) -> None:
    answer = as_bazarr(scripted, DETECT, bare(clip), encode="false", video_file="None")
    assert answer.json() == {
        "detected_language": "english",
        "language_code": "en",
        "confidence": 1.0,
    }


def test_a_language_that_cannot_be_told(scripted: LiveServer, quiet: bytes) -> None:
    """Bazarr understands ``und``."""
    answer = as_bazarr(scripted, DETECT, bare(quiet), encode="false")
    assert answer.json() == {
        "detected_language": "unknown",
        "language_code": "und",
        "confidence": 0.0,
    }


def test_the_beginning_of_a_recording_is_enough(
    scripted: LiveServer, snippets: list[Any], gate: Gate
) -> None:
    gap = silence(6)
    long = wav(*(part for _ in range(6) for one in snippets for part in (one, gap)))
    assert as_bazarr(scripted, DETECT, bare(long), encode="false").json()["language_code"] == "en"
    assert gate.arrived < 12


@pytest.mark.parametrize("pcm", [b"", b"\0"])
def test_no_samples(scripted: LiveServer, pcm: bytes) -> None:
    error_of(as_bazarr(scripted, ASR, pcm, encode="false"), 400)


# Any other client


def test_a_file_of_any_format(scripted: LiveServer, clip: bytes, text: str) -> None:
    answer = post(scripted, clip)
    assert answer.text == f"{text}\n"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="my%20film.mkv.txt"'
    assert answer.headers["Asr-Engine"] == "scripted"


@pytest.mark.parametrize("output", ["srt", "vtt"])
def test_subtitles_are_those_of_the_other_route(
    scripted: LiveServer, pauses: bytes, output: str
) -> None:
    expected = upload(scripted, pauses, data={"response_format": output}).text
    assert post(scripted, pauses, output=output).text == expected


def test_tsv(scripted: LiveServer, pauses: bytes) -> None:
    head, *rows = post(scripted, pauses, output="tsv").text.splitlines()
    body = upload(scripted, pauses, data={"response_format": "verbose_json"}).json()
    assert head == "start\tend\ttext"
    for row, segment in zip(rows, body["segments"], strict=True):
        start, end, text = row.split("\t")
        assert int(start) == pytest.approx(1000 * segment["start"], abs=6)
        assert int(end) == pytest.approx(1000 * segment["end"], abs=6)
        assert text == segment["text"]


def test_json(scripted: LiveServer, pauses: bytes) -> None:
    answer = post(scripted, pauses, output="json")
    assert answer.headers["Content-Type"].startswith("text/plain")  # as there
    body = answer.json()
    assert body.keys() == {"text", "segments", "language"}
    assert body["language"] == "en"
    assert "".join(segment["text"] for segment in body["segments"]).strip() == body["text"]
    assert {"id", "start", "end", "avg_logprob", "no_speech_prob"} <= body["segments"][0].keys()
    assert "words" not in body["segments"][0]
    timed = post(scripted, pauses, output="json", word_timestamps="true").json()
    for segment in timed["segments"]:
        assert "".join(word["word"] for word in segment["words"]) == segment["text"]


def test_speakers(scripted: LiveServer, pauses: bytes) -> None:
    answer = post(scripted, pauses, output="vtt", diarize="true", min_speakers="1")
    assert "<v " in answer.text


def test_the_prompt_reaches_the_engine(scripted: LiveServer, clip: bytes, gate: Gate) -> None:
    post(scripted, clip, initial_prompt="Minutes", vad_filter="true", language="")
    (options,) = gate.options
    assert (options.prompt, options.language) == ("Minutes", None)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"output": "docx"}, "output"),
        ({"task": "dance"}, "task"),
        ({"encode": "perhaps"}, "encode"),
        ({"langauge": "en"}, "langauge"),
        ({"language": "tlh"}, "language"),
        ({"initial_prompt": "x" * 20_000}, "prompt"),
        ({"diarize": "true", "min_speakers": "3", "max_speakers": "2"}, "min_speakers"),
    ],
)
def test_400_names_the_parameter_that_is_wrong(
    scripted: LiveServer, clip: bytes, params: dict[str, str], param: str
) -> None:
    assert error_of(post(scripted, clip, **params), 400)["param"] == param


def test_a_key_is_needed_as_on_all_routes(scripted: LiveServer, clip: bytes) -> None:
    with scripted.client(key=None) as client:
        for route in (ASR, DETECT, TRANSCRIPTIONS):
            error_of(client.post(route, files={"audio_file": clip}), 401)
