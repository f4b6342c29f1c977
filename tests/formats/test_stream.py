"""Stream events, and every format as the openai client itself hands it to its user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from openai import OpenAI
from openai.types.audio import (
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
)

from reflector_gpu.formats import openai, subtitles
from reflector_gpu.formats.response_format import EVENT_STREAM, MEDIA_TYPES, Format
from reflector_gpu.formats.stream_events import StreamEvent
from reflector_gpu.types import Segment, Transcript, Word

FIRST = Segment.of([Word("Hello", 0.5, 0.8, speaker="Anna"), Word("there.", 0.8, 1.4)])
SECOND = Segment.of([Word("Hi.", 2.0, 2.5, speaker="B")])
TALK = Transcript((FIRST, SECOND), "en", 2.6)


def test_deltas_carry_the_joining_space_and_our_times() -> None:
    events = [openai.delta(FIRST), openai.next_delta(SECOND, offset=1.0)]
    assert [json.loads(event.model_dump_json(exclude_none=True)) for event in events] == [
        {
            "type": "transcript.text.delta",
            "delta": "Hello there.",
            "start": 0.5,
            "end": 1.4,
            "words": [
                {"word": "Hello", "start": 0.5, "end": 0.8, "speaker": "Anna"},
                {"word": "there.", "start": 0.8, "end": 1.4},
            ],
        },
        {
            "type": "transcript.text.delta",
            "delta": " Hi.",
            "start": 3.0,
            "end": 3.5,
            "words": [{"word": "Hi.", "start": 3.0, "end": 3.5, "speaker": "B"}],
        },
    ]


def test_events_are_valid_for_the_clients_types() -> None:
    delta = openai.delta(FIRST).model_dump_json(exclude_none=True)
    assert TranscriptionTextDeltaEvent.model_validate_json(delta, strict=True).delta
    _, segment = openai.segment_events([FIRST, SECOND])
    body = segment.model_dump_json(exclude_none=True)
    assert TranscriptionTextSegmentEvent.model_validate_json(body, strict=True).id == "seg_1"
    done = TranscriptionTextDoneEvent.model_validate_json(
        openai.done(TALK).model_dump_json(exclude_none=True), strict=True
    )
    assert done.text == "Hello there. Hi."
    assert done.usage is not None
    assert done.usage.model_extra == {"seconds": 3}


def test_segment_events_keep_the_number_of_a_segment_that_is_cut() -> None:
    both = Segment.of([*FIRST.words, *SECOND.words])
    assert [
        (event.id, event.speaker, event.text, event.start)
        for event in openai.segment_events([both, SECOND], offset=10)
    ] == [
        ("seg_0", "Anna", "Hello there.", 10.5),
        ("seg_0_1", "B", "Hi.", 12.0),
        ("seg_1", "B", "Hi.", 12.0),
    ]


def test_deltas_name_the_event_of_their_segment() -> None:
    event = openai.next_delta(SECOND, segment_id=openai.segment_id(1))
    body = event.model_dump_json(exclude_none=True)
    client = TranscriptionTextDeltaEvent.model_validate_json(body, strict=True)
    assert client.segment_id == "seg_1" == list(openai.segment_events([FIRST, SECOND]))[1].id


def test_done() -> None:
    assert openai.done(TALK).model_dump_json(exclude_none=True) == (
        '{"type":"transcript.text.done","text":"Hello there. Hi.","languages":[{"code":"en"}],'
        '"usage":{"type":"tokens","input_tokens":0,"output_tokens":0,"total_tokens":0,"seconds":3}}'
    )
    assert openai.done(Transcript((), None, 0.0)).languages == ()


def test_an_event_is_one_line_whatever_the_text() -> None:
    event = openai.server_sent(openai.delta(Segment(0.0, 1.0, "a\nb\r\nc")))
    assert event.startswith("data: {")
    assert event.endswith("}\n\n")
    assert event.count("\n") == 2


@contextmanager
def client_of(body: str, media_type: str) -> Iterator[OpenAI]:
    """The openai client of a server that always answers ``body``."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        with OpenAI(api_key="unused", base_url=url, max_retries=0) as client:
            yield client
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


AUDIO = ("a.wav", b"RIFF")


def test_client_streams_deltas_segments_and_the_whole_text() -> None:
    events_sent: list[StreamEvent] = [
        openai.delta(FIRST),
        openai.next_delta(SECOND),
        *openai.segment_events(TALK.segments),
        openai.done(TALK),
    ]
    stream = "".join(map(openai.server_sent, events_sent))
    with client_of(stream + openai.STREAM_END, EVENT_STREAM) as client:
        events = list(
            client.audio.transcriptions.create(model="whisper-1", file=AUDIO, stream=True)
        )
    deltas = [event for event in events if event.type == "transcript.text.delta"]
    segments = [event for event in events if event.type == "transcript.text.segment"]
    done = events[-1]
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text == TALK.text
    assert [event.speaker for event in segments] == ["Anna", "B"]
    assert deltas[1].model_extra is not None
    assert deltas[1].model_extra["start"] == 2.0


@pytest.mark.parametrize("form", [Format.TEXT, Format.SRT, Format.VTT])
def test_client_gets_plain_formats_unchanged(form: Format) -> None:
    body = {
        Format.TEXT: openai.text(TALK),
        Format.SRT: subtitles.srt(TALK),
        Format.VTT: subtitles.vtt(TALK),
    }[form]
    with client_of(body, MEDIA_TYPES[form]) as client:
        answer: object = client.audio.transcriptions.create(
            model="whisper-1", file=AUDIO, response_format=form.value
        )
    assert answer == body


def test_client_reads_words_segments_and_speakers() -> None:
    verbose = openai.verbose_json(TALK, ("word", "segment")).model_dump_json(exclude_none=True)
    with client_of(verbose, MEDIA_TYPES[Format.VERBOSE_JSON]) as client:
        answer = client.audio.transcriptions.create(
            model="whisper-1", file=AUDIO, response_format="verbose_json"
        )
    assert [word.word for word in answer.words or []] == [" Hello", " there.", " Hi."]
    assert [segment.text for segment in answer.segments or []] == ["Hello there.", "Hi."]

    diarized = openai.diarized_json(TALK).model_dump_json(exclude_none=True)
    with client_of(diarized, MEDIA_TYPES[Format.DIARIZED_JSON]) as client:
        spoken = client.audio.transcriptions.create(
            model="whisper-1", file=AUDIO, response_format="diarized_json"
        )
    assert [(part.speaker, part.text) for part in spoken.segments] == [
        ("Anna", "Hello there."),
        ("B", "Hi."),
    ]
