"""Metrics for Prometheus. Each app has its own registry, so that a process can have several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reflector_gpu.service import Service
from reflector_gpu.types import Completion, Priority

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "reflector_requests",
            "Requests by route and status",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "reflector_request_seconds",
            "Time from a request's first byte to the last of its answer",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._audio = Counter(
            "reflector_audio_seconds",
            "Seconds of audio transcribed",
            ("model",),
            registry=self._registry,
        )
        self._tokens = Counter(
            "reflector_llm_tokens",
            "Tokens that language models read and wrote",
            ("model", "kind"),
            registry=self._registry,
        )
        self._registry.register(_Gauges(service))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def audio(self, model: str, seconds: float) -> None:
        self._audio.labels(model).inc(seconds)

    def completion(self, model: str, done: Completion) -> None:
        self._tokens.labels(model, "prompt").inc(done.prompt_tokens)
        self._tokens.labels(model, "completion").inc(done.completion_tokens)

    def render(self) -> bytes:
        return generate_latest(self._registry)


class _Gauges(Collector):
    """Gauges that are read from the service when Prometheus asks."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        yield from self._admission()
        yield from self._pools()

    def _admission(self) -> Iterator[Metric]:
        running = GaugeMetricFamily(
            "reflector_requests_running", "Requests being worked on", labels=["class"]
        )
        backlog = GaugeMetricFamily(
            "reflector_backlog_seconds", "Seconds of their audio yet to be done", labels=["class"]
        )
        admission = self._service.admission
        for priority in Priority:
            running.add_metric([priority.name.lower()], admission.taken(priority))
            backlog.add_metric([priority.name.lower()], admission.backlog(priority))
        yield running
        yield backlog

    def _pools(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "reflector_chunks_waiting", "Chunks that wait for a worker", labels=["model"]
        )
        ready = GaugeMetricFamily(
            "reflector_workers_ready", "Worker processes that can work", labels=["model"]
        )
        for pool in self._service.workers.pools:
            waiting.add_metric([pool.name], pool.waiting)
            ready.add_metric([pool.name], pool.workers_ready)
        yield waiting
        yield ready
