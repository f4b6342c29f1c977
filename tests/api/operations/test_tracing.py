"""Traces: what a collector receives of real work."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from reflector_gpu.api.tracing import NO_TRACER, configured_tracer
from tests.api.hosts import Answer, AudioHost
from tests.api.support import FROM_URL, TRANSCRIPTIONS, does_everything, eventually
from tests.live import LiveServer

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Receives traces as OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.service: dict[str, str] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.receive(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def receive(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            self.service = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def __enter__(self) -> Collector:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra 'otel'")
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def server(collector: Collector, data: Path) -> Iterator[LiveServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # milliseconds
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=tests")
        with does_everything(data) as server:
            yield server


def _span(collector: Collector, request_id: str) -> Any:
    """The span of a request, once it has come."""

    def look() -> Any:
        found = (
            span
            for span in collector.spans
            if _attributes(span).get("reflector.request_id") == request_id
        )
        return next(found, None)

    return eventually(look)


def _attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def _below(collector: Collector, span: Any) -> list[Any]:
    return [one for one in collector.spans if one.parent_span_id == span.span_id]


def test_a_request_continues_the_trace_of_its_client_with_a_span_for_each_stage(
    server: LiveServer, collector: Collector, clip: bytes, host: AudioHost
) -> None:
    url = host.put("/traced.wav", Answer(clip))
    with server.client() as client:
        answer = client.post(
            FROM_URL,
            json={"audio_file_url": url, "diarize": True, "translate_to": "fr"},
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "traced"},
        )
    assert answer.status_code == 200
    span = _span(collector, "traced")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.name == f"POST {FROM_URL}"
    told = _attributes(span)
    assert told["http.route"] == FROM_URL
    assert told["http.response.status_code"] == 200
    below = _below(collector, span)
    stages = {one.name for one in below}
    assert stages == set(
        "download decode detect_speech queue recognise diarize translate render".split()
    )
    for one in below:
        assert span.start_time_unix_nano - 10**6 <= one.start_time_unix_nano, one.name
        assert one.start_time_unix_nano <= one.end_time_unix_nano, one.name
        assert one.end_time_unix_nano <= span.end_time_unix_nano + 10**6, one.name
        assert _attributes(one)["reflector.busy_seconds"] >= 0
    [recognised] = [one for one in below if one.name == "recognise"]
    assert _attributes(recognised)["reflector.model"] == "scripted"
    assert collector.service["service.name"] == "reflector-gpu"
    assert collector.service["deployment.environment"] == "tests"


@pytest.mark.parametrize("parent", ["", "00-xyz-1-01", f"00-{'0' * 32}-{PARENT}-01", "\u00e9"])
def test_a_trace_that_makes_no_sense_is_not_continued(
    server: LiveServer, collector: Collector, parent: str
) -> None:
    with server.client() as client:
        answer = client.get("/v1/models", headers={b"traceparent": parent.encode()})
    span = _span(collector, answer.headers["X-Request-ID"])
    assert not span.parent_span_id
    assert span.status.code == 0


def test_a_bug_of_ours_is_marked_and_a_mistake_of_a_client_is_not(
    server: LiveServer, collector: Collector, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    with server.client() as client, monkeypatch.context() as patch:
        wrong = client.post(TRANSCRIPTIONS, files={"file": b"no audio"})
        patch.setattr(server.service, "request", fail)
        failed = client.post(TRANSCRIPTIONS, files={"file": clip})
    assert (wrong.status_code, failed.status_code) == (400, 500)
    for answer, code in ((wrong, 0), (failed, 2)):  # STATUS_CODE_UNSET, STATUS_CODE_ERROR
        assert _span(collector, answer.headers["X-Request-ID"]).status.code == code


def test_a_job_has_a_trace_of_its_own(
    server: LiveServer, collector: Collector, clip: bytes
) -> None:
    with server.client() as client:
        job = client.post("/v1/jobs", files={"file": ("a.wav", clip)}).json()["id"]
        eventually(lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "completed")

    def look() -> Any:
        named = (one for one in collector.spans if one.name == "job transcription")
        return next((one for one in named if _attributes(one)["reflector.job_id"] == job), None)

    span = eventually(look)
    assert not span.parent_span_id
    assert {"decode", "recognise"} <= {one.name for one in _below(collector, span)}


def test_requests_of_monitoring_are_not_traced(server: LiveServer, collector: Collector) -> None:
    with server.client() as client:
        for path in ("/health/ready", "/metrics", "/v1/models"):
            client.get(path, headers={"X-Request-ID": f"watch{path}"})
    _span(collector, "watch/v1/models")
    ids = {_attributes(span).get("reflector.request_id") for span in collector.spans}
    assert not {"watch/health/ready", "watch/metrics"} & ids


# Off


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SERVICE_NAME": "ours"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_without_a_destination_there_are_no_traces(variables: dict[str, str]) -> None:
    assert configured_tracer(variables) is NO_TRACER


def test_where_opentelemetry_is_not_installed_the_log_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "reflector_gpu.api.open_telemetry", raising=False)
    with caplog.at_level(logging.ERROR):
        tracer = configured_tracer({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    assert tracer is NO_TRACER
    assert "pip install 'reflector-gpu[otel]'" in caplog.text


def test_an_exporter_that_we_do_not_have_is_named(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("opentelemetry.sdk")
    tracer = configured_tracer({"OTEL_TRACES_EXPORTER": "zipkin"})
    tracer.close()
    assert "'zipkin'" in caplog.text
