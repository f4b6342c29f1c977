"""POST /v1/audio/transcriptions and /transcribe: files in, words out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.types import Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    FROM_URL,
    TRANSCRIBE,
    TRANSCRIPTIONS,
    Gate,
    ask_url,
    check_words,
    encoded,
    upload,
    wav,
)
from tests.live import KEY, LiveServer

FILE_TYPES = [
    ("wav", "pcm_s16le"),
    ("wav", "pcm_f32le"),
    ("mp3", "libmp3lame"),
    ("mp4", "aac"),
    ("ipod", "aac"),  # m4a
    ("mov", "pcm_s16le"),
    ("webm", "libopus"),
    ("ogg", "libopus"),
    ("opus", "libopus"),
    ("flac", "flac"),
    ("adts", "aac"),
    ("mpeg", "mp2"),
    ("mpegts", "aac"),
]

NAMES = [
    "meeting.wav",
    "réunion ☎ 会議.wav",
    'the "big" one.wav',
    "a;b=c, d.wav",
    "100%.wav",
    "back\\slash.wav",
    "../../etc/passwd",
    "/absolute/path.wav",
    "no-extension",
    "a" * 300,
]


# The three calls that Reflector makes, as it makes them


def test_reflectors_live_call(scripted: LiveServer, clip: bytes, tmp_path: Path) -> None:
    path = tmp_path / "chunk-0001.wav"
    path.write_bytes(clip)

    async def call() -> Any:
        async with AsyncOpenAI(base_url=f"{scripted.url}/v1", api_key=KEY) as client:
            with path.open("rb") as file:
                return await client.audio.transcriptions.create(
                    file=file,
                    model="whisper-1",
                    response_format="verbose_json",
                    language="en",
                    timestamp_granularities=["word"],
                )

    answer = asyncio.run(call())
    check_words([word.model_dump() for word in answer.words], answer.text)


def test_reflectors_file_call(scripted: LiveServer, clip: bytes, host: AudioHost) -> None:
    url = host.put("/track.webm?X-Amz-Signature=abc%2Fdef", Answer(clip))
    response = httpx.post(
        f"{scripted.url}{FROM_URL}",
        headers={"Authorization": f"Bearer {KEY}"},
        json={"audio_file_url": url, "language": "en", "batch": True},
        follow_redirects=True,
        timeout=600,
        trust_env=False,
    )
    body = response.raise_for_status().json()
    assert body.keys() == {"text", "words"}
    check_words(body["words"], body["text"])


@pytest.mark.parametrize("count", [1, 2])
def test_reflectors_test_suites_call(scripted: LiveServer, clips: list[bytes], count: int) -> None:
    name = "file" if count == 1 else "files"
    sent = [(name, (f"{i}.mp3", clip, "audio/mpeg")) for i, clip in enumerate(clips[:count])]
    with scripted.client() as client:
        data = {"model": "scripted", "language": "en", "batch": "false"}
        body = client.post(TRANSCRIPTIONS, files=sent, data=data).json()
    for number, result in enumerate(body["results"] if count > 1 else [body]):
        assert result["filename"] == f"{number}.mp3"
        check_words(result["words"], result["text"])


# Files


def post(server: LiveServer, *parts: tuple[str, bytes], **data: str) -> Any:
    """Send files under the given field names; the file names are their numbers."""
    files = [(name, (f"{number}", clip)) for number, (name, clip) in enumerate(parts)]
    with server.client() as client:
        response = client.post(TRANSCRIPTIONS, files=files, data=data)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("name", ["file", "files", "file[]", "files[]"])
@pytest.mark.parametrize("batch", [{}, {"batch": "true"}, {"batch": "false"}, {"batch": ""}])
def test_one_file_however_it_is_called(
    scripted: LiveServer, clip: bytes, text: str, name: str, batch: dict[str, str]
) -> None:
    body = post(scripted, (name, clip), **batch)
    assert body.keys() == {"text", "words", "filename"}
    assert (body["text"], body["filename"]) == (text, "0")
    assert body["words"][0].keys() == {"word", "start", "end", "probability"}
    check_words(body["words"], text)


@pytest.mark.parametrize(
    "names",
    [
        ("file", "file"),
        ("files", "files"),
        ("files[]", "files[]"),
        ("file", "files"),
        ("files[]", "file", "files"),
        ("files", "files", "files", "files"),
    ],
)
@pytest.mark.parametrize("batch", [{}, {"batch": "true"}, {"batch": "false"}])
def test_several_files_in_the_order_sent(
    scripted: LiveServer,
    clips: list[bytes],
    texts: list[str],
    names: tuple[str, ...],
    batch: dict[str, str],
) -> None:
    body = post(scripted, *zip(names, reversed(clips), strict=False), **batch)
    assert body.keys() == {"results"}
    alone = texts[::-1][: len(names)]
    assert [result["text"] for result in body["results"]] == alone
    assert len(set(alone)) == len(alone) == len(names)
    for number, result in enumerate(body["results"]):
        assert result.keys() == {"text", "words", "filename"}
        assert result["filename"] == str(number)


@pytest.mark.parametrize(("batch", "begun"), [("true", 3), ("false", 1)])
def test_batch_decides_whether_files_wait_for_each_other(
    scripted: LiveServer,
    clips: list[bytes],
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    batch: str,
    begun: int,
) -> None:
    """How many files are being worked on when the first of their chunks is ready."""
    work, at_first_chunk, files = scripted.service.recordings.transcribe, [], 0

    async def counted(*arguments: Any) -> Any:
        nonlocal files
        files += 1
        async for part in work(*arguments):
            at_first_chunk.append((files, part))
            yield part

    monkeypatch.setattr(scripted.service.recordings, "transcribe", counted)
    post(scripted, *(("files", clip) for clip in clips[:3]), batch=batch)
    assert at_first_chunk[0][0] == begun
    assert isinstance(at_first_chunk[0][1], Part)
    assert (files, gate.arrived) == (3, 3)


@pytest.mark.parametrize("batch", ["true", "false"])
@pytest.mark.parametrize("bad", [b"", b"no audio"])
def test_one_bad_file_fails_alone(
    scripted: LiveServer, clips: list[bytes], batch: str, bad: bytes
) -> None:
    body = post(scripted, ("files", clips[0]), ("files", bad), ("files", clips[1]), batch=batch)
    first, failed, last = body["results"]
    assert failed.keys() == {"filename", "error"}
    assert failed["filename"] == "1"
    assert failed["error"]["code"] == "undecodable_audio"
    for result in (first, last):
        check_words(result["words"], result["text"])


def test_all_files_bad_is_still_an_answer(scripted: LiveServer) -> None:
    body = post(scripted, ("files", b"a"), ("files", b"b"))
    assert [result["error"]["param"] for result in body["results"]] == ["file", "file"]


def test_a_browser_sends_inputs_without_a_choice(
    scripted: LiveServer, clip: bytes, text: str
) -> None:
    sent = [("file", ("", b"")), ("files", ("a.wav", clip)), ("files", ("", b""))]
    with scripted.client() as client:
        body = client.post(TRANSCRIPTIONS, files=sent, data={"language": "", "model": ""}).json()
    assert (body["text"], body["filename"]) == (text, "a.wav")


@pytest.mark.parametrize("name", NAMES)
def test_filename_is_the_clients_own(scripted: LiveServer, quiet: bytes, name: str) -> None:
    with scripted.client() as client:
        body = client.post(TRANSCRIPTIONS, files={"file": (name, quiet)}).json()
    assert body["filename"] == name


def test_a_file_without_a_name_has_one_in_the_answer(scripted: LiveServer, clip: bytes) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + clip + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with scripted.client() as client:
        assert client.post(TRANSCRIPTIONS, content=body, headers=headers).json()["filename"]


@pytest.mark.parametrize(("container", "codec"), FILE_TYPES)
def test_the_bytes_decide_what_a_file_is(
    scripted: LiveServer, snippets: list[Samples], container: str, codec: str
) -> None:
    content = encoded(snippets[0], container, codec)
    with scripted.client() as client:
        for name in (f"a.{container}", "a.txt"):
            fields = {"response_format": "verbose_json", "timestamp_granularities": "word"}
            sent = {"file": (name, content, "text/html")}
            body = client.post(TRANSCRIPTIONS, files=sent, data=fields).json()
            assert body["duration"] == pytest.approx(len(snippets[0]) / 16_000, abs=0.1)
            check_words(body["words"], body["text"])


# Words


@pytest.mark.parametrize(
    "strategy",
    [
        {},
        {"chunking_strategy": "auto"},
        {"chunking_strategy[type]": "server_vad", "chunking_strategy[silence_duration_ms]": "100"},
        {
            "chunking_strategy[type]": "server_vad",
            "chunking_strategy[threshold]": "0.9",
            "chunking_strategy[prefix_padding_ms]": "0",
            "chunking_strategy[silence_duration_ms]": "0",
        },
    ],
)
def test_words_whatever_the_chunking_did(
    scripted: LiveServer, standup: Path, strategy: dict[str, str]
) -> None:
    body = upload(scripted, standup.read_bytes(), data=strategy).json()
    assert len(body["words"]) > 30
    check_words(body["words"], body["text"])


def test_nobody_speaks(scripted: LiveServer, quiet: bytes) -> None:
    assert post(scripted, ("file", quiet)) == {"text": "", "words": [], "filename": "0"}


# /transcribe


@pytest.mark.parametrize("name", ["file", "files", "files[]"])
def test_transcribe(scripted: LiveServer, clip: bytes, text: str, name: str) -> None:
    with scripted.client() as client:
        body = client.post(TRANSCRIBE, files={name: clip}, data={"language": "en"}).json()
    assert body.keys() == {"text", "words"}
    assert body["text"] == text
    assert body["words"][0].keys() == {"text", "start", "end", "probability"}
    check_words(body["words"], text, "text")


def test_all_routes_hear_the_same(
    scripted: LiveServer, snippets: list[Samples], host: AudioHost, client: Any
) -> None:
    clip = wav(*snippets[:2])
    texts = {
        upload(scripted, clip).json()["text"],
        upload(scripted, clip, route=TRANSCRIBE).json()["text"],
        ask_url(scripted, host.put("/same", Answer(clip))).json()["text"],
        client.audio.transcriptions.create(file=clip, model="whisper-1").text,
    }
    assert len(texts) == 1
