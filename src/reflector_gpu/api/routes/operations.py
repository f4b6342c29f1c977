"""Health, readiness and metrics."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from reflector_gpu.api.dependencies import AppMetrics, AppService
from reflector_gpu.api.errors import ANY_FAILURE
from reflector_gpu.api.metrics import CONTENT_TYPE
from reflector_gpu.errors import Unavailable
from reflector_gpu.jobs.jobs import Jobs

HEALTH = ("/health", "/health/live", "/health/ready")
"""Paths that need no key."""


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


router = APIRouter(tags=["operations"], responses={"default": ANY_FAILURE})


@router.head("/health", include_in_schema=False)
@router.head("/health/live", include_in_schema=False)
@router.get("/health")
@router.get("/health/live")
async def live() -> Health:
    """Check that the server runs. This needs no key."""
    return Health(status="ok")


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready")
async def ready(request: Request, service: AppService) -> Readiness:
    """Check that the configured model is loaded.

    Until it is, the answer is 503. This needs no key, but only those who send one are told why.
    """
    try:
        service.check_ready()
    except Unavailable as error:
        if hasattr(request.state, "client"):
            raise
        # The reason may name folders, or be a library's own words.
        message = "The server is not ready; send the key to learn why."
        raise type(error)(message, retry_after=error.retry_after) from None
    if (model := service.default) is None:
        return Readiness(status="ready", model=None, caveat=None)
    return Readiness(status="ready", model=model.name, caveat=service.recognisers.caveat(model))


@router.get("/metrics", response_class=Response)
async def read_metrics(request: Request, metrics: AppMetrics) -> Response:
    """Show counters and gauges in the text format of Prometheus."""
    jobs: Jobs | None = request.app.state.jobs
    with suppress(Unavailable):  # of the database: then the other figures matter even more
        metrics.jobs(await jobs.store.counts() if jobs else {})
    return Response(metrics.render(), media_type=CONTENT_TYPE)
