"""Speaker turns, and the speakers of words, in a meeting of three people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.api.hosts import Answer, AudioHost
from tests.api.support import (
    TRANSCRIBE,
    TRANSLATIONS,
    Gate,
    ask_url,
    error_of,
    upload,
)
from tests.conftest import SAMPLES
from tests.live import KEY, LiveServer

DIARIZE = "/diarize"
START = Callable[..., LiveServer]


@pytest.fixture(scope="module")
def meeting() -> bytes:
    return (SAMPLES / "standup.ogg").read_bytes()


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SAMPLES / "standup.json").read_text())
    return found


def diarize(server: LiveServer, audio: bytes, **query: str | float) -> list[dict[str, Any]]:
    with server.client() as client:
        answer = client.post(DIARIZE, files={"file": audio}, params=query)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"diarization"}
    turns: list[dict[str, Any]] = answer.json()["diarization"]
    return turns


@pytest.fixture(scope="module")
def turns(scripted: LiveServer, meeting: bytes) -> list[dict[str, Any]]:
    return diarize(scripted, meeting)


def wrong_share(pairs: Iterator[tuple[str, object]]) -> float:
    """The share of pairs (who it was, who it is said to be) that the best naming leaves wrong."""
    counts = Counter(pairs)
    named: dict[str, object] = {}
    for (person, label), _ in counts.most_common():
        if person not in named and label not in named.values():
            named[person] = label
    right = sum(n for (person, label), n in counts.items() if named.get(person) == label)
    return 1 - right / counts.total()


def speaker_at(turns: list[dict[str, Any]], time: float) -> object:
    return next((t["speaker"] for t in turns if t["start"] <= time < t["end"]), None)


def test_a_meeting_of_three(turns: list[dict[str, Any]], reference: Mapping[str, Any]) -> None:
    pairs = (
        (word["speaker"], speaker_at(turns, (word["start"] + word["end"]) / 2))
        for word in reference["words"]
    )
    assert wrong_share(pairs) <= 0.05


def test_the_form_of_the_answer(turns: list[dict[str, Any]], reference: Mapping[str, Any]) -> None:
    assert [turn["start"] for turn in turns] == sorted(turn["start"] for turn in turns)
    for turn in turns:
        assert set(turn) == {"start", "end", "speaker"}
        assert 0 <= turn["start"] < turn["end"] <= reference["duration"]
        assert all(turn[key] == round(turn[key], 3) for key in ("start", "end"))
    speakers = [turn["speaker"] for turn in turns]
    assert list(dict.fromkeys(speakers)) == [0, 1, 2]


@pytest.mark.slow
def test_by_url_and_with_an_offset(
    scripted: LiveServer, host: AudioHost, meeting: bytes, turns: list[dict[str, Any]]
) -> None:
    url = host.put("/meeting.ogg", Answer(meeting))
    with scripted.client() as client:
        answer = client.post(DIARIZE, params={"audio_file_url": url, "timestamp": 100})
    assert answer.json()["diarization"] == [
        {
            "start": round(turn["start"] + 100, 3),
            "end": round(turn["end"] + 100, 3),
            "speaker": turn["speaker"],
        }
        for turn in turns
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hints", "few", "many"),
    [
        ({"num_speakers": 1}, 1, 1),
        ({"num_speakers": 2}, 2, 2),
        ({"max_speakers": 2}, 1, 2),
        ({"min_speakers": 4}, 3, 9),  # a voice is not torn apart
        ({"num_speakers": ""}, 3, 3),
    ],
)
def test_the_limits_on_speakers_are_respected(
    scripted: LiveServer, meeting: bytes, hints: dict[str, str | float], few: int, many: int
) -> None:
    found = {turn["speaker"] for turn in diarize(scripted, meeting, **hints)}
    assert few <= len(found) <= many


def test_where_nobody_speaks_there_are_no_turns(scripted: LiveServer, quiet: bytes) -> None:
    assert diarize(scripted, quiet) == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"num_speakers": 0}, "num_speakers"),
        ({"num_speakers": 101}, "num_speakers"),
        ({"max_speakers": "many"}, "max_speakers"),
        ({"min_speakers": 3, "max_speakers": 2}, "min_speakers"),
        ({"timestamp": "soon"}, "timestamp"),
        ({"timestamp": "nan"}, "timestamp"),
    ],
)
def test_400_names_the_query_parameter_that_is_wrong(
    scripted: LiveServer, quiet: bytes, query: dict[str, str | int], param: str
) -> None:
    with scripted.client() as client:
        answer = client.post(DIARIZE, files={"file": quiet}, params=query)
    assert error_of(answer, 400)["param"] == param


def test_400_for_no_audio_at_all(scripted: LiveServer, host: AudioHost) -> None:
    with scripted.client() as client:
        assert error_of(client.post(DIARIZE), 400)
        assert error_of(client.post(DIARIZE, files={"file": b"no audio"}), 400)["param"] == "file"
        url = host.put("/no-audio", Answer(b"no audio"))
        answer = client.post(DIARIZE, params={"audio_file_url": url})
        assert error_of(answer, 400)["param"] == "audio_file_url"
        answer = client.post(DIARIZE, params={"audio_file_url": "http://10.0.0.1/a.wav"})
        assert error_of(answer, 403)["code"] == "url_forbidden"


def test_401_without_a_key(scripted: LiveServer, quiet: bytes) -> None:
    with scripted.client(key=None) as client:
        assert error_of(client.post(DIARIZE, files={"file": quiet}), 401)


# Words and whose they are


@pytest.mark.slow
def test_words_name_their_speakers_if_asked_to(
    scripted: LiveServer, meeting: bytes, host: AudioHost
) -> None:
    url = host.put("/meeting.ogg", Answer(meeting))
    plain = upload(scripted, meeting).json()
    assert not any("speaker" in word for word in plain["words"])
    for answer in (
        upload(scripted, meeting, data={"diarize": "true"}),
        upload(scripted, meeting, data={"diarize": "true"}, route=TRANSCRIBE),
        ask_url(scripted, url, diarize=True),
    ):
        words = answer.json()["words"]
        assert len(words) == len(plain["words"])
        assert {word["speaker"] for word in words} == {"A", "B", "C"}


@pytest.mark.slow
def test_diarized_json_has_a_segment_for_every_stretch_of_a_speaker(
    scripted: LiveServer, meeting: bytes
) -> None:
    body = upload(scripted, meeting, data={"response_format": "diarized_json"}).json()
    segments = body["segments"]
    assert list(dict.fromkeys(segment["speaker"] for segment in segments)) == ["A", "B", "C"]
    assert " ".join(segment["text"] for segment in segments) == body["text"]
    assert len({segment["id"] for segment in segments}) == len(segments)
    assert all(0.5 < segment["speaker_confidence"] <= 1 for segment in segments)


@pytest.mark.slow
def test_verbose_json_names_the_speakers_of_words_and_segments(
    scripted: LiveServer, meeting: bytes
) -> None:
    fields: dict[str, str | list[str]] = {
        "response_format": "verbose_json",
        "timestamp_granularities[]": ["word", "segment"],
        "diarize": "true",
    }
    body = upload(scripted, meeting, data=fields).json()
    words, segments = body["words"], body["segments"]
    assert {word["speaker"] for word in words} == {"A", "B", "C"}
    assert [segment["id"] for segment in segments] == list(range(len(segments)))
    spoken = iter(words)
    for segment in segments:
        own = [next(spoken) for _ in segment["text"].split()]
        assert {word["speaker"] for word in own} == {segment["speaker"]}
    del fields["diarize"]
    plain = upload(scripted, meeting, data=fields).json()
    assert len(plain["words"]) == len(words)
    assert not any("speaker" in one for one in [*plain["words"], *plain["segments"]])


SPEAKER_FIELDS: list[dict[str, str]] = [
    {"diarize": "true"},
    {"known_speaker_names[]": "Anna", "known_speaker_references[]": "data:audio/wav;base64,AAAA"},
    {"max_speakers": "4"},
]


@pytest.mark.parametrize("asked", SPEAKER_FIELDS, ids=["diarize", "known speakers", "a number"])
@pytest.mark.parametrize("stream", ["false", "true"])
@pytest.mark.parametrize("form", ["json", "text"])
def test_400_names_the_formats_that_can_say_who_speaks(
    scripted: LiveServer, quiet: bytes, asked: dict[str, str], stream: str, form: str
) -> None:
    fields = {**asked, "response_format": form, "stream": stream}
    error = error_of(upload(scripted, quiet, data=fields), 400)
    assert error["param"] == "response_format"
    for name in ("diarized_json", "verbose_json", "srt", "vtt", "without response_format"):
        assert name in error["message"]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("asked", SPEAKER_FIELDS[1:], ids=["known speakers", "a number"])
def test_a_number_of_speakers_is_ignored_with_diarize_false(
    scripted: LiveServer, quiet: bytes, asked: dict[str, str], form: str
) -> None:
    fields = {**asked, "diarize": "false", "response_format": form}
    assert upload(scripted, quiet, data=fields).status_code == 200


@pytest.mark.slow
def test_a_number_of_speakers_implies_diarization(scripted: LiveServer, meeting: bytes) -> None:
    words = upload(scripted, meeting, data={"num_speakers": "2"}).json()["words"]
    assert {word["speaker"] for word in words} == {"A", "B"}


def test_400_where_a_translation_is_only_text(scripted: LiveServer, quiet: bytes) -> None:
    answer = upload(scripted, quiet, route=TRANSLATIONS, data={"diarize": "true"})
    assert error_of(answer, 400)["param"] == "response_format"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_name_the_speakers(scripted: LiveServer, meeting: bytes, form: str) -> None:
    answer = upload(scripted, meeting, data={"response_format": form, "diarize": "true"})
    for label in "ABC":
        assert f"\n{label}: " in answer.text or f"<v {label}>" in answer.text


@pytest.mark.slow
def test_a_stream_sends_text_at_once_and_speakers_when_they_are_known(
    scripted: LiveServer, meeting: bytes
) -> None:
    data = {"response_format": "diarized_json", "stream": "true"}
    events = events_of(upload(scripted, meeting, data=data))
    kinds = [event["type"].rsplit(".", 1)[1] for event in events]
    deltas, segments = kinds.count("delta"), kinds.count("segment")
    assert kinds == ["delta"] * deltas + ["segment"] * segments + ["done"]
    spoken = [event for event in events if event["type"].endswith("segment")]
    assert {event["speaker"] for event in spoken} == {"A", "B", "C"}
    assert events[-1]["text"] == " ".join(event["text"] for event in spoken)
    whole = upload(scripted, meeting, data={"response_format": "diarized_json"}).json()
    assert {frozenset(event) for event in spoken} == {frozenset(one) for one in whole["segments"]}
    assert len({event["id"] for event in spoken}) == segments
    begun = {event["id"]: event["text"] for event in spoken}
    for event in events[:deltas]:
        assert event["delta"].strip().startswith(begun[event["segment_id"]])
    asked = upload(scripted, meeting, data={"diarize": "true", "stream": "true"})
    assert events_of(asked) == events


def test_deltas_name_no_segment_without_diarization(scripted: LiveServer, pauses: bytes) -> None:
    events = events_of(upload(scripted, pauses, data={"stream": "true"}))
    assert not any("segment_id" in event for event in events)


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = answer.text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


@pytest.mark.slow
def test_the_diarizer_does_not_wait_for_the_recogniser(
    bare: START, meeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks are held back, and still it has the whole recording."""
    server = bare(model="scripted", apikey=KEY)
    gate = Gate(server, monkeypatch)
    gate.free = 0
    pool = server.service.workers.pool(server.service.diarizer)
    submit = pool.submit

    async def noted(*args: Any, **rest: Any) -> object:
        found = await submit(*args, **rest)
        gate.open()
        return found

    monkeypatch.setattr(pool, "submit", noted)
    answer = upload(server, meeting, data={"diarize": "true"})
    assert {word["speaker"] for word in answer.json()["words"]} == {"A", "B", "C"}


@pytest.mark.slow
def test_turns_may_overlap_where_nobody_asks_for_words(
    bare: START, meeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recogniser hears one of those who speak at once, and so each word has one speaker."""
    server = bare(model="scripted", apikey=KEY)
    pool = server.service.workers.pool(server.service.diarizer)
    submit, asked = pool.submit, []

    async def noted(recording: Any, options: Any, **rest: Any) -> object:
        asked.append(options.exclusive)
        return await submit(recording, options, **rest)

    monkeypatch.setattr(pool, "submit", noted)
    diarize(server, meeting)
    upload(server, meeting, data={"diarize": "true"})
    assert asked == [False, True]


@pytest.mark.slow
def test_real_words_of_the_meeting_have_the_right_speakers(
    meeting: bytes, reference: Mapping[str, Any]
) -> None:
    with LiveServer(model="sphinx", apikey=KEY) as server:
        answer = upload(server, meeting, data={"diarize": "true"}).json()
    said = {(word["word"], round(word["start"])): word["speaker"] for word in reference["words"]}

    def pairs() -> Iterator[tuple[str, object]]:
        for word in answer["words"]:
            person = said.get((word["word"].strip().lower(), round(word["start"])))
            if person:
                yield person, word["speaker"]

    assert sum(1 for _ in pairs()) > len(said) / 2
    assert wrong_share(pairs()) <= 0.05
