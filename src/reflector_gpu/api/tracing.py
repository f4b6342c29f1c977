"""Traces: a span for each request and job, and below it one for each of its stages.

They are made by OpenTelemetry (the extra ``otel``) and are off unless its own variables say where
traces go; otherwise nothing of it is imported. `open_telemetry` is the only file that knows it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from reflector_gpu.stages import Done

logger = logging.getLogger(__name__)

_EXPORTER = "OTEL_TRACES_EXPORTER"
_DESTINATIONS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Span(Protocol):
    """One piece of work in a trace."""

    @property
    def log_fields(self) -> Mapping[str, str]:
        """The ids by which the log can refer to it."""
        ...

    def stage(self, done: Done) -> None:
        """Add a stage below it."""

    def named(self, name: str, attributes: Mapping[str, str | int]) -> None:
        """Set its name, and add attributes."""

    def fail(self) -> None:
        """Mark it as failed, by a fault that is not the client's."""


class Tracer(Protocol):
    """Makes spans, and sends them away."""

    def request(self, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """The span of a request, in the trace that its ``headers`` name, if they name one."""
        ...

    def job(self, name: str, attributes: Mapping[str, str | int]) -> AbstractContextManager[Span]:
        """The span of work that no client waits for."""
        ...

    def close(self) -> None:
        """Send what is left. This may take some seconds."""


class _NoSpan:
    log_fields: Mapping[str, str] = {}

    def stage(self, done: Done) -> None: ...
    def named(self, name: str, attributes: Mapping[str, str | int]) -> None: ...
    def fail(self) -> None: ...


class _NoTracer:
    @contextmanager
    def request(self, headers: Mapping[str, str]) -> Iterator[Span]:
        yield _NoSpan()

    @contextmanager
    def job(self, name: str, attributes: Mapping[str, str | int]) -> Iterator[Span]:
        yield _NoSpan()

    def close(self) -> None: ...


NO_TRACER: Tracer = _NoTracer()
"""Traces nothing."""


def configured_tracer(variables: Mapping[str, str] = os.environ) -> Tracer:
    """What OpenTelemetry's ``variables`` ask for: nothing, if none of them names a destination."""
    if not _wanted(variables):
        return NO_TRACER
    try:
        from reflector_gpu.api.open_telemetry import OpenTelemetry
    except ImportError:
        # Such variables may be set for all programs of a machine, so this one serves all the same.
        logger.error(
            "OTEL_... variables ask for traces, and there are none: "
            "pip install 'reflector-gpu[otel]'"
        )
        return NO_TRACER
    return OpenTelemetry(variables)


def _wanted(variables: Mapping[str, str]) -> bool:
    if variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = variables.get(_EXPORTER)
    if exporter is not None:
        return exporter not in ("", "none")
    return any(variables.get(name) for name in _DESTINATIONS)
