"""A language model behind another server's OpenAI API: vLLM, llama.cpp, Ollama and the like.

Every answer is streamed, even if the client wants it whole. So we can tell a server that works from
one that hangs, and it stops when nobody waits any more.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, Self

import httpx

from reflector_gpu.errors import (
    ConfigurationError,
    ContextExceeded,
    InvalidRequest,
    Overloaded,
    ReflectorError,
    TooLarge,
    UpstreamFailed,
    UpstreamTimeout,
)
from reflector_gpu.llm.base import Answer, CompletionRequest
from reflector_gpu.llm.bodies import body_of
from reflector_gpu.llm.chunks import CompletionChunk, ToolCalls, Usage, characters
from reflector_gpu.settings import Settings
from reflector_gpu.types import Completion
from reflector_gpu.version import __version__

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0
_LONGEST_PAUSE = 10.0  # seconds before another attempt; a server that asks for more is too busy
_BUSY_SECONDS = 5.0  # a client's wait if the server names none
_LONGEST_BUSY = 3600.0  # seconds, the longest wait that a client is told
_MOST_ERROR_BYTES = 100_000
_MOST_EVENT_BYTES = 1_000_000
_MOST_ANSWER_BYTES = 10_000_000
_SHOWN = 500  # characters of what the server says
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}
_TOO_LONG = ("context length", "context size", "context window", "context_length_exceeded")


@dataclass(frozen=True, slots=True)
class UpstreamOptions:
    """Where the model is, and how patient to be.

    ``silence_seconds`` is the longest that the server may send nothing. ``backoff`` is the pause
    before the first of the ``retries``, and doubles with each. ``key_name`` is what the user calls
    the key, for errors.
    """

    base_url: str
    model: str
    api_key: str = ""
    silence_seconds: float = 120.0
    retries: int = 2
    backoff: float = 0.5
    key_name: str = "REFLECTOR_LLM_API_KEY"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What an operator has set."""
        key = settings.llm_api_key
        return cls(
            settings.llm_base_url,
            settings.llm_model,
            key.get_secret_value() if key else "",
            settings.llm_silence_seconds,
            settings.llm_retries,
        )


class _Transient(Exception):
    """Another attempt may help; if there is none, ``error`` is raised."""

    def __init__(self, error: ReflectorError, pause: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.pause = pause


class UpstreamModel:
    licence = "see the server"
    enforces_schemas = True
    calls_tools = True
    state = "ready"

    def __init__(
        self,
        options: UpstreamOptions,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """
        Raises:
            ConfigurationError: the address or the key cannot be used.
        """
        if not (_is_url(options.base_url) and options.model):
            raise ConfigurationError(
                "REFLECTOR_LLM_ENGINE=openai needs REFLECTOR_LLM_BASE_URL, such as "
                "http://127.0.0.1:8080/v1, and REFLECTOR_LLM_MODEL, the model's name there."
            )
        if not (options.api_key.isascii() and options.api_key.isprintable()):
            raise ConfigurationError("REFLECTOR_LLM_API_KEY must be printable ASCII.")
        self.name = options.model
        self.summary = "A language model on another server, by its OpenAI API"
        self._options = options
        self._transport = transport
        self._sleep = sleep
        self._client: httpx.AsyncClient | None = None

    def start(self) -> None:
        """Nothing to load."""

    def check_ready(self) -> None:
        """Nothing to check: the first request shows whether the server is there."""

    async def ready(self, patience: float) -> None:
        """Nothing to wait for."""

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def complete(self, request: CompletionRequest) -> Completion:
        attempt = 0
        while True:
            try:
                async with aclosing(self._attempt(request)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Completion):
                            return piece
            except _Transient as failure:
                await self._pause(failure, attempt)
            attempt += 1

    async def stream(self, request: CompletionRequest) -> Answer:
        attempt, begun = 0, False
        while True:
            try:
                async with aclosing(self._attempt(request)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
                return
            except _Transient as failure:
                if begun:
                    raise failure.error from failure
                await self._pause(failure, attempt)
            attempt += 1

    async def _pause(self, failure: _Transient, attempt: int) -> None:
        """Wait before the next attempt, or raise the error if this was the last."""
        pause = failure.pause if failure.pause is not None else self._options.backoff * 2**attempt
        if attempt >= self._options.retries or pause > _LONGEST_PAUSE:
            raise failure.error from failure
        logger.info("asking the language model's server again: %s", failure.error.message)
        await self._sleep(pause)

    async def _attempt(self, request: CompletionRequest) -> Answer:
        """
        Raises:
            _Transient, ReflectorError
        """
        try:
            async with self._connected().stream(
                "POST", "chat/completions", json=body_of(request, self.name)
            ) as response:
                if response.status_code in (401, 403):
                    raise UpstreamFailed(
                        f"The LLM server refuses our key: see {self._options.key_name}."
                    )
                if response.status_code != httpx.codes.OK:
                    raise _refusal(response, await _start_of(response, _MOST_ERROR_BYTES))
                async with aclosing(_answer(response)) as pieces:
                    async for piece in pieces:
                        yield piece
        except httpx.ConnectTimeout as error:
            raise _Transient(UpstreamTimeout("The LLM server cannot be reached.")) from error
        except httpx.TimeoutException as error:
            raise UpstreamTimeout(
                f"The LLM server said nothing for {self._options.silence_seconds:g} seconds."
            ) from error
        except (InvalidRequest, TooLarge) as error:
            error.message = self._harmless(error.message)
            raise
        except httpx.RequestError as error:
            # Its text may hold the address, which clients must not see.
            raise _Transient(
                UpstreamFailed(
                    "The LLM server cannot be reached, or its connection broke "
                    f"({type(error).__name__})."
                )
            ) from error

    def _harmless(self, said: str) -> str:
        """The start of what the server says, without its address and our key."""
        for secret in (self._options.api_key, httpx.URL(self._options.base_url).host):
            if secret:
                said = said.replace(secret, "***")
        return said[:_SHOWN]

    def _connected(self) -> httpx.AsyncClient:
        """The HTTP client, made when it is first needed: reading the certificates takes a while."""
        if self._client is None:
            key = self._options.api_key
            headers = {"User-Agent": f"reflector-gpu/{__version__}"}
            timeout = httpx.Timeout(self._options.silence_seconds, connect=_CONNECT_SECONDS)
            self._client = httpx.AsyncClient(
                base_url=self._options.base_url,
                headers={**headers, **({"Authorization": f"Bearer {key}"} if key else {})},
                timeout=timeout,
                limits=httpx.Limits(max_connections=None),
                transport=self._transport,
            )
        return self._client


def _is_url(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


async def _answer(response: httpx.Response) -> Answer:
    """
    Raises:
        _Transient: it ends early, or makes no sense.
    """
    text, half, usage, finish, calls = "", "", Usage(), None, ToolCalls()
    async for data in _events(response):
        if data == "[DONE]":
            break
        chunk = _chunk(data)
        usage = chunk.usage or usage
        for choice in (chunk.choices or ())[:1]:
            finish = choice.finish_reason or finish
            piece, half = characters(half + choice.text)
            if piece:
                text += piece
                yield piece
            for more in calls.add(choice.tool_calls):
                yield more
    if finish is None:
        raise _Transient(UpstreamFailed("The LLM server's answer ends early."))
    # Some servers say "stop" after tool calls, and clients rely on the reason.
    ended: Literal["stop", "tool_calls"] = "tool_calls" if calls.whole else "stop"
    yield Completion(
        text,
        "length" if finish == "length" else ended,
        usage.prompt_tokens or 0,
        usage.completion_tokens or 0,
        calls.whole,
    )


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    """The data of server-sent events, or the whole body of an answer that is not streamed.

    Only line feeds end a line: U+2028 may be part of a text.

    Raises:
        _Transient: one is too long.
    """
    if response.headers.get("content-type", "").startswith("application/json"):
        yield (await _start_of(response, _MOST_ANSWER_BYTES)).decode(errors="replace")
        return
    rest = b""
    async for data in response.aiter_bytes():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip().decode(errors="replace")
        if len(rest) > _MOST_EVENT_BYTES:
            raise _senseless()
    if rest.startswith(b"data:"):
        yield rest[5:].strip().decode(errors="replace")


def _chunk(data: str) -> CompletionChunk:
    try:
        found = json.loads(data)
        if isinstance(found, dict) and (found.get("error") or found.get("object") == "error"):
            raise _failure(_status(found), found, None)
        return CompletionChunk.model_validate(found)
    except (ValueError, RecursionError) as error:
        if isinstance(error, ReflectorError):
            raise
        raise _senseless() from None


def _senseless() -> _Transient:
    return _Transient(UpstreamFailed("The LLM server's answer makes no sense."))


async def _start_of(response: httpx.Response, most: int) -> bytearray:
    body = bytearray()
    async for data in response.aiter_bytes():
        body += data
        if len(body) > most:
            break
    return body


def _refusal(response: httpx.Response, body: bytearray) -> Exception:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    return _failure(response.status_code, found, _wait(response))


def _failure(status: int, body: object, wait: float | None) -> Exception:
    """The error for a server's refusal: `_Transient` if another attempt may help.

    The server's words are passed on only if they are about the request; others may hold secrets.
    """
    said = characters(_message(body))[0] or f"it answers {status}"
    error: ReflectorError
    if status in (400, 422):
        whole = json.dumps(body).lower()  # some servers use words, some a code
        if any(words in whole for words in _TOO_LONG):
            return ContextExceeded(f"The prompt is too long: {said}", param="messages")
        return InvalidRequest(f"The LLM server refuses the request: {said}")
    if status == 413:
        return TooLarge(f"The LLM server refuses the request: {said}")
    if status == 404:
        return UpstreamFailed(
            "The LLM server does not know the model, or has no chat completions: see "
            "REFLECTOR_LLM_MODEL and REFLECTOR_LLM_BASE_URL."
        )
    if status == 429:
        error = Overloaded(
            "The LLM server is busy; try again later.", retry_after=wait or _BUSY_SECONDS
        )
    elif status in (408, 504):
        error = UpstreamTimeout("The LLM server is too slow.")
    else:
        error = UpstreamFailed(f"The LLM server failed: it answers {status}.")
    return _Transient(error, wait) if status in _TRANSIENT else error


def _message(body: object) -> str:
    """The message of an error in OpenAI's form, or in vLLM's older one."""
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, str):
            return inner
        if isinstance(inner, dict) and isinstance(inner.get("message"), str):
            return str(inner["message"])
    return ""


def _status(body: dict[str, object]) -> int:
    """The status of an error inside a stream, which has no status line."""
    inner = body.get("error", body)
    code = inner.get("code") if isinstance(inner, dict) else None
    return code if isinstance(code, int) else 500


def _wait(response: httpx.Response) -> float | None:
    header = response.headers.get("retry-after", "")
    return min(float(header), _LONGEST_BUSY) if header.isdecimal() else None
