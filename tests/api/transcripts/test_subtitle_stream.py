"""Subtitles that are streamed: pieces of the very file that the plain answer is."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.formats import subtitles
from reflector_gpu.formats.response_format import Format
from reflector_gpu.types import Segment, Transcript, Word
from tests.api.support import Gate, eventually, upload
from tests.live import LiveServer

FORMS = ["srt", "vtt"]


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["Content-Type"].startswith("text/event-stream")
    *lines, end = [line for line in response.text.splitlines() if line]
    assert end == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def streamed(server: LiveServer, audio: bytes, **fields: str) -> list[dict[str, Any]]:
    return events_of(upload(server, audio, data={"stream": "true", **fields}))


@pytest.mark.parametrize("form", FORMS)
def test_the_pieces_are_the_file(scripted: LiveServer, pauses: bytes, form: str) -> None:
    plain = upload(scripted, pauses, data={"response_format": form}).text
    *deltas, done = streamed(scripted, pauses, response_format=form)
    assert {event["type"] for event in deltas} == {"transcript.text.delta"}
    assert len(deltas) == plain.count(" --> ")
    assert all(event["delta"].count(" --> ") == 1 for event in deltas)
    assert "".join(event["delta"] for event in deltas) == plain
    assert (done["type"], done["text"]) == ("transcript.text.done", plain)
    assert done["usage"]["seconds"] > 0


@pytest.mark.parametrize("form", FORMS)
def test_a_silent_recording(scripted: LiveServer, quiet: bytes, form: str) -> None:
    plain = upload(scripted, quiet, data={"response_format": form}).text
    *deltas, done = streamed(scripted, quiet, response_format=form)
    assert "".join(event["delta"] for event in deltas) == done["text"] == plain


@pytest.mark.parametrize("form", FORMS)
def test_files_with_speakers_come_in_the_end(
    scripted: LiveServer, pauses: bytes, form: str
) -> None:
    fields = {"response_format": form, "diarize": "true"}
    plain = upload(scripted, pauses, data=dict(fields)).text
    delta, done = streamed(scripted, pauses, **fields)
    assert delta["delta"] == done["text"] == plain
    assert "A" in plain


def test_cues_come_while_the_rest_is_worked_on(
    scripted: LiveServer, pauses: bytes, gate: Gate
) -> None:
    gate.free = 2
    data = {"stream": "true", "response_format": "srt"}
    with (
        scripted.client() as client,
        client.stream(
            "POST", "/v1/audio/transcriptions", files={"file": pauses}, data=data
        ) as response,
    ):
        lines = response.iter_lines()
        first = json.loads(next(lines).removeprefix("data: "))
        assert first["delta"].startswith("1\n00:00:00,")
        eventually(lambda: gate.arrived == 3)  # the third is still held back
        gate.open()
        assert any("[DONE]" in line for line in lines)


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    """Sentences with pauses of all lengths between words and between sentences."""
    gaps = st.sampled_from([0.0, 0.1, 0.59, 0.6, 0.61, 2.0, 9.0])
    now = draw(gaps)
    made: list[Segment] = []
    for _ in range(draw(st.integers(0, 6))):
        words: list[Word] = []
        for _ in range(draw(st.integers(1, 12))):
            text = draw(st.sampled_from(["a", "Yes.", "well,", "long" * 6, "x" * 50, "你好"]))
            end = now + draw(st.floats(0.01, 1.5))
            words.append(Word(text, now, end, glued=draw(st.booleans())))
            now = end + draw(gaps)
        made.append(Segment.of(words))
    return made


@given(
    said=segments(),
    cut=st.integers(1, 4),
    offset=st.sampled_from([0.0, 3.3, -1.0]),
    form=st.sampled_from([Format.SRT, Format.VTT]),
    silence=st.floats(0, 5),
)
def test_whatever_is_said_and_however_it_arrives(
    said: list[Segment], cut: int, offset: float, form: Any, silence: float
) -> None:
    duration = (said[-1].end if said else 0.0) + silence
    stream = subtitles.SubtitleStream(form, offset)
    pieces = []
    for at in range(0, len(said), cut):
        pieces += stream.add(said[at : at + cut])
    pieces += stream.end(duration)
    write = subtitles.srt if form is Format.SRT else subtitles.vtt
    file = write(Transcript(tuple(said), "en", duration), offset=offset)
    assert "".join(piece for _, piece in pieces) == ("" if not said else file)


def test_a_cue_is_given_out_after_the_pause_that_ends_it() -> None:
    stream = subtitles.SubtitleStream(Format.SRT)
    hello, there, later = (
        Segment.of([Word(t, s, s + 0.5)])
        for t, s in (("Hello", 0.0), ("there.", 0.6), ("Later.", 5.0))
    )
    assert stream.add([hello]) == []
    assert stream.add([there]) == []
    ((cue, piece),) = stream.add([later])
    assert cue.lines == ("Hello there.",)
    assert piece.startswith("1\n00:00:00,000 --> ")
