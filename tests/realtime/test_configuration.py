"""What clients may set of a session, and what looks like a slip."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

import pytest
from openai.types import realtime as theirs
from pydantic import BaseModel

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.realtime.configuration import Configuration
from reflector_gpu.realtime.recognition import _DELAYS


def models_in(kind: object) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from models_in(part)


def sessions_of(kind: object, *path: str) -> Iterator[dict[str, Any]]:
    """A session for each field of OpenAI's that ``kind`` has, itself at ``path`` of a session."""
    for model in models_in(kind):
        for name, field in model.model_fields.items():
            session: dict[str, Any] = {name: None}
            for outer in reversed(path):
                session = {outer: session}
            yield session
            if name not in ("tools", "prompt"):  # which go on for ever
                yield from sessions_of(field.annotation, *path, name)


def complaint(session: dict[str, Any]) -> str:
    """What is wrong with ``session``, if anything is."""
    try:
        Configuration().updated(session)
    except InvalidRequest as error:
        return error.message
    return ""


def test_what_openais_clients_may_send_is_no_slip() -> None:
    for kind in (
        theirs.RealtimeTranscriptionSessionCreateRequest,
        theirs.RealtimeSessionCreateRequest,
    ):
        sessions = list(sessions_of(kind))
        assert {"audio": {"input": {"turn_detection": {"idle_timeout_ms": None}}}} in sessions
        for session in sessions:
            assert "did you mean" not in complaint(session), session


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"inclde": []}, "session.inclde"),
        ({"audio": {"inputs": {}}}, "session.audio.inputs"),
        ({"audio": {"input": {"formats": {}}}}, "session.audio.input.formats"),
        (
            {"audio": {"input": {"turn_detection": {"treshold": 0.5}}}},
            "session.audio.input.turn_detection.treshold",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagernes": "low"}}}},
            "session.audio.input.turn_detection.eagernes",
        ),
        ({"input_audio_fromat": "pcm16"}, "session.input_audio_fromat"),
        (
            {"input_audio_transcription": {"translate_too": "de"}},
            "session.input_audio_transcription.translate_too",
        ),
    ],
)
def test_slips_are_told(session: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest, match="did you mean") as caught:
        Configuration().updated(session)
    assert caught.value.param == param


@pytest.mark.parametrize("kind", ["none", None, 3])
def test_a_kind_that_there_is_not_is_answered_with_those_that_there_are(kind: object) -> None:
    with pytest.raises(InvalidRequest, match="'server_vad', 'semantic_vad'") as caught:
        Configuration().updated({"audio": {"input": {"turn_detection": {"type": kind}}}})
    assert caught.value.param == "session.audio.input.turn_detection.type"


def test_fields_of_newer_clients_are_ignored() -> None:
    session = {"emotion": True, "audio": {"input": {"transcription": {"accent": "scottish"}}}}
    assert Configuration().updated(session).model_dump() == Configuration().model_dump()


def test_words_wait_the_longer_the_longer_a_client_lets_them() -> None:
    waits = [_DELAYS[delay] for delay in ("minimal", "low", "medium", "high", "xhigh")]
    assert all(one < other for one, other in pairwise(waits))
    assert _DELAYS[None] == _DELAYS["medium"]
