"""Lines of the access log as a collector gets them."""

from __future__ import annotations

from opentelemetry.proto.logs.v1.logs_pb2 import ScopeLogs

from portico.observe.access_log import AccessRecord
from portico.observe.otlp.logs import ExportedLog
from support.collector import attributes_of


def test_all_that_a_line_may_have_is_an_attribute() -> None:
    sent: list[bytes] = []
    line = AccessRecord(
        *("2026-01-31T12:00:00.123Z", "GET", "/x", "192.0.2.7", 200, 1.5, "id", "ab" * 16, "s", "r", "up:1", 1.0, 1),
        *(0, 5, "ann", "miss", "reason", "shadow", "v1", "error", "listener", "host", "cd" * 8),
        fields={"user_agent": "curl"},
        cost={"tokens": 812},
    )
    assert all(getattr(line, field) is not None for field in line.__struct_fields__)
    ExportedLog(sent.append).add(line)
    (record,) = ScopeLogs.FromString(sent[0]).log_records
    found = attributes_of(record.attributes)
    assert (found["portico.fields.user_agent"], found["portico.cost.tokens"]) == ("curl", 812)
    assert (record.trace_id.hex(), record.span_id.hex()) == ("ab" * 16, "cd" * 8)
