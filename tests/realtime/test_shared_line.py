"""A line that several are on: who is heard, and who gets what."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from reflector_gpu.errors import Overloaded
from reflector_gpu.realtime.shared_line import SharedLine


class Line:
    """Somebody who says ``texts``, and then nothing."""

    def __init__(self, *texts: str) -> None:
        self.stopping = asyncio.Event()
        self.gone = asyncio.Event()
        self.received: list[str] = []
        self.closed: int | None = None
        self._texts = list(texts)

    async def receive(self) -> str | None:
        if not self._texts:
            await asyncio.Event().wait()
        return self._texts.pop(0)

    async def send(self, text: str) -> None:
        self.received.append(text)

    async def close(self, code: int, reason: str) -> None:
        self.closed = code


def test_nobody_starves_the_other() -> None:
    async def run() -> list[object]:
        line = SharedLine(Line(*["main"] * 5))
        joining = asyncio.create_task(line.join(Line(*["joined"] * 5)))
        await asyncio.sleep(0)
        heard: list[object] = []
        for _ in range(10):
            heard.append(await line.receive())
            for _ in range(5):
                await asyncio.sleep(0)  # until both have something to say
        await line.close()
        await joining
        return heard

    heard = asyncio.run(run())
    assert heard.count("main") == heard.count("joined") == 5
    assert "joined" in heard[:3]
    assert "main" in heard[:3]


def test_who_joins_gets_the_greeting_and_what_follows_until_the_end() -> None:
    async def run() -> tuple[Line, Line]:
        main, late = Line(), Line()
        line = SharedLine(main)
        for text in ("hello", "missed"):
            await line.send(text)
        joining = asyncio.create_task(line.join(late))
        await asyncio.sleep(0)
        await line.send("heard")
        await line.close(1001, "")
        await joining
        return main, late

    main, late = asyncio.run(run())
    assert main.received == ["hello", "missed", "heard"]
    assert late.received == ["hello", "heard"]
    assert (main.closed, late.closed) == (1001, 1000)


def test_places_are_taken_before_anybody_joins() -> None:
    async def run() -> None:
        line = SharedLine(Line())
        with ExitStack() as held:
            for _ in range(8):
                held.enter_context(line.place())
            with pytest.raises(Overloaded), line.place():
                pass
        with line.place():
            pass

    asyncio.run(run())
