"""Is it alive, is it ready, how is it doing."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from reflector_gpu.api.errors import ErrorBody
from reflector_gpu.api.metrics import CONTENT_TYPE, Metrics
from reflector_gpu.service import Service
from reflector_gpu.types import TranscribeOptions

HEALTH = ("/health", "/health/live", "/health/ready")
"""What needs no key."""


class Health(BaseModel):
    status: str = Field(examples=["ok"])


class Readiness(Health):
    """What the server answers when it is ready."""

    model: str | None = Field(
        description="What answers a request that names neither a model nor a language; null where "
        "nothing is recognised, as in an app that only translates.",
        examples=["large-v3-turbo"],
    )
    caveat: str | None = Field(
        description="What happens to such a request if that model cannot detect languages."
    )


def router(service: Service, metrics: Metrics) -> APIRouter:
    failure = {"model": ErrorBody, "description": "What went wrong"}
    routes = APIRouter(tags=["operations"], responses={"default": failure})

    @routes.get("/health")
    @routes.get("/health/live")
    async def live() -> Health:
        """The process answers. Needs no key."""
        return Health(status="ok")

    @routes.get("/health/ready")
    async def ready() -> Readiness:
        """The configured model is loaded; 503 with the reason until it is. Needs no key."""
        service.check_ready()
        if not service.configured:
            return Readiness(status="ready", model=None, caveat=None)
        model = service.resolve(None, TranscribeOptions())
        return Readiness(status="ready", model=model.name, caveat=service.recognisers.caveat(model))

    for path, answer in zip(HEALTH, (live, live, ready), strict=True):
        routes.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)

    @routes.get("/metrics", response_class=Response)
    async def read_metrics() -> Response:
        """Counters and gauges in Prometheus' text format."""
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return routes
