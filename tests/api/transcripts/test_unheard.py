"""An answer says where there is speech without words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from openai import OpenAI

from reflector_gpu.engines.recognition import catalog
from tests.api import engines
from tests.api.hosts import Answer, AudioHost
from tests.api.support import TRANSCRIBE, ask_url, upload
from tests.live import KEY, LiveServer

HEADER = "X-Reflector-Warnings"


@pytest.fixture(scope="module")
def deaf() -> Iterator[LiveServer]:
    """A server whose recogniser finds no words."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.MODELS, "deaf", engines.model("Deaf"))
        with LiveServer(model="deaf", apikey=KEY, url_allow="127.0.0.1") as server:
            yield server


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        ("/v1/audio/transcriptions", {}),
        ("/v1/audio/transcriptions", {"response_format": "verbose_json"}),
        (TRANSCRIBE, {}),
    ],
)
def test_speech_without_words_is_reported(
    deaf: LiveServer, clip: bytes, route: str, fields: dict[str, str]
) -> None:
    answer = upload(deaf, clip, route=route, data=fields)
    assert answer.status_code == 200
    body = answer.json()
    assert body["text"] == ""
    ((start, end),) = body["warnings"]["unheard"]
    assert 0 <= start < end <= 3
    assert json.loads(answer.headers[HEADER]) == body["warnings"]


@pytest.mark.parametrize("form", ["text", "srt", "json"])
def test_formats_without_a_place_for_it_have_the_header(
    deaf: LiveServer, clip: bytes, form: str
) -> None:
    answer = upload(deaf, clip, data={"response_format": form})
    assert "unheard" in json.loads(answer.headers[HEADER])
    assert "unheard" not in answer.text


def test_its_times_are_those_of_the_words(deaf: LiveServer, clip: bytes, host: AudioHost) -> None:
    url = host.put("/clip.wav", Answer(clip))
    plain = ask_url(deaf, url).json()["warnings"]["unheard"][0]
    shifted = ask_url(deaf, url, timestamp_offset=100)
    assert shifted.json()["warnings"]["unheard"][0] == pytest.approx([t + 100 for t in plain])
    assert json.loads(shifted.headers[HEADER]) == shifted.json()["warnings"]


def test_each_of_several_files_says_it(deaf: LiveServer, clip: bytes, quiet: bytes) -> None:
    spoken, silent = upload(deaf, clip, quiet).json()["results"]
    assert spoken["warnings"]["unheard"]
    assert "warnings" not in silent


def test_a_stream_says_it_at_its_end(deaf: LiveServer, clip: bytes) -> None:
    with OpenAI(base_url=f"{deaf.url}/v1", api_key=KEY) as client:
        events = list(
            client.audio.transcriptions.create(model="whisper-1", file=("a.wav", clip), stream=True)
        )
    assert events[-1].model_dump()["warnings"]["unheard"]


def test_what_was_understood_and_silence_have_no_warning(
    scripted: LiveServer, clip: bytes, quiet: bytes
) -> None:
    for file in (clip, quiet):
        answer = upload(scripted, file)
        assert "warnings" not in answer.json()
        assert HEADER not in answer.headers
