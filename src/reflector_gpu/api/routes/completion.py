"""Language models: the route of Reflector, and OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import openapi, responses, vocabularies
from reflector_gpu.api.connection import EventStream, unless_disconnected
from reflector_gpu.api.dependencies import AppIntake, AppMetrics, AppService
from reflector_gpu.api.errors import error_body
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.prompts import ChatFields
from reflector_gpu.errors import InvalidRequest, ReflectorError
from reflector_gpu.formats.chat import LlmText, Rendering
from reflector_gpu.formats.openai import STREAM_END
from reflector_gpu.llm import schema
from reflector_gpu.llm.base import Answer, CompletionRequest, LanguageModel
from reflector_gpu.llm.fitting import SCHEMA
from reflector_gpu.service import Service
from reflector_gpu.types import Completion, Priority, ToolCallPiece

_MAX_JSON_BYTES = 10_000_000  # more text than any model reads


router = APIRouter(tags=["language model"])


@router.post("/llm", openapi_extra=openapi.LLM)
async def llm(
    request: Request, intake: AppIntake, service: AppService, metrics: AppMetrics
) -> Response:
    """Answer a prompt; with `gen_schema`, in JSON that validates against it."""
    async with intake.admit(request, Priority.LIVE) as context:
        fields = await intake.json_fields(request, vocabularies.LLM, _MAX_JSON_BYTES)
        model = service.language_model()
        context.answered_by(model.name)
        with _blaming("gen_schema", "prompt"):
            found = await unless_disconnected(request, _completed(model, service, fields.request))
        metrics.completion(model.name, found)
        if fields.gen_schema is not None and found.finish == "length":
            raise InvalidRequest(
                f"The JSON was not complete after {found.completion_tokens} tokens; "
                "raise 'max_tokens', or ask for less.",
                param="max_tokens",
            )
        return responses.response(LlmText(text=found.text), None)


@router.post("/v1/chat/completions", openapi_extra=openapi.CHAT)
async def create_chat_completion(
    request: Request, intake: AppIntake, service: AppService, metrics: AppMetrics
) -> Response:
    """OpenAI's chat completions: text in, text out, whole or streamed.

    Tools are passed on to a model on another server; one that runs here does not call any.
    """
    async with intake.admit(request, Priority.LIVE) as context:
        fields = await intake.json_fields(request, vocabularies.CHAT, _MAX_JSON_BYTES)
        fields.check_supported()
        model = service.language_model(fields.model)
        context.answered_by(model.name)
        if not model.calls_tools:
            fields.check_no_tools()
        with _blaming("response_format"):
            if not fields.stream:
                found = await unless_disconnected(
                    request, _completed(model, service, fields.request)
                )
                metrics.completion(model.name, found)
                return Response(Rendering(model.name).whole(found), media_type=responses.JSON)
            await unless_disconnected(request, model.ready(service.settings.load_seconds))
            pieces = schema.stream(model, fields.request)
            ready = await unless_disconnected(request, responses.primed(pieces, context.resources))
        counted = context.noted(_counted(ready, model, metrics))
        events = _events(counted, Rendering(model.name), fields)
        return EventStream(events, context.resources.pop_all(), context.deadline)


async def _completed(
    model: LanguageModel, service: Service, wanted: CompletionRequest
) -> Completion:
    await model.ready(service.settings.load_seconds)
    return await schema.complete(model, wanted)


async def _counted(pieces: Answer, model: LanguageModel, metrics: Metrics) -> Answer:
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Completion):
                metrics.completion(model.name, piece)
            yield piece


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
