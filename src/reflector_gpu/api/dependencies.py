"""What a route takes from its application besides the request.

`create_app` puts each of these into ``app.state``, so that routes are plain functions of modules.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from reflector_gpu.api.intake import Intake
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.service import Service

# These are coroutines because FastAPI runs other functions in a thread, for each request.


async def _intake(request: Request) -> Intake:
    intake: Intake = request.app.state.intake
    return intake


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


AppIntake: TypeAlias = Annotated[Intake, Depends(_intake)]
AppMetrics: TypeAlias = Annotated[Metrics, Depends(_metrics)]
AppService: TypeAlias = Annotated[Service, Depends(_service)]
