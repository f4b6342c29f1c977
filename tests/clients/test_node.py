"""openai-node, the AI SDK, and what a page sends by fetch: the tests are in node/."""

from __future__ import annotations

import pytest

from tests.clients.server import Server
from tests.clients.support import run_javascript


@pytest.mark.parametrize("name", ["openai", "ai", "browser"])
def test_javascript(server: Server, name: str) -> None:
    run_javascript(f"{name}.test.mjs", server)
