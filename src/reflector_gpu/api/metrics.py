"""Metrics for Prometheus. Each app has its own registry, so that a process can have several.

What happens is counted here. What can be looked up is read by `api.gauges` when Prometheus asks.
No label has a value that a client could make up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from reflector_gpu.api.gauges import JobGauges, ServiceGauges
from reflector_gpu.jobs.job import Status
from reflector_gpu.runtime.watching import BatchDone
from reflector_gpu.service import Service
from reflector_gpu.stages import Done
from reflector_gpu.types import Completion, Priority
from reflector_gpu.version import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# They would be a second series for each counter, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # their package has no types here

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_SHORT_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_DELAYS = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)
_LOADING_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300)
_TIMES_REALTIME = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128)
_RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9, 1)


class Metrics:
    """Counts what happens. Also a `runtime.watching.PoolWatcher`, and a listener of `stages`."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        # Metrics are looked up by their labels, which takes longer than to count.

        def counter(name: str, about: str, labels: Sequence[str]) -> Callable[..., Counter]:
            return cache(Counter(name, about, labels, registry=registry).labels)

        def histogram(
            name: str, about: str, labels: Sequence[str], buckets: Sequence[float]
        ) -> Callable[..., Histogram]:
            return cache(Histogram(name, about, labels, registry=registry, buckets=buckets).labels)

        build = Info("reflector_build", "The version that runs", registry=registry)
        build.info({"version": __version__})
        self._requests = counter(
            "reflector_requests", "Requests by route and status", ("method", "route", "status")
        )
        self._request_seconds = histogram(
            "reflector_request_duration_seconds",
            "Time from a request's first byte to the last of its answer",
            ("route",),
            buckets=_SECONDS,
        )
        self._first_word = histogram(
            "reflector_time_to_first_word_seconds",
            "Time from the first byte of a request that streams to its first words",
            ("route",),
            buckets=_DELAYS,
        )
        self._stages = histogram(
            "reflector_stage_duration_seconds",
            "Time that a stage worked on a request or on a piece of it",
            ("stage",),
            buckets=_SHORT_SECONDS,
        )
        self._audio = counter("reflector_audio_seconds", "Seconds of audio transcribed", ("model",))
        self._rtfx = histogram(
            "reflector_rtfx",
            "Seconds of audio transcribed per second (the inverse real-time factor), by recording",
            ("model",),
            buckets=_TIMES_REALTIME,
        )
        self._tokens = counter(
            "reflector_llm_tokens", "Tokens that language models read and wrote", ("model", "kind")
        )
        self._queue_wait = histogram(
            "reflector_queue_wait_seconds",
            "Time that a piece of work waited until a worker took it",
            ("model", "class"),
            buckets=_SHORT_SECONDS,
        )
        self._batch_size = histogram(
            "reflector_batch_size", "Pieces of work in a batch", ("model",), buckets=_ITEMS
        )
        self._batch_fill = histogram(
            "reflector_batch_fill_ratio",
            "Pieces of work in a batch, of as many as it could hold",
            ("model",),
            buckets=_RATIOS,
        )
        self._batch_seconds = histogram(
            "reflector_batch_duration_seconds",
            "Time that a worker took for a batch",
            ("model",),
            buckets=_SHORT_SECONDS,
        )
        self._load_seconds = histogram(
            "reflector_model_load_duration_seconds",
            "Time that a worker took to load its model",
            ("model",),
            buckets=_LOADING_SECONDS,
        )
        self._restarts = counter(
            "reflector_worker_restarts", "Workers that have died and were replaced", ("model",)
        )
        self._sessions = Gauge(
            "reflector_realtime_sessions", "Realtime sessions that are open", registry=registry
        )
        self._word_delay = histogram(
            "reflector_realtime_word_delay_seconds",
            "Time from the end of a word's audio to the word, in realtime sessions",
            ("model",),
            buckets=_DELAYS,
        )
        self._jobs_ended = counter(
            "reflector_jobs_ended", "Jobs that this server has ended", ("kind", "status")
        )
        self._jobs = JobGauges()
        registry.register(self._jobs)

    def gauge(self, service: Service) -> None:
        """Show the state of ``service`` as well."""
        self._registry.register(ServiceGauges(service))

    # Requests

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests(method, route, str(status)).inc()
        self._request_seconds(route).observe(seconds)

    def first_word(self, route: str, seconds: float) -> None:
        self._first_word(route).observe(seconds)

    def stage(self, done: Done) -> None:
        if not done.failed:
            self._stages(done.stage).observe(done.busy)

    def audio(self, model: str, seconds: float) -> None:
        self._audio(model).inc(seconds)

    def recording(self, model: str, seconds: float, took: float) -> None:
        """A recording of so many seconds was transcribed; it ``took`` some."""
        self.audio(model, seconds)
        if seconds and took > 0:
            self._rtfx(model).observe(seconds / took)

    def completion(self, model: str, done: Completion) -> None:
        self._tokens(model, "prompt").inc(done.prompt_tokens)
        self._tokens(model, "completion").inc(done.completion_tokens)

    # Workers

    def waited(self, pool: str, priority: Priority, seconds: float) -> None:
        self._queue_wait(pool, priority.name.lower()).observe(seconds)

    def worked(self, pool: str, batch: BatchDone) -> None:
        self._batch_size(pool).observe(batch.items)
        self._batch_fill(pool).observe(batch.items / batch.room)
        self._batch_seconds(pool).observe(batch.seconds)

    def loaded(self, pool: str, seconds: float) -> None:
        self._load_seconds(pool).observe(seconds)
        self._restarts(pool)  # shows 0, or the first restart would be no increase

    def died(self, pool: str) -> None:
        self._restarts(pool).inc()

    # Realtime sessions and jobs

    def session(self) -> AbstractContextManager[object]:
        """A realtime session is open within the block."""
        return self._sessions.track_inprogress()

    def word_delay(self, model: str, seconds: float) -> None:
        self._word_delay(model).observe(seconds)

    def job_ended(self, kind: str, status: Status) -> None:
        self._jobs_ended(kind, status.value).inc()

    def jobs(self, counts: Mapping[Status, int]) -> None:
        """So many jobs have each status now."""
        self._jobs.counts = counts

    def render(self) -> bytes:
        return generate_latest(self._registry)
