"""`include[]=logprobs`, as the openai client asks for it: of the tiny trained models, real ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import httpx
import pytest
from openai import OpenAI
from openai.types.audio import Transcription, TranscriptionTextDeltaEvent

from tests.api.hosts import Answer, AudioHost
from tests.api.support import FROM_URL, TRANSCRIPTIONS, error_of, silence, wav
from tests.engines.tiny import PARAKEET, WHISPER, clips
from tests.live import KEY, LiveServer

MODELS = ("parakeet", "whisper", "scripted")
WITHOUT = ("text", "srt", "vtt", "verbose_json", "diarized_json")


class Scored(Protocol):
    """What openai-python makes of a token."""

    token: str | None
    bytes: Any
    logprob: float | None


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer(
        model="parakeet",
        model_paths={"parakeet": str(PARAKEET), "whisper": str(WHISPER)},
        url_allow="127.0.0.0/8",
        apikey=KEY,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def meeting() -> bytes:
    """Two clips, so far apart that no model takes them at once."""
    first, second = clips("en")[0], clips("en")[7]
    return wav(first.samples, silence(50.0), second.samples)


def post(server: LiveServer, **fields: Any) -> httpx.Response:
    with server.client() as client:
        data = {"include[]": "logprobs", **fields}
        return client.post(TRANSCRIPTIONS, files={"file": meeting()}, data=data)


def check(scored: Iterable[Scored] | None, text: str) -> None:
    """That the tokens spell ``text``, and how likely they are."""
    assert scored is not None
    found = list(scored)
    assert found
    assert b"".join(bytes(map(int, one.bytes)) for one in found).decode() == text
    assert "".join(one.token or "" for one in found) == text
    assert all(one.logprob is not None and one.logprob <= 0 for one in found)


@pytest.mark.parametrize("model", MODELS)
def test_json(client: OpenAI, model: str) -> None:
    answer = client.audio.transcriptions.create(
        file=("a.wav", meeting()), model=model, response_format="json", include=["logprobs"]
    )
    assert isinstance(answer, Transcription)
    check(answer.logprobs, answer.text)


@pytest.mark.parametrize("model", MODELS)
def test_logprobs_without_a_format_come_as_in_json(client: OpenAI, model: str) -> None:
    answer = client.audio.transcriptions.create(
        file=("a.wav", meeting()), model=model, include=["logprobs"]
    )
    check(answer.logprobs, answer.text)


@pytest.mark.parametrize("model", MODELS)
def test_a_stream(client: OpenAI, model: str) -> None:
    events = list(
        client.audio.transcriptions.create(
            file=("a.wav", meeting()), model=model, stream=True, include=["logprobs"]
        )
    )
    *deltas, done = events
    told: list[dict[str, object]] = []
    assert len(deltas) > 1
    for event in deltas:
        assert isinstance(event, TranscriptionTextDeltaEvent)
        check(event.logprobs, event.delta)
        told += [one.model_dump() for one in event.logprobs or ()]
    assert done.type == "transcript.text.done"
    check(done.logprobs, done.text)
    assert [one.model_dump() for one in done.logprobs or ()] == told


@pytest.mark.parametrize("model", ["parakeet", "whisper"])
def test_a_trained_model_is_not_certain_of_each(client: OpenAI, model: str) -> None:
    answer = client.audio.transcriptions.create(
        file=("a.wav", meeting()), model=model, include=["logprobs"]
    )
    found = {one.logprob for one in answer.logprobs or ()}
    assert len(found) > 1
    assert min(one or 0.0 for one in found) < 0


def test_a_recording_that_the_server_fetches(server: LiveServer, host: AudioHost) -> None:
    url = host.put("/a", Answer(meeting()))
    with server.client() as client:
        body = {"audio_file_url": url, "include": ["logprobs"]}
        answer = client.post(FROM_URL, json=body).json()
    found = b"".join(bytes(one["bytes"]) for one in answer["logprobs"])
    assert found.decode() == answer["text"] != ""


def test_several_files_have_their_own(server: LiveServer) -> None:
    chosen = clips("en")[:2]
    files = [("file", (clip.path.name, clip.path.read_bytes())) for clip in chosen]
    with server.client() as client:
        answer = client.post(TRANSCRIPTIONS, files=files, data={"include[]": "logprobs"})
    for result, clip in zip(answer.json()["results"], chosen, strict=True):
        assert b"".join(bytes(one["bytes"]) for one in result["logprobs"]).decode() == clip.text


def test_silence_has_an_empty_list_of_logprobs(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        file=("a.wav", wav(silence(1.0))), model="parakeet", include=["logprobs"]
    )
    assert answer.logprobs == []


@pytest.mark.parametrize("form", [None, "json"])
def test_answers_have_no_logprobs_unless_asked(server: LiveServer, form: str | None) -> None:
    fields = {"include[]": "", **({"response_format": form} if form else {})}
    assert "logprobs" not in post(server, **fields).json()
    assert '"logprobs"' not in post(server, stream="true", **fields).text


@pytest.mark.parametrize("form", WITHOUT)
@pytest.mark.parametrize("stream", ["true", "false"])
def test_a_format_that_has_no_place_for_them_is_refused(
    server: LiveServer, form: str, stream: str
) -> None:
    error = error_of(post(server, response_format=form, stream=stream), 400)
    assert error["param"] == "include"
    assert form in error["message"]
    assert "'json'" in error["message"]


def test_a_model_without_them_names_those_that_have_them(server: LiveServer) -> None:
    error = error_of(post(server, model="sphinx"), 400)
    assert error["param"] == "include"
    assert "Parakeet" in error["message"]
    assert "Whisper" in error["message"]


def test_translations_have_no_logprobs(server: LiveServer) -> None:
    with server.client() as client:
        answer = client.post(
            "/v1/audio/translations",
            files={"file": meeting()},
            data={"model": "whisper", "include[]": "logprobs"},
        )
    assert answer.headers["X-Reflector-Ignored"] == "include"
    assert "logprobs" not in json.dumps(answer.json())
