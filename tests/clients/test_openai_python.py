"""openai-python, the newest: files in every form it takes, errors, retries, other ways to sign in.

What the answers look like is tested in tests/api/transcription/test_openai_client.py.
"""

from __future__ import annotations

import asyncio
import io
import socket
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.clients.conftest import SMALL
from tests.clients.server import KEY, Server, serving
from tests.clients.support import ENGLISH, SPANISH, text_of
from tests.waiting import PROGRAM_SECONDS

CONTENT = ENGLISH.read_bytes()
TEXT = text_of(ENGLISH)

FILES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: CONTENT,
    "a path": lambda: ENGLISH,
    "an open file": lambda: ENGLISH.open("rb"),
    "a buffer without a name": lambda: io.BytesIO(CONTENT),
    "a name and bytes": lambda: ("clip.wav", CONTENT),
    "a name, a buffer and a type": lambda: ("clip.wav", io.BytesIO(CONTENT), "audio/wav"),
    "a wrong name and type": lambda: ("clip.mp3", CONTENT, "video/mp4"),
    "a name without an extension": lambda: ("clip", CONTENT),
    "no name": lambda: ("", CONTENT),
    "a name in several scripts": lambda: ("réunion – 会議.wav", CONTENT),
    "a name with quotes": lambda: ('the "best" clip; really.wav', CONTENT),
    "a name with a path": lambda: ("../../etc/passwd.wav", CONTENT),
    "a long name": lambda: (f"{'clip' * 60}.wav", CONTENT),
}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that works on one upload at a time."""
    settings = {**SMALL, "LIVE_REQUESTS": "1", "PUBLIC_METRICS": "true"}
    with serving(tmp_path_factory.mktemp("busy"), settings) as server:
        yield server


@contextmanager
def place_held(server: Server) -> Iterator[socket.socket]:
    """The connection of an upload that the server waits for.

    Five minutes of audio are there at once, so that it is never one that comes too slowly to stay.
    """
    recording = io.BytesIO()
    with wave.open(recording, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(300 * 32_000))
    where = urlsplit(server.url)
    assert where.hostname
    with socket.create_connection((where.hostname, where.port or 80)) as connection:
        connection.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n"
            b"Authorization: Bearer " + KEY.encode() + b"\r\n\r\n--x\r\n"
            b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            + recording.getvalue()
        )
        deadline = time.monotonic() + PROGRAM_SECONDS
        while 'requests_running{class="live"} 1' not in _metrics(server):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield connection


def _metrics(server: Server) -> str:
    with urlopen(f"{server.url}/metrics") as answer:
        return str(answer.read().decode())


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=server.api, api_key=KEY, max_retries=0)


def create(client: OpenAI, **wishes: Any) -> Any:
    given = {"file": ENGLISH, "model": "whisper-1", "language": "en", **wishes}
    return client.audio.transcriptions.create(**given)


@pytest.mark.parametrize("form", FILES)
def test_a_file_in_any_form(client: OpenAI, form: str) -> None:
    assert create(client, file=FILES[form]()).text == TEXT


def test_the_asynchronous_client(server: Server) -> None:
    async def transcribe() -> str:
        async with AsyncOpenAI(base_url=server.api, api_key=KEY) as client:
            answer = await client.audio.transcriptions.create(
                file=ENGLISH, model="whisper-1", language="en"
            )
            return answer.text

    assert asyncio.run(transcribe()) == TEXT


def test_a_file_that_arrives_in_chunks(server: Server, tmp_path: Path) -> None:
    """The raw answer and the parsed one, from one call."""
    client = OpenAI(base_url=server.api, api_key=KEY, max_retries=0)
    copy = tmp_path / "copy.wav"
    copy.write_bytes(CONTENT)
    raw = client.audio.transcriptions.with_raw_response.create(file=copy, model="whisper-1")
    assert raw.headers["content-type"] == "application/json"
    assert raw.request_id
    assert raw.parse().text == TEXT


def test_every_field_of_openai_at_once(client: OpenAI) -> None:
    """Whatever has no effect here is taken all the same."""
    answer = create(
        client,
        language="en",
        prompt="A meeting about a project.",
        temperature=0.2,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        chunking_strategy={"type": "server_vad", "silence_duration_ms": 200, "threshold": 0.5},
    )
    assert answer.text == TEXT
    assert answer.language == "english"
    assert "".join(word.word for word in answer.words).strip() == TEXT
    assert answer.segments[0].text.strip() == TEXT


def test_a_stream(client: OpenAI) -> None:
    events = list(create(client, stream=True))
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == TEXT


def test_a_stream_of_speakers(client: OpenAI) -> None:
    events = list(create(client, stream=True, response_format="diarized_json"))
    assert {event.type for event in events} == {
        "transcript.text.delta",
        "transcript.text.segment",
        "transcript.text.done",
    }
    (segment,) = [event for event in events if event.type == "transcript.text.segment"]
    assert (segment.speaker, segment.text) == ("A", TEXT)


def test_a_translation(client: OpenAI) -> None:
    answer = client.audio.translations.create(file=SPANISH, model="whisper-1")
    assert answer.text == "hello team"


ERRORS: list[tuple[type[openai.APIStatusError], dict[str, object], str, str]] = [
    (openai.BadRequestError, {"language": "tlh"}, "unsupported_language", "language"),
    (openai.BadRequestError, {"temperature": 7}, "invalid_request", "temperature"),
    (openai.BadRequestError, {"response_format": "xml"}, "invalid_request", "response_format"),
    (openai.NotFoundError, {"model": "no-such"}, "model_not_found", "model"),
]


@pytest.mark.parametrize(("kind", "wishes", "code", "param"), ERRORS)
def test_errors(
    client: OpenAI,
    kind: type[openai.APIStatusError],
    wishes: dict[str, object],
    code: str,
    param: str,
) -> None:
    with pytest.raises(kind) as caught:
        create(client, **wishes)
    error = caught.value
    assert (error.code, error.param) == (code, param)
    assert error.request_id


def test_a_file_that_is_no_audio(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, file=b"no audio at all")
    assert caught.value.param == "file"


def test_a_wrong_key(client: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        create(client.with_options(api_key="wrong"))
    assert caught.value.code


def test_a_model_that_is_not_installed_is_not_asked_for_again(server: Server) -> None:
    """Its 503 says to come back in an hour, and the client takes that for a no."""
    client = OpenAI(base_url=server.api, api_key=KEY, max_retries=2)
    with pytest.raises(openai.InternalServerError, match="not installed") as caught:
        create(client, model="large-v2")
    assert caught.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_a_full_server_is_asked_again_until_it_has_a_place(busy: Server) -> None:
    """A request that arrives slowly holds the only place; it goes at the client's first 429."""
    statuses: list[int] = []
    with place_held(busy) as held:

        def seen(response: Any) -> None:
            statuses.append(response.status_code)
            held.close()

        hooks = openai.DefaultHttpxClient(event_hooks={"response": [seen]})
        client = OpenAI(base_url=busy.api, api_key=KEY, max_retries=10, http_client=hooks)
        assert create(client).text == TEXT
    assert statuses[0] == 429
    assert statuses[-1] == 200


@pytest.mark.parametrize("header", ["api-key", "X-API-Key"])
def test_a_key_in_the_header_of_other_services(client: OpenAI, header: str) -> None:
    headers = {"Authorization": openai.omit, header: KEY}
    assert create(client, extra_headers=headers).text == TEXT


def test_models(client: OpenAI) -> None:
    listed = list(client.models.list())
    assert {"parakeet", "whisper"} <= {model.id for model in listed}
    assert client.models.retrieve("parakeet").id == "parakeet"


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="llm-tiny", messages=[{"role": "user", "content": "Count to ten."}], max_tokens=20
    )
    assert answer.choices[0].message.content
    assert answer.usage
    assert answer.usage.completion_tokens <= 20
