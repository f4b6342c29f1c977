"""Recordings of which a part cannot be recognised."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from reflector_gpu.formats.audio_warnings import WARNINGS_HEADER
from reflector_gpu.types import Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.requests.stage import Bench, Stage, check_poisoned
from tests.api.support import (
    TRANSCRIBE,
    TRANSCRIPTIONS,
    ask_url,
    error_of,
    retry_after,
    silence,
    upload,
    wav,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def partly_deadly(snippets: list[Samples]) -> bytes:
    """Three chunks; the second is poisonous."""
    gap = silence(2.5)
    loud = snippets[3] * np.float32(0.99 / np.abs(snippets[3]).max())
    return wav(snippets[0], gap, loud, gap, snippets[1])


@pytest.fixture(scope="module")
def whole(calm: Stage, partly_deadly: bytes) -> list[dict[str, Any]]:
    """The words of `partly_deadly` if nothing goes wrong."""
    words: list[dict[str, Any]] = upload(calm.server, partly_deadly).json()["words"]
    return words


def check_rest(whole: list[dict[str, Any]], warnings: Any, text: str) -> None:
    """The transcript has what is not in the single stretch that the warnings name, and no more."""
    ((start, end),) = warnings["unheard"]
    around = [word["word"] for word in whole if not start - 1 < word["start"] < end + 1]
    assert 0 < len(around) < len(whole)
    assert text == "".join(around).strip()


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        (TRANSCRIPTIONS, {}),
        (TRANSCRIPTIONS, {"response_format": "verbose_json"}),
        (TRANSCRIPTIONS, {"diarize": "true"}),
        (TRANSCRIPTIONS, {"response_format": "text"}),
        (TRANSCRIBE, {}),
    ],
)
def test_one_dead_chunk_does_not_discard_the_rest(
    calm: Stage,
    whole: list[dict[str, Any]],
    partly_deadly: bytes,
    route: str,
    fields: dict[str, str],
) -> None:
    data = {"prompt": "abort", **fields}
    answer = upload(calm.server, partly_deadly, route=route, data=data)
    assert answer.status_code == 200
    warnings = json.loads(answer.headers[WARNINGS_HEADER])
    if answer.headers["Content-Type"] == "application/json":
        assert answer.json()["warnings"] == warnings
        check_rest(whole, warnings, answer.json()["text"])
    else:
        check_rest(whole, warnings, answer.text.strip())


def test_a_stream_goes_on_after_a_dead_chunk_and_says_so_at_its_end(
    calm: Stage, whole: list[dict[str, Any]], partly_deadly: bytes
) -> None:
    with calm.server.openai() as client:
        *deltas, done = client.audio.transcriptions.create(
            model="whisper-1", file=("a.wav", partly_deadly), prompt="abort", stream=True
        )
    assert done.type == "transcript.text.done"
    said = [event.delta for event in deltas if event.type == "transcript.text.delta"]
    assert "".join(said).strip() == done.text
    check_rest(whole, done.model_dump()["warnings"], done.text)


def test_strict_requests_get_an_error_instead(
    calm: Stage, partly_deadly: bytes, host: AudioHost
) -> None:
    url = host.put("/partly.wav", Answer(partly_deadly))
    strict = upload(calm.server, partly_deadly, data={"prompt": "abort", "strict": "true"})
    check_poisoned(error_of(strict, 503))
    check_poisoned(error_of(ask_url(calm.server, url, prompt="abort", strict=True), 503))
    assert ask_url(calm.server, url, prompt="abort", strict=False).status_code == 200


@pytest.mark.parametrize("fields", [{}, {"stream": "true"}])
def test_a_recording_of_which_nothing_can_be_heard_is_an_error(
    calm: Stage, bench: Bench, fields: dict[str, str]
) -> None:
    answer = upload(calm.server, bench.poison, data={"prompt": "abort", **fields})
    check_poisoned(error_of(answer, 503))
    assert retry_after(answer) >= 1
