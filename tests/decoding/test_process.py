"""A decoder that has been taken over may say anything: the server neither believes nor waits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import aclosing

import pytest

from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.messages import (
    HEAD,
    LOST,
    REACHED,
    TASK_HEAD,
    Ended,
    Needs,
    Passed,
    Told,
    written,
)
from reflector_gpu.decoding.process import DecoderProcess, Died, received
from reflector_gpu.decoding.tasks import Sampling
from reflector_gpu.errors import EngineFailed, ReflectorError

TASK = Sampling(1.0)


def sent(messages: Iterable[Told]) -> bytes:
    return b"".join(bytes(piece) for one in messages for piece in written(*one))


def heard(data: bytes) -> list[Told]:
    """What is made of a decoder that says ``data`` and closes."""

    async def scene() -> list[Told]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        with theirs, Spool(10) as spool:
            spool.write(b"recording")
            loop = asyncio.get_running_loop()
            sending = asyncio.ensure_future(loop.sock_sendall(theirs, data))
            sending.add_done_callback(lambda _: theirs.shutdown(socket.SHUT_WR))
            process = DecoderProcess(0, ours)
            try:
                async with aclosing(process.run(TASK, spool, None)) as told:
                    return [(message, bytes(beside)) async for message, beside in told]
            finally:
                process.close()
                await asyncio.gather(sending, return_exceptions=True)

    return asyncio.run(scene())


def test_what_is_told_in_one_piece_is_taken_apart() -> None:
    said: list[Told] = [(Passed(1.0), b""), (Passed(2.0), b""), (Ended(2.0), b"x" * 100_000)]
    assert heard(sent(said)) == said


@pytest.mark.parametrize(
    "data",
    [
        b"",
        sent([(Passed(1.0), b"")]),
        sent([(Ended(1.0), b"")])[:-1],
        HEAD.pack(1 << 30, 0),
        HEAD.pack(2, 1 << 27) + b"{}",
        HEAD.pack(2, 0) + b"{}",
        sent([(Ended(1.0), b"x" * 200_000)]),
        sent([(Passed(1.0), b"x")]),
        sent([(Needs(100), b""), (Needs(200), b"")]),
    ],
    ids=[
        "nothing",
        "no end",
        "cut short",
        "a long message",
        "much beside it",
        "no message",
        "more than the task can find",
        "bytes where none belong",
        "two questions",
    ],
)
def test_a_decoder_that_says_anything_else_counts_as_dead(data: bytes) -> None:
    with pytest.raises(Died):
        heard(data)


def test_a_flood_leaves_the_others_their_turn() -> None:
    turns = 0

    async def scene() -> None:
        nonlocal turns

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        flood = sent([(Passed(1.0), b"")] * 1000 + [(Ended(1.0), b"")])
        with theirs, Spool(10) as spool:
            theirs.sendall(flood)
            busy = asyncio.ensure_future(others())
            process = DecoderProcess(0, ours)
            async with aclosing(process.run(TASK, spool, None)) as told:
                assert len([one async for one in told]) == 1001
            busy.cancel()
            process.close()

    asyncio.run(scene())
    assert turns > 10


def test_a_decoder_is_told_when_the_rest_cannot_be_had_for_a_reason_that_nobody_thought_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would wait for ever, and so would the request."""

    async def scene() -> tuple[int, ReflectorError | None]:
        async def broken(_: int) -> None:
            raise RuntimeError("a fault")

        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        with theirs, Spool(10) as spool:
            spool.write(b"begin")
            monkeypatch.setattr(spool, "reached", broken)
            process = DecoderProcess(0, ours)
            await loop.sock_sendall(theirs, sent([(Needs(100), b"")]))

            async def state() -> int:
                length, *_ = TASK_HEAD.unpack(await received(theirs, TASK_HEAD.size))
                await received(theirs, length)
                _, told, _ = REACHED.unpack(await received(theirs, REACHED.size))
                theirs.shutdown(socket.SHUT_RDWR)
                return int(told)

            asking = asyncio.ensure_future(state())
            with pytest.raises(Died):
                await anext(process.run(TASK, spool, None))
            process.close()
            return await asking, process.source_error

    told, error = asyncio.run(scene())
    assert told == LOST
    assert isinstance(error, EngineFailed)
