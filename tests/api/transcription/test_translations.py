"""POST /v1/audio/translations, as the openai client asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import openai
import pytest
from openai import OpenAI
from openai.types.audio import Translation, TranslationVerbose

from reflector_gpu.engines.recognition import catalog
from tests.api.support import TRANSLATIONS, Gate, upload
from tests.live import LiveServer

pytestmark = [
    pytest.mark.usefixtures("translating"),
    # The client has begun to say so of its own method.
    pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"),
]


def translate(client: OpenAI, file: bytes, **fields: Any) -> Any:
    return client.audio.translations.create(file=("a.wav", file), model="whisper-1", **fields)


@pytest.mark.parametrize("fields", [{}, {"response_format": "json"}])
def test_json(client: OpenAI, clip: bytes, text: str, fields: dict[str, str]) -> None:
    answer = translate(client, clip, **fields)
    assert isinstance(answer, Translation)
    assert answer.text == text
    assert answer.model_dump(exclude_unset=True).keys() == {"text"}


def test_verbose_json(client: OpenAI, clip: bytes, text: str) -> None:
    answer = translate(client, clip, response_format="verbose_json")
    assert isinstance(answer, TranslationVerbose)
    assert (answer.text, answer.language) == (text, "english")
    assert answer.duration > 0
    assert answer.segments


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_text_formats(client: OpenAI, clip: bytes, form: str) -> None:
    same = client.audio.transcriptions.create(
        file=("a.wav", clip), model="whisper-1", response_format=cast("Any", form)
    )
    assert translate(client, clip, response_format=form) == same


def test_the_engine_is_asked_to_translate(client: OpenAI, clip: bytes, gate: Gate) -> None:
    translate(client, clip, prompt="Minutes", temperature=0.5)
    (options,) = gate.options
    assert (options.task, options.prompt, options.temperature) == ("translate", "Minutes", 0.5)


def test_a_language_is_not_asked_for(scripted: LiveServer, clip: bytes, gate: Gate) -> None:
    fields = {"model": "whisper-1", "language": "tlh"}
    assert upload(scripted, clip, route=TRANSLATIONS, data=fields).status_code == 200
    assert gate.options[0].language is None


def test_a_model_that_does_not_translate_says_so(
    client: OpenAI, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = catalog.MODELS["scripted"]
    unable = replace(model, spec=replace(model.spec, translates=False))
    monkeypatch.setitem(catalog.MODELS, "scripted", unable)
    with pytest.raises(openai.BadRequestError, match="does not translate") as caught:
        translate(client, clip)
    assert caught.value.param == "model"
