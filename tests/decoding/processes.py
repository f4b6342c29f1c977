"""Decoders in processes of their own, watched from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import TypeAlias

import psutil

from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.base import Decoders, DecodeTask
from reflector_gpu.decoding.messages import Told
from reflector_gpu.decoding.processes import ProcessDecoders
from reflector_gpu.decoding.tasks import Chunking
from tests.waiting import PATIENCE_SECONDS

MEMORY = 256_000_000


CHUNKING = Chunking(10.0, 1.0)


EARLY = Chunking(3.0, 1.0)


AHEAD = 2
"""Processes that are forked before they are needed."""


_others: set[int] = set()
"""Templates of servers that run in this process too, for other tests."""


Scene: TypeAlias = Callable[[ProcessDecoders], Awaitable[None]]


def run(scene: Scene) -> None:
    """Run ``scene``, which must leave no process behind."""
    with running() as run:
        run(scene)


@contextmanager
def running() -> Iterator[Callable[[Scene], None]]:
    """Run scenes one after the other with the same decoders, which must leave no process behind."""

    async def limited(scene: Scene) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scene(decoders)

    _others.clear()
    while found := template():
        _others.add(found.pid)
    decoders = ProcessDecoders(MEMORY)
    with asyncio.Runner() as runner:
        try:
            yield lambda scene: runner.run(limited(scene))
        finally:
            runner.run(decoders.close())
    assert template() is None


def template() -> psutil.Process | None:
    """The process that forks decoders."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # one that another test has left is just ending
            ours = any("decoder_process" in argument for argument in child.cmdline())
            if ours and child.pid not in _others:
                return child
    return None


def decoders_alive() -> list[psutil.Process]:
    """The oldest first. The last `AHEAD` wait for a recording.

    A template that has just started has a child for a moment that is none: it tries the sandbox.
    """
    found = template()
    return sorted(found.children(), key=lambda one: one.create_time()) if found else []


def spooled(data: bytes) -> Spool:
    spool = Spool(limit=10**9)
    spool.write(data)
    spool.finish()
    return spool


async def told(
    decoders: Decoders, task: DecodeTask, spool: Spool, output: Spool | None = None
) -> list[Told]:
    async with aclosing(decoders.run(task, spool, output)) as messages:
        return [(message, bytes(data)) async for message, data in messages]


async def whole(decoders: Decoders, data: bytes, task: DecodeTask = CHUNKING) -> list[Told]:
    with spooled(data) as spool:
        return await told(decoders, task, spool)


@asynccontextmanager
async def begun(
    decoders: Decoders, data: bytes
) -> AsyncIterator[tuple[asyncio.Task[list[Told]], Spool]]:
    """A task that waits for the rest of ``data``, of which half has arrived."""
    with Spool(limit=10**9) as spool:
        spool.write(data[: len(data) // 2])
        messages = decoders.run(EARLY, spool)
        async with aclosing(messages):
            await anext(messages)

            async def rest() -> list[Told]:
                return [one async for one in messages]

            following = asyncio.ensure_future(rest())
            try:
                yield following, spool
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
