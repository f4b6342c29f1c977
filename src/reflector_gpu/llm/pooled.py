"""A language model in worker processes of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from reflector_gpu.engines.completion.base import CompleterModel
from reflector_gpu.errors import ContextExceeded
from reflector_gpu.llm.base import Answer, CompletionRequest
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.types import Completion, Priority, Prompt

_CHARACTERS = 3.0  # in a token, roughly
_MOST_CHARACTERS = 20  # in a token, more than any text has on average
_READING = 0.05  # the time to read a token, as a share of the time to write one


class PooledModel:
    def __init__(
        self,
        model: CompleterModel,
        pool: Callable[[], Pool[Prompt, Completion]],
        max_tokens: int,
    ) -> None:
        """``pool()`` gives the workers of ``model``, and starts them at its first call.

        Answers have ``max_tokens`` at most.
        """
        self._model = model
        self._pool = pool
        self._max_tokens = max_tokens

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def summary(self) -> str:
        return self._model.summary

    @property
    def licence(self) -> str:
        return self._model.licence

    @property
    def enforces_schemas(self) -> bool:
        return False

    @property
    def calls_tools(self) -> bool:
        return False

    @property
    def state(self) -> str:
        return "not installed" if self._model.missing else self._pool().state.value

    def start(self) -> None:
        if not self._model.missing:
            self._pool()

    def check_ready(self) -> None:
        self._pool().wait_ready(timeout=0)

    async def ready(self, patience: float) -> None:
        await self._pool().ready(patience)

    async def complete(self, request: CompletionRequest) -> Completion:
        return await self._submit(request)

    async def stream(self, request: CompletionRequest) -> Answer:
        pieces: asyncio.Queue[object] = asyncio.Queue()
        work = asyncio.ensure_future(self._submit(request, pieces.put_nowait))
        work.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while isinstance(piece := await pieces.get(), str):
                if piece:
                    yield piece
            yield await work
        finally:
            work.cancel()
            await asyncio.wait({work})

    async def aclose(self) -> None:
        """Nothing to free: the service stops the workers."""

    async def _submit(
        self, request: CompletionRequest, listener: Callable[[object], None] | None = None
    ) -> Completion:
        limit = min(request.prompt.max_tokens or self._max_tokens, self._max_tokens)
        prompt = replace(request.prompt, max_tokens=limit)
        characters = sum(len(message.content) for message in prompt.messages)
        context = self._model.spec.context
        if characters > _MOST_CHARACTERS * context:
            # Counting its tokens would keep a worker from other requests.
            raise ContextExceeded(
                f"The prompt has {characters} characters, and this model reads {context} tokens.",
                param="messages",
            )
        return await self._pool().submit(
            prompt,
            request.sampling,
            cost=limit + _READING * characters / _CHARACTERS,
            priority=Priority.LIVE,
            listener=listener,
        )
