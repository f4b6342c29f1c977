"""A language model in workers: what becomes of an answer that nobody reads to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reflector_gpu.engines.completion.base import CompleterModel, CompleterSpec
from reflector_gpu.llm.base import CompletionRequest
from reflector_gpu.llm.pooled import PooledModel
from reflector_gpu.runtime.batch import Batch
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.worker import WorkerDied
from reflector_gpu.types import Completion, Message, Prompt
from tests.waiting import PATIENCE_SECONDS, until

MODEL = CompleterModel(
    "endless", "nowhere:Engine", CompleterSpec(max_batch=1, context=100), "For tests", "MIT"
)


@dataclass
class Endless:
    """Fulfils `Starter` and `Runner`: says one piece, and then waits until nobody listens."""

    pid: None = None
    alive: bool = True
    left: threading.Event = field(default_factory=threading.Event)

    def start(self, _: Callable[[], bool]) -> Endless:
        return self

    def run(self, batch: Batch) -> Sequence[object]:
        batch.listeners[0]("Once upon a time")
        until(batch.given_up)
        self.left.set()
        return [Completion("", "stop", 1, 1)]

    def stop(self) -> None: ...

    def death(self) -> WorkerDied:
        return WorkerDied("it ended", None)


def test_a_reader_who_leaves_ends_the_writing() -> None:
    worker = Endless()
    pool: Pool[Prompt, Completion] = Pool("endless", [worker], PoolOptions())

    async def scene() -> None:
        model = PooledModel(MODEL, lambda: pool, max_tokens=10)
        answer = model.stream(CompletionRequest(Prompt((Message("user", "Tell me a story."),))))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await anext(answer) == "Once upon a time"
            await answer.aclose()
            assert await asyncio.to_thread(worker.left.wait, PATIENCE_SECONDS)

    pool.start()
    try:
        asyncio.run(scene())
    finally:
        pool.close()
