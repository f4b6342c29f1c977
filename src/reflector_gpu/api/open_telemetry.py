"""Traces by OpenTelemetry's SDK, which reads its own variables."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from reflector_gpu.stages import Done
from reflector_gpu.version import __version__

logger = logging.getLogger(__name__)

_EXPORTERS = {"otlp": OTLPSpanExporter, "console": ConsoleSpanExporter}
_PREFIX = "reflector."


class OpenTelemetry:
    """Implements `Tracer`."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        names = OTELResourceDetector().detect().attributes
        ours = {"service.name": "reflector-gpu", "service.version": __version__, **names}
        self._provider = TracerProvider(resource=Resource.create(ours), shutdown_on_exit=False)
        for name in variables.get("OTEL_TRACES_EXPORTER", "otlp").split(","):
            if exporter := _EXPORTERS.get(name.strip()):
                self._provider.add_span_processor(BatchSpanProcessor(exporter()))
            else:
                logger.error("OTEL_TRACES_EXPORTER: '%s' is none of otlp, console, none", name)
        self._tracer = self._provider.get_tracer("reflector_gpu", __version__)

    @contextmanager
    def request(self, headers: Mapping[str, str]) -> Iterator[OpenSpan]:
        parent = propagate.extract(headers)
        span = self._tracer.start_span("request", parent, trace.SpanKind.SERVER)
        with self._open(span) as opened:
            yield opened

    @contextmanager
    def job(self, name: str, attributes: Mapping[str, str | int]) -> Iterator[OpenSpan]:
        with self._open(self._tracer.start_span(name, kind=trace.SpanKind.CONSUMER)) as opened:
            opened.named(name, attributes)
            yield opened

    def close(self) -> None:
        self._provider.shutdown()

    @contextmanager
    def _open(self, span: trace.Span) -> Iterator[OpenSpan]:
        opened = OpenSpan(self._tracer, span)
        try:
            yield opened
        except Exception:  # only to mark it; it is logged where it is caught
            opened.fail()
            raise
        finally:
            span.end()


class OpenSpan:
    """Implements `Span`."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span)

    @property
    def log_fields(self) -> Mapping[str, str]:
        ids = self._span.get_span_context()
        return {
            "trace_id": trace.format_trace_id(ids.trace_id),
            "span_id": trace.format_span_id(ids.span_id),
        }

    def stage(self, done: Done) -> None:
        since_epoch = time.time_ns() - time.monotonic_ns()
        about = {"busy_seconds": round(done.busy, 6), **done.about}
        below = self._tracer.start_span(
            done.stage,
            self._context,
            attributes={_PREFIX + name: value for name, value in about.items()},
            start_time=since_epoch + int(done.began * 1e9),
        )
        if done.failed:
            below.set_status(trace.StatusCode.ERROR)
        below.end(since_epoch + int(done.ended * 1e9))

    def named(self, name: str, attributes: Mapping[str, str | int]) -> None:
        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))

    def fail(self) -> None:
        self._span.set_status(trace.StatusCode.ERROR)
