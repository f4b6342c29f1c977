"""openai-node, OpenAI's agents, the AI SDK, and what a page sends by fetch: see node/."""

from __future__ import annotations

import pytest

from tests.clients.server import Server
from tests.clients.support import run_javascript


@pytest.mark.parametrize("name", ["openai", "agents", "ai", "browser"])
def test_javascript(server: Server, name: str) -> None:
    run_javascript(f"{name}.test.mjs", server)
