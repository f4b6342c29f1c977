"""The languages of a recording: told, expected, or detected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from openai import OpenAI

from reflector_gpu.service import Service
from reflector_gpu.service.parameters import TranscriptionParameters
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Priority, TranscribeOptions
from tests.api.support import error_of, upload
from tests.engines.tiny import Clip, clips
from tests.live import LiveServer


def hear(server: LiveServer, clip: Clip, **fields: str | list[str]) -> dict[str, Any]:
    answer = upload(server, clip.path.read_bytes(), data=fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def language(server: LiveServer, clip: Clip, *expected: str) -> str:
    fields: Mapping[str, str | list[str]] = {
        "model": "whisper",
        "response_format": "verbose_json",
        "languages[]": list(expected),
    }
    return str(hear(server, clip, **fields)["language"])


def test_detection_is_kept_to_the_languages_that_are_expected(server: LiveServer) -> None:
    spanish = clips("es")[0]
    assert language(server, spanish) == "spanish"
    assert language(server, spanish, "fr", "es") == "spanish"
    assert language(server, spanish, "en", "fr") in ("english", "french")


def test_a_single_expected_language_is_passed_on_as_the_language(server: LiveServer) -> None:
    assert language(server, clips("es")[0], "english") == "english"


def test_auto_takes_the_first_model_that_knows_all_of_them(server: LiveServer) -> None:
    service = server.service
    for expected, model in (
        (("en",), "parakeet"),
        (("en", "es"), "whisper"),
        (("es", "en-GB"), "whisper"),
        ((), "whisper"),
    ):
        options = TranscribeOptions(languages=expected)
        assert service.resolve("auto", options).name == model
    assert hear(server, clips("es")[0], **{"languages[]": ["en", "es"]})["text"] == (
        clips("es")[0].text
    )


def test_400_where_a_model_knows_none_of_them(server: LiveServer, quiet: bytes) -> None:
    fields: dict[str, str | list[str]] = {"model": "parakeet", "languages[]": ["fr", "es"]}
    assert "only supports English" in error_of(upload(server, quiet, data=fields), 400)["message"]
    fields["languages[]"] = ["nonsense"]
    error = error_of(upload(server, quiet, data=fields), 400)
    assert "'nonsense' is not a language" in error["message"]
    assert error["param"] == "languages"


def test_400_where_one_of_them_is_misspelled(server: LiveServer, quiet: bytes) -> None:
    fields: dict[str, str | list[str]] = {"model": "whisper", "languages[]": ["en", "spansh"]}
    error = error_of(upload(server, quiet, data=fields), 400)
    assert "did you mean 'spanish'" in error["message"]
    assert error["param"] == "languages"


@pytest.mark.parametrize("fields", [{"language": "fr"}, {"languages[]": "French"}])
def test_silence_is_in_the_language_that_the_client_named(
    scripted: LiveServer, quiet: bytes, fields: dict[str, str]
) -> None:
    verbose = upload(scripted, quiet, data={**fields, "response_format": "verbose_json"}).json()
    assert verbose["language"] == "french"
    plain = upload(scripted, quiet, data={**fields, "response_format": "json"}).json()
    assert plain["languages"] == [{"code": "fr"}]


def test_silence_is_in_no_language_unless_one_was_named(scripted: LiveServer, quiet: bytes) -> None:
    verbose = upload(scripted, quiet, data={"response_format": "verbose_json"}).json()
    assert verbose["language"] == "unknown"
    assert "languages" not in upload(scripted, quiet, data={"response_format": "json"}).json()


def test_a_model_of_one_language_needs_no_language() -> None:
    service = Service(load_settings(model="sphinx"))
    model = service.resolve(None, TranscribeOptions())
    request = service.request(model, TranscriptionParameters.of(), priority=Priority.LIVE)
    assert request.options == TranscribeOptions(language="en")
    assert request.written == "en"


def test_the_openai_clients_fields(client: OpenAI, clip: bytes, text: str) -> None:
    answer = client.audio.transcriptions.create(
        file=("a.wav", clip),
        model="whisper-1",
        response_format="json",
        keywords=["Reflector"],
        languages=["en", "fr"],
    )
    assert answer.text == text
    assert [one.code for one in answer.languages or []] == ["en"]
