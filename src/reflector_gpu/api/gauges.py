"""Gauges: what is looked up at the moment when Prometheus asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reflector_gpu.api.gpu_memory import gpu_memory
from reflector_gpu.jobs.job import Status
from reflector_gpu.runtime.pool import Pool, PoolState
from reflector_gpu.service import Service
from reflector_gpu.types import Priority


class ServiceGauges(Collector):
    """The state of a service: its requests, its workers, its decoders, its GPUs."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        yield from self._admission()
        yield from self._pools()
        yield from self._decoders()
        yield from _gpus()

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
        pools = self._service.workers.pools
        yield _by_model(
            "reflector_chunks_waiting", "Chunks that wait for a worker", pools, lambda p: p.waiting
        )
        yield _by_model("reflector_workers", "Worker processes wanted", pools, lambda p: p.workers)
        yield _by_model(
            "reflector_workers_ready",
            "Worker processes that can work",
            pools,
            lambda p: p.workers_ready,
        )
        states = GaugeMetricFamily(
            "reflector_model_state",
            "1 for the state that a model is in, 0 for the others",
            labels=["model", "state"],
        )
        of_models = {pool.name: pool.state for pool in pools}
        for name, state in of_models.items():
            for one in PoolState:
                states.add_metric([name, one.value], one is state)
        yield states

    def _decoders(self) -> Iterator[Metric]:
        decoders = self._service.decoders
        yield GaugeMetricFamily(
            "reflector_decoders_working", "Recordings being decoded", decoders.working
        )
        yield CounterMetricFamily(
            "reflector_decoder_deaths", "Decoders that died of a recording", decoders.deaths
        )


class JobGauges(Collector):
    """How many jobs wait and run, by `counts`. Without jobs there is no series."""

    def __init__(self) -> None:
        self.counts: Mapping[Status, int] = {}

    def collect(self) -> Iterable[Metric]:
        jobs = GaugeMetricFamily(
            "reflector_jobs",
            "Jobs that wait or run, on all servers of the database",
            labels=["status"],
        )
        for status, count in self.counts.items():
            jobs.add_metric([status.value], count)
        yield jobs


def _by_model(
    name: str, text: str, pools: Iterable[Pool[Any, Any]], value: Callable[[Pool[Any, Any]], int]
) -> Metric:
    """A gauge of pools. Those with the same name, such as a recogniser and a translator, are
    added."""
    sums: Counter[str] = Counter()
    for pool in pools:
        sums[pool.name] += value(pool)
    family = GaugeMetricFamily(name, text, labels=["model"])
    for model, count in sums.items():
        family.add_metric([model], count)
    return family


def _gpus() -> Iterator[Metric]:
    used = GaugeMetricFamily(
        "reflector_gpu_memory_used_bytes", "Memory in use on a GPU, by any program", labels=["gpu"]
    )
    total = GaugeMetricFamily("reflector_gpu_memory_bytes", "Memory of a GPU", labels=["gpu"])
    for number, memory in enumerate(gpu_memory()):
        used.add_metric([str(number)], memory.used)
        total.add_metric([str(number)], memory.total)
    yield used
    yield total
