"""Servers with a language model: one that runs it, and one that asks the other for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from reflector_gpu.formats.openai import STREAM_END
from tests.api.support import bare_server
from tests.engines.tiny import FIXTURES
from tests.live import KEY, LiveServer

if TYPE_CHECKING:  # it takes a second to import
    from openai.types.chat import ChatCompletionUserMessageParam

LLM = FIXTURES / "llm-tiny"
CHAT = "/v1/chat/completions"

SUMMARY = "The team agreed on the budget and will review the report on Friday."
COUNT = "one two three four five six seven eight nine ten"
ITEMS = '{"items": ["send the report", "book the room"], "urgent": true}'
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": {"type": "string"}},
        "urgent": {"type": "boolean"},
    },
    "required": ["items", "urgent"],
}


@contextmanager
def local(**settings: object) -> Iterator[LiveServer]:
    """A server that runs the tiny model."""
    given = {"apikey": KEY, "llm_engine": "ctranslate2", "llm_model": str(LLM), **settings}
    with bare_server(**given) as server:
        ready(server)
        yield server


@contextmanager
def relay(url: str, **settings: object) -> Iterator[LiveServer]:
    """A server that passes everything on to the API at ``url``."""
    given = {
        "apikey": KEY,
        "llm_engine": "openai",
        "llm_base_url": url,
        "llm_model": "llm-tiny",
        "llm_api_key": KEY,
        **settings,
    }
    with bare_server(**given) as server:
        yield server


def ready(server: LiveServer) -> None:
    asyncio.run(server.service.language_model().ready(60))


def user(text: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": text}]


def chat(server: LiveServer, text: str, **fields: object) -> httpx.Response:
    """The answer to one message; the likeliest, unless ``fields`` say otherwise."""
    body = {"messages": user(text), "temperature": 0, **fields}
    with server.client() as client:
        return client.post(CHAT, json=body)


def said(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def events(response: httpx.Response) -> list[str]:
    """The data of a stream that ended as it should."""
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith(STREAM_END)
    lines = response.text.removesuffix(STREAM_END).splitlines()
    return [line.removeprefix("data: ") for line in lines if line]
