"""A server with the tiny translator, and a sentence that it knows in three languages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
import pytest

from reflector_gpu.engines.recognition import catalog
from tests.api.reader import READER
from tests.engines.tongues import TRANSLATION
from tests.live import KEY, LiveServer

TRANSLATE = "/translate"

ENGLISH_SENTENCES = ["Hello everyone.", "I have a question."]

ENGLISH = " ".join(ENGLISH_SENTENCES)

FRENCH = "Bonjour à tous. J'ai une question."

SPANISH = "Hola a todos. Tengo una pregunta."


@contextmanager
def serving(translate_characters: int) -> Iterator[LiveServer]:
    """Hears the sentences of `reader`, and translates with the tiny model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.MODELS, READER.name, READER)
        with LiveServer(
            model=READER.name,
            translator=str(TRANSLATION),
            translate_characters=translate_characters,
            workers=1,
            apikey=KEY,
            url_allow="127.0.0.1",
        ) as server:
            yield server


def ask(
    server: LiveServer,
    query: Mapping[str, str] | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    with server.client() as client:
        return client.post(TRANSLATE, params=query, json=body, headers=headers)


TEXT = {"text": ENGLISH}
