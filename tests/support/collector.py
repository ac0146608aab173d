"""A collector of OpenTelemetry (OTLP over HTTP) that keeps what it is sent, decoded by classes that are not ours."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from .waiting import until

KINDS = {2: "server", 3: "client"}


class Span(NamedTuple):
    """A span in plain words; ids are hexadecimal, times nanoseconds since the epoch."""

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    start: int
    end: int
    attributes: dict[str, Any]
    failed: bool
    flags: int
    state: str
    resource: dict[str, Any]


class Answer(NamedTuple):
    """What the collector answers with."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


def value_of(value: Any) -> Any:
    """What an `AnyValue` holds."""
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Attributes as a mapping: each is there once."""
    found = {pair.key: value_of(pair.value) for pair in pairs}
    assert len(found) == len(pairs), [pair.key for pair in pairs]
    return found


def partial(rejected: int, why: str) -> Answer:
    """An answer by which some spans were not taken."""
    success = ExportTracePartialSuccess(rejected_spans=rejected, error_message=why)
    return Answer(200, {}, ExportTraceServiceResponse(partial_success=success).SerializeToString())


class Collector:
    """Listens on a free port, or on `port`. `answer` says what each request gets; it may wait first."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.answer: Callable[[], Answer] = lambda: Answer(200)
        self.lock = threading.Lock()
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self._spans: list[Span] = []
        self.logs: list[Any] = []
        self.metrics: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector.receive(self)

            def log_message(self, *arguments: Any) -> None:
                """Not to standard error."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A gateway that ends breaks off."""

        self.server = Server(("127.0.0.1", port), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    def receive(self, request: BaseHTTPRequestHandler) -> None:
        """Decode one request, unless it is refused."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        with self.lock:
            self.paths.append(request.path)
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
        answer = self.answer()
        if answer.status == 200:
            if request.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            self._keep(request.path, body)
        request.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(answer.body)

    def _keep(self, path: str, body: bytes) -> None:
        with self.lock:
            if path.endswith("/v1/logs"):
                for part in ExportLogsServiceRequest.FromString(body).resource_logs:
                    self.logs += [record for scope in part.scope_logs for record in scope.log_records]
            elif path.endswith("/v1/metrics"):
                for each in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    self.metrics.append({m.name: m for scope in each.scope_metrics for m in scope.metrics})
            else:
                for found in ExportTraceServiceRequest.FromString(body).resource_spans:
                    resource = attributes_of(found.resource.attributes)
                    self._spans += [_span(span, resource) for scope in found.scope_spans for span in scope.spans]

    @property
    def spans(self) -> list[Span]:
        """All that have come."""
        with self.lock:
            return [*self._spans]

    def of(self, trace: str, count: int) -> list[Span]:
        """The spans of a trace, by their beginnings, once there are so many of them."""

        def found() -> list[Span]:
            return sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.start)

        until(lambda: len(found()) >= count, f"{count} spans of {trace}")
        assert len(found()) == count, found()
        return found()


def _span(span: Any, resource: dict[str, Any]) -> Span:
    return Span(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        KINDS[span.kind],
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        attributes_of(span.attributes),
        span.status.code == 2,
        span.flags,
        span.trace_state,
        resource,
    )
