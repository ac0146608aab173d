"""Lines of the access log as log records, with the trace and the span that they belong to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from portico.observe.access_log import AccessRecord, Log
from portico.observe.otlp.protobuf import Value, any_value, attributes, fixed64, number, part, text_of

INFO, WARN, ERROR = 9, 13, 17
"""Numbers of severities."""
_NAMES: Final = {
    "timestamp": None,
    "trace_id": None,
    "span_id": None,
    "fields": None,
    "cost": None,
    "method": "http.request.method",
    "status_code": "http.response.status_code",
    "path": "url.path",
    "client_ip": "client.address",
    "bytes_in": "http.request.body.size",
    "bytes_out": "http.response.body.size",
}
"""What fields are called where OpenTelemetry has a name for them; None: they are said otherwise."""


def record(
    severity: int, word: str, body: str, values: dict[str, Value | None], trace_id: str = "", span_id: str = ""
) -> bytes:
    """`LogRecord` as a field of its scope."""
    now = time.time_ns()
    pieces = [
        fixed64(1, now),
        number(2, severity),
        part(3, text_of(word)),
        part(5, any_value(body)),
        attributes(6, values),
        fixed64(11, now),
    ]
    if trace_id and span_id:
        pieces += (part(9, bytes.fromhex(trace_id)), part(10, bytes.fromhex(span_id)))
    return part(2, b"".join(pieces))


class ExportedLog:
    """Takes records, and hands them on as bytes."""

    def __init__(self, export: Callable[[bytes], None]) -> None:
        self._export = export

    def add(self, record_of: AccessRecord) -> None:
        """Take one."""
        values: dict[str, Value | None] = {}
        for field in AccessRecord.__struct_fields__:
            name = _NAMES.get(field, f"portico.{field}")
            if name is not None:
                values[name] = getattr(record_of, field)
        values |= _named("portico.fields", record_of.fields) | _named("portico.cost", record_of.cost)
        severity, word = (ERROR, "ERROR") if record_of.status_code >= 500 else (INFO, "INFO")
        body = f"{record_of.method} {record_of.path} {record_of.status_code}"
        self._export(record(severity, word, body, values, record_of.trace_id, record_of.span_id or ""))


def _named(prefix: str, values: Mapping[str, Value] | None) -> dict[str, Value | None]:
    """Values that have names of their own, an attribute each."""
    return {f"{prefix}.{name}": value for name, value in (values or {}).items()}


class BothLogs:
    """Has two logs take each record."""

    def __init__(self, first: Log, second: Log) -> None:
        self._both = first, second

    def add(self, record_of: AccessRecord) -> None:
        """Take one."""
        for log in self._both:
            log.add(record_of)
