"""What the API's tests share: audio to send, a hook in the engine's queue, checks on answers."""

from __future__ import annotations

import asyncio
import io
import select
import socket
import threading
import time
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeVar

import av
import httpx
import numpy as np
import pytest
from av.audio.stream import AudioStream

from reflector_gpu.audio.fetch import Fetcher
from reflector_gpu.audio.send import Sender
from reflector_gpu.engines.recognition import catalog
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import SAMPLE_RATE, Samples, TranscribeOptions
from tests.api.engines import ABSENT
from tests.engines.tongues import TRANSLATION
from tests.live import KEY, LiveServer
from tests.waiting import PATIENCE_SECONDS

T = TypeVar("T")

TRANSCRIPTIONS = "/v1/audio/transcriptions"
FROM_URL = "/v1/audio/transcriptions-from-url"
TRANSLATIONS = "/v1/audio/translations"
TRANSCRIBE = "/transcribe"
UPLOAD_ROUTES = (TRANSCRIPTIONS, TRANSLATIONS, TRANSCRIBE)

NOBODY = "http://127.0.0.1:1/a.wav"
"""A URL that the tests' servers may fetch, where nobody listens."""


def wav(*parts: Samples) -> bytes:
    """The waveforms, one after the other, as a 16-bit WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        for part in parts:
            writer.writeframes(np.round(part * 32767).astype("<i2").tobytes())
    return file.getvalue()


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def encoded(samples: Samples, container: str, codec: str) -> bytes:
    """The waveform in another file format."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000, layout="mono")
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def eventually(condition: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """The result of ``condition``, once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail("it did not happen")
        threading.Event().wait(0.01)
    return value


def upload(
    server: LiveServer,
    *files: bytes,
    route: str = TRANSCRIPTIONS,
    data: Mapping[str, str | list[str]] | None = None,
) -> httpx.Response:
    """Send one file as ``file``, several as ``files``."""
    name = "file" if len(files) == 1 else "files"
    parts = [(name, (f"{number}.wav", content)) for number, content in enumerate(files)]
    with server.client() as client:
        return client.post(route, files=parts, data=data)


def ask_url(server: LiveServer, url: str, **fields: object) -> httpx.Response:
    with server.client() as client:
        return client.post(FROM_URL, json={"audio_file_url": url, **fields})


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The ``error`` of an answer with ``status``, whose body is checked."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error", "detail"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["message"] == body["detail"]
    assert error["type"].endswith("_error")
    assert tells_nothing(response.text)
    return error


def tells_nothing(text: str) -> bool:
    """Whether ``text`` has nothing of this server's code."""
    return not any(leak in text for leak in ("Traceback", "site-packages", ".py", "reflector_gpu"))


class Response(Protocol):
    """An answer of either client."""

    @property
    def headers(self) -> Mapping[str, str]: ...


def retry_after(response: Response) -> int:
    return int(response.headers["Retry-After"])


def check_words(words: Sequence[Mapping[str, Any]], text: str, name: str = "word") -> None:
    """The word rules of the contract. The words are not glued: the first has a space as well."""
    assert words
    assert text == "".join(word[name] for word in words).strip()
    assert all(word[name] == f" {word[name].strip()}" for word in words)
    for word in words:
        assert 0 <= word["start"] <= word["end"]
        assert (word["start"], word["end"]) == (round(word["start"], 2), round(word["end"], 2))
    for one, following in pairwise(words):
        assert one["end"] <= following["start"]


def metric(server: LiveServer, line: str) -> float:
    """The value of a line in /metrics; ``line`` is everything before it. 0 if there is none."""
    with server.client() as client:
        text = client.get("/metrics").text
    found = [rest for rest in text.splitlines() if rest.startswith(f"{line} ")]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def running(server: LiveServer, kind: str) -> float:
    """Requests that hold a permit."""
    return metric(server, f'reflector_requests_running{{class="{kind}"}}')


def send_raw(server: object, request: httpx.Request, *, share: float = 1.0) -> socket.socket:
    """Send ``request``, or the first ``share`` of its body, and leave the connection open."""
    body = request.read()
    head = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1".encode()]
    head += [name + b": " + value for name, value in request.headers.raw]
    connection = socket.create_connection((request.url.host, request.url.port or 80), timeout=60)
    connection.sendall(b"\r\n".join([*head, b"", b""]) + body[: int(len(body) * share)])
    return connection


def trickled(server: object, request: httpx.Request) -> bytes:
    """What the server says when a body comes byte by byte, but never stops coming."""
    body = request.read()
    with send_raw(server, request, share=0.5) as line:

        def answered() -> bool:
            line.sendall(body[-1:])
            return bool(select.select([line], [], [], 0.1)[0])

        eventually(answered)
        return line.recv(1_000)


def does_everything(folder: Path) -> LiveServer:
    """A server with one worker for each kind of model, which keeps jobs in ``folder``."""
    return LiveServer(
        model="scripted",
        apikey=KEY,
        workers=1,
        diarizer="bic",
        translator=str(TRANSLATION),
        data_dir=folder,
        url_allow="127.0.0.1",
    )


@contextmanager
def bare_server(**settings: object) -> Iterator[LiveServer]:
    """A server that has no engine, which is quick, unless ``settings`` name one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.MODELS, ABSENT.name, ABSENT)
        with LiveServer(wait=False, **{"model": ABSENT.name, **settings}) as server:
            yield server


class Gate:
    """Stands between a server and its default engine: counts chunks, and can hold them back."""

    def __init__(self, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pool = server.service.workers.pool(server.service.recognisers.default)
        self._submit = self._pool.submit
        self._lock = threading.Lock()
        self._held: list[asyncio.Future[None]] = []
        self._error: ReflectorError | None = None
        self.free = 1_000_000
        """How many chunks may still pass."""
        self.options: list[TranscribeOptions] = []
        """The options of every chunk that arrived."""
        self.cancelled = 0
        monkeypatch.setattr(self._pool, "submit", self._pass)

    @property
    def arrived(self) -> int:
        return len(self.options)

    def open(self, error: ReflectorError | None = None) -> None:
        """Let everything pass; with ``error``, what is held back fails instead."""
        with self._lock:
            self.free, self._error = 1_000_000, error
            for future in self._held:
                future.get_loop().call_soon_threadsafe(_release, future)

    async def _pass(self, item: Samples, group: TranscribeOptions, **rest: Any) -> object:
        with self._lock:
            future = asyncio.get_running_loop().create_future()
            if self.free > 0:
                future.set_result(None)
            else:
                self._held.append(future)
            self.free -= 1
            self.options.append(group)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):  # a test that fails must not hang
                await future
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if future in self._held and self._error:
            raise copy(self._error)
        return await self._submit(item, group, **rest)


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def hurry(line: Fetcher | Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a server wait for a second at most until a host goes on, and not for half a minute."""
    monkeypatch.setattr(line, "_limits", replace(line._limits, read_timeout=1.0))


def send_target(server: LiveServer, target: str) -> bytes:
    """The answer to a GET of exactly this ``target``, which clients would tidy up first."""
    where = httpx.URL(server.url)
    with socket.create_connection((where.host, where.port or 80), timeout=60) as connection:
        request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        with connection.makefile("rb") as answer:
            return answer.read()
