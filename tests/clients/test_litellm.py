"""LiteLLM with the prefix ``openai/``, as it is told to use any compatible server."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.clients.server import KEY, Server
from tests.clients.support import ENGLISH, client, text_of

TEXT = text_of(ENGLISH)


def transcribe(server: Server, **wishes: Any) -> Any:
    litellm = client("litellm")
    with ENGLISH.open("rb") as file:
        given = {"model": "openai/whisper-1", "api_key": KEY, "num_retries": 0, **wishes}
        return litellm.transcription(file=file, api_base=server.api, **given)


def test_transcription(server: Server) -> None:
    assert transcribe(server, language="en").text == TEXT


def test_the_words_of_verbose_json(server: Server) -> None:
    answer = transcribe(
        server, language="en", response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert (answer.text, answer.language) == (TEXT, "english")
    assert [word["word"].strip() for word in answer.words] == TEXT.split()


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "gpt-4o-mini-transcribe"])
def test_the_names_of_newer_models(server: Server, model: str) -> None:
    assert transcribe(server, model=f"openai/{model}", language="en").text == TEXT


def test_keywords_and_languages(server: Server) -> None:
    answer = transcribe(
        server, model="openai/gpt-transcribe", keywords=["budget"], languages=["en", "es"]
    )
    assert answer.text == TEXT


def test_a_subtitle_format(server: Server) -> None:
    assert transcribe(server, response_format="srt").text.startswith("1\n00:00:00,")


def test_errors_are_those_of_openai(server: Server) -> None:
    """Of which its own are kinds; it passes them on as they come."""
    with pytest.raises(openai.AuthenticationError):
        transcribe(server, api_key="wrong")
    with pytest.raises(openai.BadRequestError, match="tlh"):
        transcribe(server, language="tlh")
    with pytest.raises(openai.NotFoundError, match="no-such"):
        transcribe(server, model="openai/no-such")


def test_a_completion(server: Server) -> None:
    litellm = client("litellm")
    answer = litellm.completion(
        model="openai/llm-tiny",
        api_base=server.api,
        api_key=KEY,
        messages=[{"role": "user", "content": "Count to ten."}],
        max_tokens=20,
    )
    assert answer.choices[0].message.content


def test_a_streamed_completion(server: Server) -> None:
    litellm = client("litellm")
    chunks = litellm.completion(
        model="openai/llm-tiny",
        api_base=server.api,
        api_key=KEY,
        messages=[{"role": "user", "content": "Count to ten."}],
        max_tokens=20,
        stream=True,
        stream_options={"include_usage": True},
    )
    deltas = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert "".join(delta or "" for delta in deltas)
