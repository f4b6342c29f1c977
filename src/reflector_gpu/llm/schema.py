"""Answers that fit a JSON schema, also from models that do not enforce schemas.

Such a model gets the schema in its prompt. If the answer does not fit, the model is told why and
asked again, up to `TRIES` times in all. An answer that does not fit then is an error.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import replace

from reflector_gpu.errors import ContextExceeded, EngineFailed
from reflector_gpu.llm.base import Answer, CompletionRequest, LanguageModel, Schema
from reflector_gpu.llm.fitting import Fitting, Unfit
from reflector_gpu.types import Completion, Message, ToolCallPiece

TRIES = 3

_INSTRUCTION = (
    "\n\nAnswer with JSON alone, without any other text, that fits this JSON schema:\n{schema}"
)
_CORRECTION = "That does not fit the schema: {problem} Answer again, with JSON alone."


async def complete(model: LanguageModel, request: CompletionRequest) -> Completion:
    """The answer of ``model``. With a schema it is compact JSON that fits, unless it is cut off or
    calls tools.

    Its numbers of tokens are those of all tries.

    Raises:
        InvalidRequest: the schema cannot be used.
        EngineFailed: none of `TRIES` answers fits, or there is no room for another.
        ReflectorError: what the model raises.
    """
    if request.schema is None:
        return await model.complete(request)
    fitting = await Fitting.of(request.schema)
    if not model.enforces_schemas:
        request = _instructed(request, request.schema)
    problem = ""
    read = written = 0
    for _ in range(TRIES):
        try:
            found = await model.complete(request)
        except ContextExceeded as error:
            if not problem:
                raise
            raise _hopeless(problem) from error  # our correction made it too long
        read, written = read + found.prompt_tokens, written + found.completion_tokens
        found = replace(found, prompt_tokens=read, completion_tokens=written)
        if found.finish == "length" or found.tool_calls:
            return found
        try:
            value = await fitting.parsed(found.text)
        except Unfit as error:
            problem = str(error)
            request = _corrected(request, found.text, problem)
        else:
            return replace(found, text=json.dumps(value, ensure_ascii=False))
    raise _hopeless(problem)


async def stream(model: LanguageModel, request: CompletionRequest) -> Answer:
    """`complete` in pieces. With a schema there is a single piece, because a piece that was sent
    cannot be corrected.

    Raises:
        ReflectorError: as `complete`, perhaps after some pieces.
    """
    if request.schema is None:
        async with aclosing(model.stream(request)) as pieces:
            async for piece in pieces:
                yield piece
        return
    found = await complete(model, request)
    if found.text or not found.tool_calls:
        yield found.text
    for index, call in enumerate(found.tool_calls):
        yield ToolCallPiece(index, call.arguments, call.id, call.name)
    yield found


def _instructed(request: CompletionRequest, schema: Schema) -> CompletionRequest:
    *before, last = request.prompt.messages
    told = _INSTRUCTION.format(schema=json.dumps(schema, ensure_ascii=False))
    return _with_messages(request, *before, replace(last, content=last.content + told))


def _corrected(request: CompletionRequest, text: str, problem: str) -> CompletionRequest:
    return _with_messages(
        request,
        *request.prompt.messages,
        Message("assistant", text),
        Message("user", _CORRECTION.format(problem=problem)),
    )


def _with_messages(request: CompletionRequest, *messages: Message) -> CompletionRequest:
    return replace(request, prompt=replace(request.prompt, messages=messages))


def _hopeless(problem: str) -> EngineFailed:
    return EngineFailed(
        f"The language model did not answer with JSON that fits the schema, the last time because "
        f"{problem} A simpler schema or a larger model may help.",
        retry_after=1,
    )
