"""Who speaks when: the route of Reflector."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from reflector_gpu.api import answers, openapi, vocabularies
from reflector_gpu.api.connection import unless_disconnected
from reflector_gpu.api.desk import Desk, Visit, blaming_the_url, single
from reflector_gpu.api.fields import DiarizeFields
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.render import reflector
from reflector_gpu.audio.spool import Spool
from reflector_gpu.service import Service
from reflector_gpu.types import Priority


def router(service: Service, metrics: Metrics) -> APIRouter:
    """The diarization route over ``service``."""
    routes = APIRouter(tags=["diarization"])
    desk = Desk(service, metrics)

    @routes.post("/diarize", openapi_extra=openapi.DIARIZE)
    async def diarize(request: Request) -> Response:
        """Tell speakers apart in a recording that is uploaded, or fetched by the server.

        Speakers are numbered from 0 as they first speak; turns may overlap.
        """
        fields = desk.form_fields(request, vocabularies.DIARIZE)
        if fields.audio_file_url:
            async with desk.visit(request, Priority.FILE) as visit:
                spool = visit.download(fields.audio_file_url)
                with blaming_the_url():
                    return await unless_disconnected(request, _answer(visit, spool, fields))
        async with desk.visit(request, Priority.LIVE) as visit:
            form = await desk.form(visit)
            fields = desk.form_fields(request, vocabularies.DIARIZE, form)
            work = _answer(visit, single(form).spool, fields)
            return await unless_disconnected(request, work)

    return routes


async def _answer(visit: Visit, spool: Spool, fields: DiarizeFields) -> Response:
    found = await visit.turns(spool, fields.counts)
    return answers.response(reflector.diarization(found, offset=fields.timestamp), None)
