"""The requests of Bazarr's Whisper provider, which speaks to whisper-asr-webservice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import SMALL
from tests.clients.server import Server, serving
from tests.clients.support import ENGLISH, SPANISH, client, pcm_of, text_of


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that needs no key of those in its network: Bazarr has no setting for one."""
    settings = {**SMALL, "TRUSTED_NETWORKS": "127.0.0.1"}
    with serving(tmp_path_factory.mktemp("trusting"), settings) as server:
        yield server


@pytest.fixture
def session() -> Iterator[Any]:
    requests = client("requests")
    with requests.Session() as session:
        session.headers["User-Agent"] = "Subliminal/2.2"
        yield session


def ask(session: Any, url: str, recording: Path, **params: object) -> Any:
    """``audio_file`` is 16 kHz samples without a header, and without a name."""
    data, rate = pcm_of(recording)
    assert rate == 16_000
    given = {**params, "encode": "false", "video_file": {None}}
    answer = session.post(url, params=given, files={"audio_file": data}, timeout=(60, 60))
    assert answer.status_code == 200, answer.text
    return answer


def test_subtitles(trusting: Server, session: Any) -> None:
    answer = ask(
        session, f"{trusting.url}/asr", ENGLISH, task="transcribe", language="en", output="srt"
    )
    number, times, *lines = answer.content.decode().split("\n")
    assert (number, times.partition(",")[0]) == ("1", "00:00:00")
    assert " ".join(" ".join(lines).split()) == text_of(ENGLISH)


def test_subtitles_in_english(trusting: Server, session: Any) -> None:
    answer = ask(
        session, f"{trusting.url}/asr", SPANISH, task="translate", language="es", output="srt"
    )
    assert "hello team" in answer.text


def test_the_language(trusting: Server, session: Any) -> None:
    found = ask(session, f"{trusting.url}/detect-language", SPANISH).json()
    assert (found["detected_language"], found["language_code"]) == ("spanish", "es")
