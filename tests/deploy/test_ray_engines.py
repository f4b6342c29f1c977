"""What a replica on Ray does for callers that leave. Ray is not needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import cast

import pytest

from reflector_gpu.deploy.on_ray import engines
from reflector_gpu.deploy.on_ray.engines import EngineReplica
from reflector_gpu.deploy.remote_workers import Reply
from reflector_gpu.types import Priority


class Host(Iterator[Reply]):
    """Has one more part of a result for as long as it is asked."""

    error = None

    def __init__(self, *_: object) -> None:
        self.given_up = False

    def load(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to free."""

    def stream(self, *_: object) -> Host:
        return self

    def __next__(self) -> Reply:
        return 0, "part"

    def give_up(self) -> None:
        self.given_up = True


def test_items_are_given_up_if_the_caller_leaves_between_two_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host()
    monkeypatch.setenv("REFLECTOR_MODEL", "sphinx")
    monkeypatch.setattr(engines, "EngineHost", lambda *_: host)
    replica = EngineReplica("recogniser-sphinx", 1)

    async def leave() -> None:
        stream = cast("AsyncGenerator[Reply]", replica.stream(["item"], "options", Priority.LIVE))
        assert await anext(stream) == (0, "part")
        assert not host.given_up
        await stream.aclose()

    asyncio.run(leave())
    assert host.given_up
