"""The requests of Open WebUI 0.12: its engine "OpenAI", in both of its formats, by aiohttp."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

from tests.clients.server import KEY, Server
from tests.clients.support import ENGLISH, client, text_of

HEADERS = {"Authorization": f"Bearer {KEY}"}


def request(method: str, url: str, **what: Any) -> tuple[int, Any]:
    """The status and the JSON of one answer."""
    aiohttp = client("aiohttp")

    async def ask() -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession(trust_env=True) as session,
            session.request(method, url, **what) as answer,
        ):
            return answer.status, await answer.json()

    return asyncio.run(ask())


def test_a_form_whose_file_is_streamed(server: Server) -> None:
    """It has no length, and the file no type."""
    aiohttp = client("aiohttp")

    async def chunks() -> AsyncIterator[bytes]:
        content = ENGLISH.read_bytes()
        for start in range(0, len(content), 4096):
            yield content[start : start + 4096]

    async def ask() -> tuple[int, Any]:
        form = aiohttp.FormData()
        form.add_field("model", "whisper-1")
        form.add_field("language", "en")
        form.add_field("file", chunks(), filename="clip.wav")
        async with (
            aiohttp.ClientSession(trust_env=True) as session,
            session.post(
                f"{server.api}/audio/transcriptions", headers=HEADERS, data=form
            ) as answer,
        ):
            return answer.status, await answer.json()

    status, body = asyncio.run(ask())
    assert (status, body.get("text")) == (200, text_of(ENGLISH))


def test_json_that_holds_the_audio(server: Server) -> None:
    audio = base64.b64encode(ENGLISH.read_bytes()).decode()
    payload = {
        "model": "whisper-1",
        "language": "en",
        "input_audio": {"data": audio, "format": "wav"},
    }
    status, body = request(
        "POST",
        f"{server.api}/audio/transcriptions",
        headers={**HEADERS, "Content-Type": "application/json"},
        json=payload,
    )
    assert (status, body.get("text")) == (200, text_of(ENGLISH))


def test_a_failure_says_why(server: Server) -> None:
    """It shows ``error.message`` to its user."""
    payload = {"model": "no-such", "input_audio": {"data": "AAAA", "format": "wav"}}
    status, body = request(
        "POST", f"{server.api}/audio/transcriptions", headers=HEADERS, json=payload
    )
    assert status == 404
    assert "no-such" in body["error"]["message"]


def test_the_models_of_a_connection(server: Server) -> None:
    status, body = request("GET", f"{server.api}/models", headers=HEADERS)
    assert status == 200
    assert all(model["id"] for model in body["data"])
