"""Language models: the route of Reflector, and OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import openapi, vocabularies
from reflector_gpu.api import responses as answers
from reflector_gpu.api.connection import EventStream, read_body, unless_disconnected
from reflector_gpu.api.errors import error_body
from reflector_gpu.api.form_values import json_values
from reflector_gpu.api.intake import Intake
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.prompts import ChatFields, LlmFields
from reflector_gpu.errors import InvalidRequest, ReflectorError
from reflector_gpu.formats.chat import LlmText, Rendering
from reflector_gpu.formats.openai import STREAM_END
from reflector_gpu.llm import schema
from reflector_gpu.llm.base import Answer, LanguageModel
from reflector_gpu.llm.fitting import SCHEMA
from reflector_gpu.service import Service
from reflector_gpu.types import Completion, Priority, ToolCallPiece

_MAX_JSON_BYTES = 10_000_000  # more text than any model reads


def router(service: Service, metrics: Metrics) -> APIRouter:
    """The routes over the language model of ``service``."""
    routes = APIRouter(tags=["language model"])
    intake = Intake(service, metrics)

    @routes.post("/llm", openapi_extra=openapi.LLM)
    async def llm(request: Request) -> Response:
        """Answer a prompt; with `gen_schema`, in JSON that validates against it."""
        async with intake.visit(request, Priority.LIVE) as visit:
            fields = intake.read(request, vocabularies.LLM, await _json(request))
            model = service.language_model()
            visit.answered_by(model.name)
            return await unless_disconnected(request, _text(model, fields))

    @routes.post("/v1/chat/completions", openapi_extra=openapi.CHAT)
    async def create_chat_completion(request: Request) -> Response:
        """OpenAI's chat completions: text in, text out, whole or streamed.

        Tools are passed on to a model on another server; one that runs here does not call any.
        """
        async with intake.visit(request, Priority.LIVE) as visit:
            fields = intake.read(request, vocabularies.CHAT, await _json(request))
            fields.check_supported()
            model = service.language_model(fields.model)
            visit.answered_by(model.name)
            if not model.calls_tools:
                fields.check_no_tools()
            if not fields.stream:
                return await unless_disconnected(request, _whole(model, fields))
            with _blaming("response_format"):
                await unless_disconnected(request, model.ready(service.settings.load_seconds))
                pieces = schema.stream(model, fields.request)
                ready = await unless_disconnected(request, answers.primed(pieces, visit.resources))
            counted = visit.noted(_counted(ready, model))
            events = _events(counted, Rendering(model.name), fields)
            return EventStream(events, visit.resources.pop_all(), visit.deadline)

    async def _json(request: Request) -> dict[str, object]:
        patience = service.settings.body_seconds
        return json_values(await read_body(request, patience, _MAX_JSON_BYTES))

    async def _text(model: LanguageModel, fields: LlmFields) -> Response:
        await model.ready(service.settings.load_seconds)
        with _blaming("gen_schema", "prompt"):
            found = await schema.complete(model, fields.request)
        metrics.completion(model.name, found)
        if fields.gen_schema is not None and found.finish == "length":
            raise InvalidRequest(
                f"The JSON was not complete after {found.completion_tokens} tokens; "
                "raise 'max_tokens', or ask for less.",
                param="max_tokens",
            )
        return answers.response(LlmText(text=found.text), None)

    async def _whole(model: LanguageModel, fields: ChatFields) -> Response:
        await model.ready(service.settings.load_seconds)
        with _blaming("response_format"):
            found = await schema.complete(model, fields.request)
        metrics.completion(model.name, found)
        return Response(Rendering(model.name).whole(found), media_type=answers.JSON)

    async def _counted(pieces: Answer, model: LanguageModel) -> Answer:
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Completion):
                    metrics.completion(model.name, piece)
                yield piece

    return routes


async def _events(pieces: Answer, rendering: Rendering, fields: ChatFields) -> AsyncIterator[str]:
    """The server-sent events of one answer; a failure midway is an event as well."""
    options = fields.stream_options
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Completion):
                    yield rendering.end(piece)
                    if options and options.include_usage:
                        yield rendering.usage(piece)
                elif isinstance(piece, ToolCallPiece):
                    yield rendering.tool_call(piece)
                else:
                    yield rendering.piece(piece)
    except ReflectorError as error:
        yield f"data: {error_body(error).model_dump_json()}\n\n"
    yield STREAM_END


@contextmanager
def _blaming(schema_field: str, prompt_field: str = "messages") -> Iterator[None]:
    """What is wrong with a schema or a prompt is the fault of the field that holds it."""
    names = {SCHEMA: schema_field, "messages": prompt_field}
    try:
        yield
    except InvalidRequest as error:
        error.param = names.get(error.param or "", error.param)
        raise
