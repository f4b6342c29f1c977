"""Two servers that share limits, over an actor that is an object here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from reflector_gpu.api.app import create_app
from reflector_gpu.deploy.on_ray.shared import Share, Shared
from reflector_gpu.runtime.limits import Use
from reflector_gpu.settings import load_settings
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.support import error_of, eventually, retry_after, send_raw, upload, wav
from tests.live import KEY, LiveServer


class Method:
    """A method of a handle."""

    def __init__(self, handle: Handle, call: Callable[..., Awaitable[Any]]) -> None:
        self._handle = handle
        self._call = call

    async def remote(self, *arguments: object) -> Any:
        if self._handle.dead:
            raise ActorDiedError
        return await self._call(*arguments)


class Handle:
    """A handle of the actor, which can be dead."""

    def __init__(self, shared: Shared) -> None:
        self.dead = False
        self.exchange = Method(self, shared.exchange)


@pytest.fixture
def handle() -> Handle:
    return Handle(Shared())


@pytest.fixture
def servers(handle: Handle) -> Iterator[list[LiveServer]]:
    with ExitStack() as running:
        found = []
        for _ in range(2):
            app = create_app(load_settings(model="scripted", apikey=KEY, key_requests=1))
            app.add_middleware(Share, shared=handle, admission=app.state.service.admission)
            found.append(running.enter_context(LiveServer.over(app)))
        yield found


@pytest.fixture(scope="module")
def clip(speech: Samples) -> bytes:
    return wav(speech[: 4 * SAMPLE_RATE])


def test_what_a_client_has_in_work_on_one_server_counts_on_the_other(
    servers: list[LiveServer], clip: bytes
) -> None:
    one, other = servers
    with one.client() as http:
        request = http.build_request("POST", "/v1/audio/transcriptions", files={"file": clip})
        half = send_raw(one, request, share=0.5)
    eventually(lambda: upload(other, clip).status_code == 429)
    refused = upload(other, clip)
    assert error_of(refused, 429)["code"] == "overloaded"
    assert retry_after(refused) >= 1
    half.close()
    eventually(lambda: upload(other, clip).status_code == 200)


def test_servers_work_while_the_actor_is_dead(
    servers: list[LiveServer], handle: Handle, clip: bytes
) -> None:
    handle.dead = True
    assert upload(servers[0], clip).status_code == 200


@pytest.mark.parametrize(("passed", "requests"), [(0.0, 3), (11.0, 1)])
def test_a_server_that_says_nothing_is_forgotten(passed: float, requests: int) -> None:
    now = 0.0
    shared = Shared(clock=lambda: now)

    async def say(server: str, count: int) -> dict[str, Use]:
        return await shared.exchange(server, {"key 0": Use(count, 1.0)})

    run(say("silent", 2))
    now = passed
    run(say("lively", 1))
    assert run(say("mine", 7))["key 0"] == Use(requests, 2.0 if requests == 3 else 1.0)


def run(call: Any) -> Any:
    """The result of a coroutine that never waits."""
    with pytest.raises(StopIteration) as ended:
        call.send(None)
    return ended.value.value
