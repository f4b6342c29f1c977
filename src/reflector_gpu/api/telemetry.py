"""What hears of the work that a server does: metrics, traces and the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.tracing import Tracer
from reflector_gpu.jobs.job import Job
from reflector_gpu.logs import log_fields
from reflector_gpu.stages import telling


@dataclass(frozen=True, slots=True)
class Telemetry:
    metrics: Metrics
    tracer: Tracer

    @contextmanager
    def job(self, job: Job) -> Iterator[None]:
        """The block works on ``job``."""
        about = {"reflector.job_id": job.id}
        with (
            self.tracer.job(f"job {job.kind}", about) as span,
            log_fields(job_id=job.id, **span.log_fields),
            telling(self.metrics.stage, span.stage),
        ):
            yield
