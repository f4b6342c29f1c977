"""The openai client itself, against the live server."""

from __future__ import annotations

import json
from typing import Any, cast

import openai
import pytest
from openai import OpenAI, Stream
from openai.types import Model
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionStreamEvent,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
)

from reflector_gpu.api import connection
from reflector_gpu.errors import EngineNotLoaded
from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    FROM_URL,
    TRANSCRIPTIONS,
    Gate,
    check_words,
    eventually,
    retry_after,
    running,
    send_raw,
    upload,
)
from tests.live import LiveServer

DELTA = "transcript.text.delta"


def create(client: OpenAI, file: bytes, **fields: Any) -> Any:
    """The call that OpenAI's documentation shows, with ``fields`` on top."""
    return client.audio.transcriptions.create(
        file=("meeting.wav", file), **{"model": "whisper-1", **fields}
    )


def stream(client: OpenAI, file: bytes, **fields: Any) -> Stream[TranscriptionStreamEvent]:
    events: Stream[TranscriptionStreamEvent] = create(client, file, stream=True, **fields)
    return events


# Formats


def test_json(client: OpenAI, clip: bytes, text: str) -> None:
    answer = create(client, clip, response_format="json")
    assert isinstance(answer, Transcription)
    assert answer.text == text
    found = answer.model_dump(exclude_unset=True)
    assert found.keys() == {"text", "languages", "usage"}
    assert found["languages"] == [{"code": "en"}]
    assert answer.usage
    assert answer.usage.type == "duration"


def test_no_format_is_readable_as_json(client: OpenAI, clip: bytes, text: str) -> None:
    assert create(client, clip).text == text


def test_text(client: OpenAI, clip: bytes, text: str) -> None:
    assert create(client, clip, response_format="text") == f"{text}\n"


def test_srt(client: OpenAI, clip: bytes, text: str) -> None:
    number, times, words = create(client, clip, response_format="srt").split("\n", 2)
    assert (number, " ".join(words.split())) == ("1", text)
    assert times.startswith("00:00:00,")


def test_vtt(client: OpenAI, clip: bytes, text: str) -> None:
    header, cue = create(client, clip, response_format="vtt").split("\n\n", 1)
    times, words = cue.split("\n", 1)
    assert (header, " ".join(words.split())) == ("WEBVTT", text)
    assert times.startswith("00:00:00.")


@pytest.mark.parametrize(
    ("granularities", "has_words", "has_segments"),
    [
        (None, False, True),
        (["segment"], False, True),
        (["word"], True, False),
        (["word", "segment"], True, True),
    ],
)
def test_verbose_json(
    client: OpenAI,
    clip: bytes,
    text: str,
    granularities: list[str] | None,
    has_words: bool,
    has_segments: bool,
) -> None:
    fields = {"timestamp_granularities": granularities} if granularities else {}
    answer = create(client, clip, response_format="verbose_json", **fields)
    assert isinstance(answer, TranscriptionVerbose)
    assert (answer.text, answer.language) == (text, "english")
    assert isinstance(answer.duration, float)
    assert (answer.words is not None, answer.segments is not None) == (has_words, has_segments)
    if answer.words is not None:
        check_words([word.model_dump() for word in answer.words], text)
    for number, segment in enumerate(answer.segments or ()):
        assert segment.id == number
        assert isinstance(segment.id, int)
        assert segment.start <= segment.end


def test_words_are_a_list_where_nobody_speaks(client: OpenAI, quiet: bytes) -> None:
    answer = create(
        client, quiet, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert (answer.words, answer.segments, answer.text) == ([], [], "")
    assert answer.duration == pytest.approx(2.0)


def test_diarized_json(client: OpenAI, clip: bytes, text: str) -> None:
    answer = create(client, clip, response_format="diarized_json", chunking_strategy="auto")
    assert isinstance(answer, TranscriptionDiarized)
    assert answer.text == " ".join(segment.text for segment in answer.segments) == text
    ids = [segment.id for segment in answer.segments]
    assert all(isinstance(one, str) for one in ids)
    assert len(set(ids)) == len(ids) > 0
    assert {segment.type for segment in answer.segments} == {"transcript.text.segment"}
    assert {segment.speaker for segment in answer.segments} == {"A"}


# Streams


def test_stream(client: OpenAI, pauses: bytes) -> None:
    whole = create(client, pauses).text
    events = list(stream(client, pauses))
    *deltas, done = events
    assert len(deltas) == 3
    assert all(isinstance(event, TranscriptionTextDeltaEvent) for event in deltas)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert (
        "".join(event.delta for event in deltas if event.type == "transcript.text.delta") == whole
    )
    assert done.text == whole
    assert done.usage


def test_stream_ends_with_done(scripted: LiveServer, pauses: bytes) -> None:
    response = upload(scripted, pauses, data={"stream": "true"})
    assert response.headers["Content-Type"].startswith("text/event-stream")
    *events, last, rest = response.text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    types = [json.loads(event.removeprefix("data: "))["type"] for event in events]
    assert types == [DELTA] * 3 + ["transcript.text.done"]


def test_diarized_stream(client: OpenAI, pauses: bytes) -> None:
    events = list(stream(client, pauses, response_format="diarized_json"))
    segments = [event for event in events if isinstance(event, TranscriptionTextSegmentEvent)]
    assert [segment.id for segment in segments] == ["seg_0", "seg_1", "seg_2"]
    done = events[-1]
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert " ".join(segment.text for segment in segments) == done.text
    assert {event.type for event in events} == {
        "transcript.text.delta",
        "transcript.text.segment",
        "transcript.text.done",
    }


def test_first_delta_leaves_before_the_last_chunk_is_recognised(
    client: OpenAI, pauses: bytes, gate: Gate
) -> None:
    gate.free = 1
    events = stream(client, pauses)
    first = next(events)
    assert isinstance(first, TranscriptionTextDeltaEvent)
    eventually(lambda: gate.arrived > 1)  # and still nobody has let the second chunk pass
    gate.open()
    assert len([event for event in events if event.type == DELTA]) == 2


def test_silence_streams_as_an_empty_text(client: OpenAI, quiet: bytes) -> None:
    (done,) = stream(client, quiet)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert done.text == ""


def test_a_stream_that_fails_early_fails_by_status(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="not audio"):
        stream(client, b"not audio")


def test_a_stream_that_fails_midway_says_so(client: OpenAI, pauses: bytes, gate: Gate) -> None:
    gate.free = 1
    events = stream(client, pauses)
    assert next(events).type == DELTA
    eventually(lambda: gate.arrived > 1)
    gate.open(EngineNotLoaded("The engine gave up."))
    with pytest.raises(openai.APIError, match="The engine gave up"):
        list(events)


def test_a_failure_midway_has_the_one_shape(
    scripted: LiveServer, pauses: bytes, gate: Gate
) -> None:
    gate.free = 1
    with (
        scripted.client() as plain,
        plain.stream(
            "POST", TRANSCRIPTIONS, files={"file": pauses}, data={"stream": "true"}
        ) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        eventually(lambda: gate.arrived > 1)
        gate.open(EngineNotLoaded("The engine gave up."))
        *_, failure, end = [line for line in lines if line]
    body = json.loads(failure.removeprefix("data: "))
    assert body["error"]["code"] == "engine_failed"
    assert body["detail"] == body["error"]["message"] == "The engine gave up."
    assert end == "data: [DONE]"


def test_a_slow_stream_begins_all_the_same(
    client: OpenAI, clip: bytes, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.0)
    gate.free = 0
    events = stream(client, clip)
    assert events.response.status_code == 200
    gate.open()
    assert [event.type for event in events] == [DELTA, "transcript.text.done"]


def test_a_stream_keeps_its_connection_alive(
    scripted: LiveServer, clip: bytes, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.01)
    gate.free = 0
    with (
        scripted.client() as plain,
        plain.stream(
            "POST", TRANSCRIPTIONS, files={"file": clip}, data={"stream": "true"}
        ) as response,
    ):
        lines = (line for line in response.iter_lines() if line)
        assert next(lines).startswith(":"), "a comment, which clients skip"
        gate.open()
        assert [line for line in lines if not line.startswith(":")][-1] == "data: [DONE]"


# Models and errors


def test_models(client: OpenAI) -> None:
    listed = list(client.models.list())
    assert {"sphinx", "scripted"} <= {model.id for model in listed}
    for model in listed:
        assert client.models.retrieve(model.id) == model
        assert isinstance(model, Model)
        assert (model.object, model.owned_by) == ("model", "reflector-gpu")
        assert isinstance(model.created, int)
    alias = client.models.retrieve("whisper-1")
    assert (alias.id, alias.model_dump()["means"]) == ("whisper-1", "scripted")


ERRORS = [
    (openai.BadRequestError, {"language": "tlh"}, "unsupported_language", "language"),
    (openai.BadRequestError, {"temperature": 7}, "invalid_request", "temperature"),
    (openai.NotFoundError, {"model": "no-such"}, "model_not_found", "model"),
]


@pytest.mark.parametrize(("kind", "fields", "code", "param"), ERRORS)
def test_errors_are_the_clients_own(
    client: OpenAI,
    clip: bytes,
    kind: type[openai.APIError],
    fields: dict[str, object],
    code: str,
    param: str,
) -> None:
    with pytest.raises(kind) as caught:
        create(client, clip, **fields)
    error = caught.value
    assert (error.code, error.param, error.type is not None) == (code, param, True)
    assert cast("dict[str, str]", error.body)["message"] in error.message


def test_a_wrong_key_is_an_authentication_error(client: OpenAI, clip: bytes) -> None:
    with pytest.raises(openai.AuthenticationError):
        create(client.with_options(api_key="wrong"), clip)


def test_url_errors_are_the_clients_own(client: OpenAI, host: AudioHost) -> None:
    gone = host.put("/gone.wav", Answer(status=404))
    for kind, url in [
        (openai.PermissionDeniedError, "http://10.0.0.1/"),
        (openai.NotFoundError, gone),
    ]:
        with pytest.raises(kind):
            client.post(FROM_URL.removeprefix("/v1"), cast_to=object, body={"audio_file_url": url})


@pytest.mark.usefixtures("patient")
def test_a_full_server_is_a_rate_limit_error(small: LiveServer, clip: bytes) -> None:
    with small.client() as plain:
        held = plain.build_request("POST", TRANSCRIPTIONS, files={"file": clip})
    with send_raw(small, held, share=0.5), small.openai() as client:
        eventually(lambda: running(small, "live") == 1)
        with pytest.raises(openai.RateLimitError) as caught:
            create(client, clip)
    assert retry_after(caught.value.response) >= 1
