"""``llm``: prints a language model's answer to a prompt, piece by piece."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from pydantic import JsonValue

from reflector_gpu import logs
from reflector_gpu.cli import interrupt
from reflector_gpu.cli.server_address import base_url, first_key
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.llm import schema
from reflector_gpu.llm.base import CompletionRequest, LanguageModel
from reflector_gpu.llm.upstream import UpstreamModel, UpstreamOptions
from reflector_gpu.service import Service
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Completion, Message, Prompt, SamplingOptions


def run(
    prompt: str | None,
    *,
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
    schema_file: Path | None,
    server: str | None,
    key: str | None,
) -> int:
    """Answer ``prompt``, or standard input. The exit status is 1 if the answer was cut off.

    Raises:
        ReflectorError
    """
    text = sys.stdin.read() if prompt is None else prompt
    messages = [Message("system", system)] if system else []
    request = CompletionRequest(
        Prompt((*messages, Message("user", text)), max_tokens),
        SamplingOptions(temperature),
        _schema(schema_file) if schema_file else None,
    )
    logs.discard()
    interrupt.raise_error()
    return asyncio.run(_run(request, server, key))


async def _run(request: CompletionRequest, server: str | None, key: str | None) -> int:
    cut_off = False
    async with (
        _remote(server, key) if server else _local() as model,
        aclosing(schema.stream(model, request)) as pieces,
    ):
        try:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    cut_off = piece.finish == "length"
                elif isinstance(piece, str):  # there are no tools that it could call
                    sys.stdout.write(piece)
                    sys.stdout.flush()
        finally:
            sys.stdout.write("\n")
    if cut_off:
        sys.stderr.write("The answer was cut off: --max-tokens, or the model's context.\n")
    return int(cut_off)


@asynccontextmanager
async def _local() -> AsyncIterator[LanguageModel]:
    """The model that the settings name, run by this command."""
    service = Service(load_settings())
    model = service.language_model()
    try:
        await model.ready(service.settings.load_seconds)
        yield model
    finally:
        await service.close()


@asynccontextmanager
async def _remote(server: str, key: str | None) -> AsyncIterator[LanguageModel]:
    """The model of a reflector-gpu server."""
    options = UpstreamOptions(f"{base_url(server)}/v1", "llm", first_key(key), key_name="--key")
    model = UpstreamModel(options)
    try:
        yield model
    finally:
        await model.aclose()


def _schema(file: Path) -> dict[str, JsonValue]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(f"The schema cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidRequest(f"The schema is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidRequest("The schema must be a JSON object.")
    return found
