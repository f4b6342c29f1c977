"""Silence before a recording: the route of Reflector."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import openapi, vocabularies
from reflector_gpu.api import responses as answers
from reflector_gpu.api.connection import read_body, unless_disconnected
from reflector_gpu.api.form_values import json_values
from reflector_gpu.api.intake import Intake, Visit, blaming_the_url
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.padding import Padded, PadFields
from reflector_gpu.service import Service
from reflector_gpu.types import Priority

_MAX_JSON_BYTES = 100_000


def router(service: Service, metrics: Metrics) -> APIRouter:
    """The padding route over ``service``."""
    routes = APIRouter(tags=["padding"])
    intake = Intake(service, metrics)

    @routes.post("/pad", openapi_extra=openapi.PAD)
    async def pad(request: Request) -> Response:
        """Put silence before a recording that the server fetches, and PUT the result elsewhere.

        The result is Opus in WebM, 48 kHz, stereo, 128 kb/s. Its sound begins exactly
        `start_time_seconds` in, whatever the recording's first time stamp is; later holes in its
        time stamps become silence.
        """
        async with intake.visit(request, Priority.FILE) as visit:
            settings = service.settings
            body = await read_body(request, settings.body_seconds, _MAX_JSON_BYTES)
            fields = intake.read(request, vocabularies.PAD, json_values(body))
            if fields.track_index is not None:
                visit.note("track", str(fields.track_index))
            size = await unless_disconnected(request, _padded(visit, fields))
            return answers.response(Padded(size=size, cancelled=False), None)

    return routes


async def _padded(visit: Visit, fields: PadFields) -> int:
    padding = visit.service.padding
    await padding.check_output(fields.output_url)
    spool = visit.download(fields.track_url)
    with visit.permit.recording() as recording, blaming_the_url("track_url"):
        size = await padding.pad(
            spool, fields.start_time_seconds, fields.output_url, recording.expect
        )
        recording.finish()
        return size
