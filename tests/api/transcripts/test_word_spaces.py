"""Words as Reflector joins them: with nothing between, and over the answers of several requests.

What its `Transcript.merge`, `Transcript.text` and `words_to_segments` do is done here as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pytest
from openai import OpenAI

from reflector_gpu.types import Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.support import TRANSCRIBE, ask_url, upload, wav
from tests.live import KEY, LiveServer

SHAPES: list[dict[str, str]] = [
    {},
    {"response_format": "verbose_json", "timestamp_granularities[]": "word"},
]


@pytest.fixture(scope="module")
def bare_words() -> Iterator[LiveServer]:
    """A server that answers with words as OpenAI's."""
    with LiveServer(
        model="scripted", apikey=KEY, url_allow="127.0.0.1", word_spaces="none"
    ) as server:
        yield server


@pytest.fixture(scope="module")
def meeting(speech: Samples) -> bytes:
    return wav(speech)


def text_of(words: Sequence[Mapping[str, Any]], name: str = "word") -> str:
    return "".join(word[name] for word in words)


def segments_of(words: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Who says what: a segment ends with the speaker's turn."""
    runs = groupby(words, key=lambda word: str(word["speaker"]))
    return [(speaker, text_of(list(run))) for speaker, run in runs]


def live(client: OpenAI, clip: bytes) -> list[dict[str, Any]]:
    """Reflector's live call."""
    answer = client.audio.transcriptions.create(
        file=("chunk.wav", clip),
        model="whisper-1",
        response_format="verbose_json",
        language="en",
        timestamp_granularities=["word"],
    )
    return [word.model_dump() for word in answer.words or []]


def test_two_live_requests_merge_into_readable_text(
    client: OpenAI, clips: list[bytes], texts: list[str]
) -> None:
    words = [*live(client, clips[0]), *live(client, clips[1])]
    assert text_of(words) == f" {texts[0]} {texts[1]}"


def test_the_words_of_a_file_by_url_are_its_text(
    scripted: LiveServer, clip: bytes, host: AudioHost
) -> None:
    body = ask_url(scripted, host.put("/track.webm", Answer(clip)), language="en").json()
    assert text_of(sorted(body["words"], key=lambda word: word["start"])) == f" {body['text']}"


def test_the_words_of_transcribe_are_its_text(scripted: LiveServer, clip: bytes) -> None:
    body = upload(scripted, clip, route=TRANSCRIBE).json()
    assert text_of(body["words"], "text") == f" {body['text']}"


def test_the_words_of_several_files_are_their_texts(
    scripted: LiveServer, clips: list[bytes]
) -> None:
    for result in upload(scripted, *clips[:2]).json()["results"]:
        assert text_of(result["words"]) == f" {result['text']}"


@pytest.mark.slow
def test_speakers_segments_read_well(scripted: LiveServer, meeting: bytes) -> None:
    body = upload(scripted, meeting, data={"diarize": "true"}).json()
    segments = segments_of(body["words"])
    assert len(segments) > 3
    for _, said in segments:
        assert said == " " + " ".join(said.split())
    assert "".join(said for _, said in segments) == f" {body['text']}"


@pytest.mark.parametrize("fields", SHAPES)
def test_bare_words_by_setting(
    bare_words: LiveServer, scripted: LiveServer, clip: bytes, fields: dict[str, str]
) -> None:
    """OpenAI's own words have no spaces."""
    theirs = upload(bare_words, clip, data=fields).json()
    ours = upload(scripted, clip, data=fields).json()
    assert [word["word"] for word in theirs["words"]] == theirs["text"].split()
    assert [f" {word['word']}" for word in theirs["words"]] == [w["word"] for w in ours["words"]]


def test_bare_words_by_setting_everywhere_else(
    bare_words: LiveServer, clip: bytes, host: AudioHost
) -> None:
    by_url = ask_url(bare_words, host.put("/bare.wav", Answer(clip))).json()
    assert [word["word"] for word in by_url["words"]] == by_url["text"].split()
    named = upload(bare_words, clip, route=TRANSCRIBE).json()
    assert [word["text"] for word in named["words"]] == named["text"].split()
    (first, _) = upload(bare_words, clip, clip).json()["results"]
    assert [word["word"] for word in first["words"]] == first["text"].split()


def test_deltas_have_bare_words(client: OpenAI, clip: bytes, text: str) -> None:
    """Their text has the spaces."""
    stream = client.audio.transcriptions.create(
        file=("a.wav", clip), model="whisper-1", stream=True
    )
    deltas = [event for event in stream if event.type == "transcript.text.delta"]
    assert "".join(event.delta for event in deltas) == text
    words = [word for event in deltas for word in (event.model_extra or {})["words"]]
    assert [word["word"] for word in words] == text.split()
