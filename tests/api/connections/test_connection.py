"""Work is dropped when its client leaves, without cancelling the task that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from reflector_gpu.api import connection
from reflector_gpu.api.connection import unless_disconnected
from tests.waiting import PATIENCE_SECONDS


class Client:
    """A client that may leave."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.looked_at = asyncio.Event()
        self.request = Request({"type": "http"}, self._receive)

    async def _receive(self) -> Message:
        self.looked_at.set()
        await self.left.wait()
        return {"type": "http.disconnect"}


class Work:
    """Work that runs until it is cancelled, and takes time to clean up."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.end = asyncio.Event()
        self.cleaned_up = False

    async def done(self) -> str:
        self.begun.set()
        try:
            await self.end.wait()
            return "done"
        finally:
            await asyncio.sleep(0)
            self.cleaned_up = True


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch the client from the beginning."""
    monkeypatch.setattr(connection, "_QUICK_SECONDS", 0.0)


def run(scene: Callable[[Client, Work], Coroutine[None, None, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scene(Client(), Work())
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(limited())


def test_quick_work_does_not_look_after_its_client() -> None:
    async def scene(client: Client, work: Work) -> None:
        work.end.set()
        assert await unless_disconnected(client.request, work.done()) == "done"
        assert not client.looked_at.is_set()

    run(scene)


@pytest.mark.usefixtures("at_once")
def test_longer_work_watches_its_client_until_it_is_done() -> None:
    async def scene(client: Client, work: Work) -> None:
        asking = asyncio.ensure_future(unless_disconnected(client.request, work.done()))
        await client.looked_at.wait()
        work.end.set()
        assert await asking == "done"

    run(scene)


@pytest.mark.usefixtures("at_once")
def test_a_client_that_leaves_ends_the_work_and_not_the_task() -> None:
    async def scene(client: Client, work: Work) -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()
        with suppress(asyncio.CancelledError):  # an earlier cancellation is none of our business
            await asyncio.sleep(0)
        client.left.set()
        with pytest.raises(ClientDisconnect):
            await unless_disconnected(client.request, work.done())
        assert work.cleaned_up
        assert task.cancelling() == 1
        await asyncio.sleep(0)

    run(scene)


@pytest.mark.usefixtures("at_once")
def test_work_that_fails_says_so() -> None:
    async def fail() -> None:
        raise ValueError("bad")

    async def scene(client: Client, _: Work) -> None:
        with pytest.raises(ValueError, match="bad"):
            await unless_disconnected(client.request, fail())

    run(scene)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("leaves", [False, True])
def test_cancelling_the_task_cancels_its_work(leaves: bool) -> None:
    async def scene(client: Client, work: Work) -> None:
        asking = asyncio.ensure_future(unless_disconnected(client.request, work.done()))
        await client.looked_at.wait()
        if leaves:
            client.left.set()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert work.cleaned_up

    run(scene)


def test_cancelling_the_task_early_cancels_its_work() -> None:
    async def scene(client: Client, work: Work) -> None:
        asking = asyncio.ensure_future(unless_disconnected(client.request, work.done()))
        await work.begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert work.cleaned_up
        assert not client.looked_at.is_set()

    run(scene)


@pytest.mark.usefixtures("at_once")
def test_a_deadline_is_not_taken_for_a_client_that_left() -> None:
    async def scene(client: Client, work: Work) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await unless_disconnected(client.request, work.done())

    run(scene)


@pytest.mark.usefixtures("at_once")
def test_work_that_ends_as_its_client_leaves_has_a_result() -> None:
    async def scene(client: Client, work: Work) -> None:
        asking = asyncio.ensure_future(unless_disconnected(client.request, work.done()))
        await client.looked_at.wait()
        work.end.set()
        await asyncio.sleep(0)  # it cleans up, which takes one more turn, as it does to leave
        client.left.set()
        assert await asking == "done"

    run(scene)


@pytest.mark.usefixtures("at_once")
def test_a_client_that_left_does_not_wait_for_stubborn_work() -> None:
    async def scene(client: Client, work: Work) -> None:
        async def stubborn() -> str:
            with suppress(asyncio.CancelledError):
                await work.done()
            return "done all the same"

        client.left.set()
        with pytest.raises(ClientDisconnect):
            await unless_disconnected(client.request, stubborn())
        assert work.cleaned_up

    run(scene)
