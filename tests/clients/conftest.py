"""The servers that the clients speak to, and the environment that the clients get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.browser import MICROPHONE, chromium, page_of
from tests.clients.server import KEY, ROOT, Server, serving

FIXTURES = ROOT / "tests" / "fixtures"

SMALL = {
    "APIKEY": KEY,
    "MODEL": "auto",
    "AUTO_MODELS": "parakeet,whisper",
    "MODEL_PATHS": json.dumps(
        {"parakeet": str(FIXTURES / "parakeet-tiny"), "whisper": str(FIXTURES / "whisper-tiny")}
    ),
    "TRANSLATOR": str(FIXTURES / "translation-tiny"),
    "LLM_ENGINE": "ctranslate2",
    "LLM_MODEL": str(FIXTURES / "llm-tiny"),
    "URL_ALLOW": "127.0.0.1",
    "WORKERS": "1",
    "STRICT": "true",
    "CORS_ORIGINS": "http://localhost:3000",
}
"""Settings of a server with small models of every kind, which know some thirty words."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose recognisers hear the recordings of `SPEECH` rightly."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, {**SMALL, "DATA_DIR": str(folder / "data")}) as server:
        yield server
        said = server.log.read_text()
    assert "Traceback" not in said
    assert " 500 " not in said


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser whose microphone hears a conversation."""
    spoken = f"--use-file-for-fake-audio-capture={ROOT / 'samples' / 'standup.wav'}"
    with chromium(*MICROPHONE, spoken) as browser:
        yield browser


@pytest.fixture(autouse=True)
def _no_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the test says whom to ask; clients that would report home do not."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key, whose words are a hash of the audio."""
    settings = {"MODEL": "scripted", "APIKEY": KEY, "URL_ALLOW": "127.0.0.1", "WORKERS": "1"}
    with serving(tmp_path_factory.mktemp("locked"), settings) as server:
        yield server


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("open"), {"MODEL": "scripted", "WORKERS": "1"}) as server:
        yield server


@pytest.fixture
def page(browser: Any, keyless: Server) -> Iterator[Any]:
    """The start of the console, on a server that wants no key."""
    with page_of(browser, keyless.url) as page:
        page.locator("#engine", has_text="scripted").wait_for()
        yield page
