"""Reflector's route that puts silence before a recording."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import openapi, responses, route_fields
from reflector_gpu.api.connection import unless_disconnected
from reflector_gpu.api.dependencies import AppIntake
from reflector_gpu.api.padding_fields import Padded, PadFields
from reflector_gpu.api.request_context import RequestContext, blaming_for_audio
from reflector_gpu.types import Priority

_MAX_JSON_BYTES = 100_000

router = APIRouter(tags=["padding"])


@router.post("/pad", openapi_extra=openapi.pad)
async def pad(request: Request, intake: AppIntake) -> Response:
    """Put silence before a recording that the server fetches, and PUT the result elsewhere.

    The result is Opus in WebM, 48 kHz, stereo, 128 kb/s. Its sound begins exactly
    `start_time_seconds` in, whatever the recording's first time stamp is; later holes in its
    time stamps become silence.
    """
    async with intake.admit(request, Priority.FILE) as context:
        fields = await intake.json_fields(context, route_fields.PAD, _MAX_JSON_BYTES)
        if fields.track_index is not None:
            context.log("track", str(fields.track_index))
        size = await unless_disconnected(request, _padded(context, fields))
        return responses.of_body(Padded(size=size, cancelled=False))


async def _padded(context: RequestContext, fields: PadFields) -> int:
    """Pad and send the recording. The result is how many bytes were sent."""
    padding = context.service.padding
    await padding.check_output(fields.output_url)
    spool = await context.download(fields.track_url)
    with context.permit.recording() as recording, blaming_for_audio("track_url"):
        size = await padding.pad(spool, fields.start_time_seconds, fields.output_url, recording)
        recording.finish()
        return size
