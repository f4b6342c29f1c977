"""Language models: the route of Reflector, and OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import openapi, responses, route_fields
from reflector_gpu.api.completion_fields import ChatFields
from reflector_gpu.api.connection import unless_disconnected
from reflector_gpu.api.dependencies import AppIntake, AppMetrics, AppService
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.errors import InvalidRequest, blaming
from reflector_gpu.formats.chat import ChatRenderer, LlmText
from reflector_gpu.llm import schema
from reflector_gpu.llm.base import Answer, CompletionRequest, LanguageModel
from reflector_gpu.llm.fitting import SCHEMA
from reflector_gpu.service import Service
from reflector_gpu.types import Completion, Priority, ToolCallPiece

_MAX_JSON_BYTES = 10_000_000  # more text than any model reads


router = APIRouter(tags=["language model"])


@router.post("/llm", openapi_extra=openapi.llm)
async def llm(
    request: Request, intake: AppIntake, service: AppService, metrics: AppMetrics
) -> Response:
    """Answer a prompt. With `gen_schema`, the answer is JSON that validates against it."""
    async with intake.admit(request, Priority.LIVE) as context:
        fields = await intake.json_fields(context, route_fields.LLM, _MAX_JSON_BYTES)
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
        return responses.of_body(LlmText(text=found.text))


@router.post("/v1/chat/completions", openapi_extra=openapi.chat)
async def create_chat_completion(
    request: Request, intake: AppIntake, service: AppService, metrics: AppMetrics
) -> Response:
    """Continue a conversation, as OpenAI's chat completions do.

    Tools are passed on to a model on another server; one that runs here does not call any.
    """
    async with intake.admit(request, Priority.LIVE) as context:
        fields = await intake.json_fields(context, route_fields.CHAT, _MAX_JSON_BYTES)
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
                return Response(ChatRenderer(model.name).whole(found), media_type=responses.JSON)
            await unless_disconnected(request, model.ready(service.settings.load_seconds))
            events = _events(schema.stream(model, fields.request), model, fields, metrics)
            return await context.streamed(events)


async def _completed(
    model: LanguageModel, service: Service, wanted: CompletionRequest
) -> Completion:
    await model.ready(service.settings.load_seconds)
    return await schema.complete(model, wanted)


async def _events(
    pieces: Answer, model: LanguageModel, fields: ChatFields, metrics: Metrics
) -> AsyncGenerator[str, None]:
    """The server-sent events of one answer."""
    renderer, options = ChatRenderer(model.name), fields.stream_options
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Completion):
                metrics.completion(model.name, piece)
                yield renderer.end(piece)
                if options and options.include_usage:
                    yield renderer.usage(piece)
            elif isinstance(piece, ToolCallPiece):
                yield renderer.tool_call(piece)
            else:
                yield renderer.piece(piece)


def _blaming(schema_field: str, prompt_field: str = "messages") -> AbstractContextManager[None]:
    """Errors about a schema or a prompt are about the fields that hold them."""
    return blaming({SCHEMA: schema_field, "messages": prompt_field})
