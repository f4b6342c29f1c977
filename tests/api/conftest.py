"""Servers, an audio host and audio for the API's tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live import KEY, LiveServer

if TYPE_CHECKING:  # see tests/conftest.py
    from openai import OpenAI

    from reflector_gpu.types import Samples
    from tests.api.hosts import AudioHost
    from tests.api.support import Gate

OTHER_KEY = "other-key"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where a server keeps what outlives it."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def snippets(speech: Samples) -> list[Samples]:
    """Four short pieces of the meeting with somebody speaking in each, all different."""
    from reflector_gpu.audio.chunk import chunks

    found = (chunk.samples for chunk in chunks([speech], max_seconds=1.8, max_gap=0.5))
    return list(islice((samples for samples in found if len(samples) > 16_000), 4))


@pytest.fixture(scope="session")
def clips(snippets: list[Samples]) -> list[bytes]:
    """`snippets` as WAV files."""
    from tests.api.support import wav

    return [wav(samples) for samples in snippets]


@pytest.fixture(scope="session")
def clip(clips: list[bytes]) -> bytes:
    return clips[0]


@pytest.fixture(scope="session")
def pauses(snippets: list[Samples]) -> bytes:
    """Three snippets with long silences between them: three chunks."""
    from tests.api.support import silence, wav

    gap = silence(2.5)
    return wav(snippets[0], gap, snippets[1], gap, snippets[2])


@pytest.fixture(scope="session")
def quiet() -> bytes:
    """Two seconds in which nobody speaks."""
    from tests.api.support import silence, wav

    return wav(silence(2))


@pytest.fixture(scope="session")
def host() -> Iterator[AudioHost]:
    from tests.api.hosts import AudioHost

    with AudioHost() as host:
        yield host


@pytest.fixture(scope="session")
def quiet_url(host: AudioHost, quiet: bytes) -> str:
    from tests.api.hosts import Answer

    return host.put("/quiet.wav", Answer(quiet))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly an upload comes, it keeps its place."""
    from reflector_gpu.runtime import arrivals

    monkeypatch.setattr(arrivals, "_GRACE_SECONDS", math.inf)


@pytest.fixture(scope="session")
def small() -> Iterator[LiveServer]:
    """A server with tight limits, two keys, private docs and public metrics."""
    with LiveServer(
        model="scripted",
        apikey=f"{OTHER_KEY}, {KEY}",
        model_aliases={"org/some-model": "scripted", "sphinx": "scripted"},
        live_requests=1,
        file_requests=1,
        max_upload_mb=0.5,
        max_audio_seconds=10,
        max_files=3,
        url_allow="127.0.0.1",
        url_retries=0,
        public_docs=False,
        public_metrics=True,
    ) as server:
        yield server


@pytest.fixture(scope="package")
def texts(scripted: LiveServer, clips: list[bytes]) -> list[str]:
    """The server's transcript of each of `clips`."""
    from tests.api.support import upload

    return [str(upload(scripted, clip).json()["text"]) for clip in clips]


@pytest.fixture(scope="package")
def text(texts: list[str]) -> str:
    """The server's transcript of `clip`."""
    return texts[0]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LiveServer]]:
    """Start servers that have no engine, which is quick: ``bare(apikey=..., ...)``.

    What a test has patched, it has patched until they have ended.
    """
    from tests.api.support import bare_server

    with ExitStack() as servers:
        yield lambda **settings: servers.enter_context(bare_server(**settings))


@pytest.fixture
def translating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests that name the scripted model use it to translate."""
    from reflector_gpu.engines.recognition import catalog

    model = catalog.MODELS["scripted"]
    able = replace(model, spec=replace(model.spec, translates=True))
    monkeypatch.setitem(catalog.MODELS, "scripted", able)


@pytest.fixture
def held(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Holds back all chunks of the module's own server until it is opened, or the test is over."""
    from tests.api.support import Gate

    gate = Gate(server, monkeypatch)
    gate.free = 0
    yield gate
    gate.open()


@pytest.fixture
def gate(scripted: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A `Gate` in front of the engine of `scripted`."""
    from tests.api.support import Gate

    gate = Gate(scripted, monkeypatch)
    yield gate
    gate.open()


@pytest.fixture(scope="session")
def llm() -> Iterator[LiveServer]:
    """A server that runs the tiny language model."""
    from tests.api import llms

    with llms.local() as server:
        yield server


@pytest.fixture(scope="session")
def relay(llm: LiveServer) -> Iterator[LiveServer]:
    """A server that passes requests on to `llm` over the OpenAI API."""
    from tests.api import llms

    with llms.relay(f"{llm.url}/v1", llm_retries=0) as server:
        yield server


@pytest.fixture(params=["llm", "relay"])
def either(request: pytest.FixtureRequest) -> LiveServer:
    """Each of the two, which have to do the same."""
    server: LiveServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="package")
def client(scripted: LiveServer) -> Iterator[OpenAI]:
    with scripted.openai() as client:
        yield client.with_options(timeout=60)
