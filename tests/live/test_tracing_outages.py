"""Collectors that are away, slow or wrong, reloads, ends: no exchange is harmed, and what is lost is counted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend, Connection, Refusing
from support.client import request
from support.collector import Answer, Collector, Span
from support.metrics import page
from support.world import Gateway, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
BEGIN = "traces cannot be exported: they wait for the collector, and are dropped when too many do"
END = "traces are exported again"


def config(backend: Backend, **tracing: Any) -> dict[str, Any]:
    return {"gateway": {"tracing": {"delay": "20ms", **tracing}}, "services": {"s": backend}}


def events(gateway: Gateway, *wanted: str) -> list[str]:
    return [event["event"] for event in gateway.events() if event["event"] in (wanted or (BEGIN, END))]


def counted(gateway: Gateway, name: str, *labels: str) -> float:
    return sum(value for (found, has), value in page(gateway).items() if found == name and set(labels) <= set(has))


def recorded(collector: Collector, path: str) -> list[Span]:
    return [span for span in collector.spans if span.attributes.get("url.path") == path]


def test_an_outage_is_reported_twice_and_costs_nobody_anything(backend: Backend) -> None:
    with Refusing() as away, Gateway(config(backend, endpoint=away.url)) as gateway:
        for _ in range(20):
            assert gateway.get("/api/s/x").status == 200
        until(lambda: events(gateway) == [BEGIN], "its beginning is an event")
        with Collector(away.port) as collector:
            collector.answer = lambda: Answer(503, {"Retry-After": "0"})
            until(lambda: len(collector.paths) > 1, "it is tried again")
            collector.answer = lambda: Answer(200)
            until(lambda: len(recorded(collector, "/api/s/x")) == 20, "all have come, none twice")
            until(lambda: events(gateway) == [BEGIN, END], "so is its end")
        assert counted(gateway, "gateway_otlp_dropped_total") == 0


def test_a_collector_that_refuses_is_reported_with_a_hint(backend: Backend) -> None:
    with Collector() as collector, Gateway(config(backend, endpoint=f"{collector.url}/wrong")) as gateway:
        collector.answer = lambda: Answer(404)
        assert gateway.get("/api/s/x").status == 200
        event = until(lambda: [e for e in gateway.events() if e["event"] == "the collector refuses traces"], "told")
        assert event[0]["endpoint"] == f"{collector.url}/wrong/v1/traces"
        assert "404: is /wrong/v1/traces where it takes OTLP over HTTP?" in event[0]["reason"]
        until(lambda: counted(gateway, "gateway_otlp_dropped_total", 'why="rejected"') >= 2, "it is counted")


def test_a_collector_that_hangs_neither_slows_requests_nor_the_end(backend: Backend) -> None:
    let_go = threading.Event()
    own = config(backend, queue="1MiB")
    with Collector() as collector:
        own["gateway"]["tracing"]["endpoint"] = collector.url
        own["gateway"]["limits"] = {"drain_timeout": 0.5}

        def hang() -> Answer:
            let_go.wait(60)
            return Answer(200)

        collector.answer = hang
        try:
            with Gateway(own) as gateway:
                with gateway.wire() as wire:
                    until(lambda: collector.paths or wire.ask("GET", "/api/s/x"), "it hangs")
                    text = "v" * 1000
                    while not counted(gateway, "gateway_otlp_dropped_total", 'why="queue_full"'):
                        for _ in range(200):
                            assert wire.ask("GET", "/api/s/x", f"User-Agent: {text}").status == 200
                gateway.stop()  # within its time
        finally:
            let_go.set()


def test_what_is_left_is_sent_at_the_end(backend: Backend) -> None:
    with Collector() as collector:
        with Gateway(config(backend, endpoint=collector.url, delay=30)) as gateway:
            gateway.get("/api/s/x")
        assert len(recorded(collector, "/api/s/x")) == 1


def test_a_reload_changes_where_and_how_much_without_loss(backend: Backend) -> None:
    with (
        Collector() as first,
        Collector() as second,
        Gateway(config(backend, endpoint=first.url, delay=30)) as gateway,
    ):
        gateway.get("/api/s/one")
        gateway.write(config(backend, endpoint=second.url, headers={"Authorization": "Bearer x"}))
        gateway.reload()
        gateway.get("/api/s/two")
        until(lambda: recorded(second, "/api/s/two"), "the new one gets what comes now")
        until(lambda: recorded(first, "/api/s/one"), "the old one gets what was before")
        assert {each.get("authorization") for each in second.headers} == {"Bearer x"}

        gateway.write(config(backend, endpoint=second.url, sample=0))
        gateway.reload()
        gateway.get("/api/s/three")
        assert str(backend.requests[-1].get("traceparent")).endswith("-02")
        off = config(backend)
        off["gateway"].pop("tracing")
        gateway.write(off)
        gateway.reload()
        gateway.get("/api/s/four")
        assert str(backend.requests[-1].get("traceparent")).endswith("-00")
        gateway.write(config(backend, endpoint=second.url))
        gateway.reload()
        gateway.get("/api/s/five")
        until(lambda: recorded(second, "/api/s/five"), "and once more")
        assert not recorded(second, "/api/s/three") + recorded(second, "/api/s/four")


def test_a_reload_changes_where_lines_of_the_log_go(backend: Backend) -> None:
    def logging_to(collector: Collector | None) -> dict[str, Any]:
        if collector is None:
            return {"gateway": {}, "services": {"s": backend}}
        otlp = {"endpoint": collector.url, "delay": "20ms", "records": ["access"]}
        return {"gateway": {"log": {"otlp": otlp}}, "services": {"s": backend}}

    def lines(collector: Collector) -> list[str]:
        found = [log.body.string_value for log in collector.logs]
        return [line for line in found if "/api/s/" in line]

    with Collector() as first, Collector() as second, Gateway(logging_to(None)) as gateway:
        gateway.get("/api/s/none")
        for number, collector in enumerate((first, second, None, first)):
            gateway.write(logging_to(collector))
            gateway.reload()
            answer = gateway.get(f"/api/s/{number}")
            assert gateway.logged(answer.get("x-request-id"))["status_code"] == 200
        until(lambda: lines(first) == ["GET /api/s/0 200", "GET /api/s/3 200"], "the first gets its own")
        until(lambda: lines(second) == ["GET /api/s/1 200"], "so does the second")
        assert not events(gateway, "a change of workers, embedded_redis, admin or log takes effect after a restart")


def test_an_exchange_whose_route_a_reload_removes_has_its_span(backend: Backend) -> None:
    may_end = threading.Event()

    def slow(connection: Connection) -> None:
        connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        may_end.wait(30)
        connection.send(b"0\r\n\r\n")

    backend.script = slow
    with Collector() as collector:
        own = config(backend, endpoint=collector.url)
        with Gateway({**own, "routes": [{"service": "s", "path": "/gone"}]}) as gateway, gateway.wire() as wire:
            wire.send(request("GET", "/gone/x"))
            assert wire.socket.recv(12) == b"HTTP/1.1 200"
            gateway.write(own)
            gateway.reload()
            may_end.set()
            line = gateway.logged_path("/gone/x")
            server, _ = collector.of(line["trace_id"], 2)
            assert server.attributes["portico.service"] == "s"


def test_contexts_of_clients_by_the_settings(backend: Backend) -> None:
    said = (f"traceparent: 00-{TRACE}-{PARENT}-01", "tracestate: a=1")
    with (
        Collector() as collector,
        Gateway(config(backend, endpoint=collector.url, sample=0, clients="follow")) as gateway,
    ):
        gateway.get("/api/s/follow", *said)
        server, client = collector.of(TRACE, 2)
        assert (server.parent, server.state) == (PARENT, "a=1")
        assert backend.requests[-1].get("traceparent") == f"00-{TRACE}-{client.id}-01"
        assert backend.requests[-1].all("tracestate") == ["a=1"]

        gateway.write(config(backend, endpoint=collector.url, sample=0, clients="join"))
        gateway.reload()
        answer = gateway.get("/api/s/join", *said)
        assert backend.requests[-1].get("traceparent") == f"00-{TRACE}-{PARENT}-00"
        assert backend.requests[-1].all("tracestate") == ["a=1"]
        assert gateway.logged(answer.get("x-request-id"))["trace_id"] == TRACE

        gateway.write(config(backend, endpoint=collector.url, sample="50%"))
        gateway.reload()
        for _ in range(60):
            gateway.get("/api/s/half")
        flags = Counter(str(each.get("traceparent"))[-2:] for each in backend.requests if each.target == "/half")
        assert flags["03"] > 5
        assert flags["02"] > 5
        until(lambda: len(recorded(collector, "/api/s/half")) == flags["03"], "just those have spans")
        states = {each.get("tracestate") for each in backend.requests if str(each.get("traceparent")).endswith("-03")}
        assert states == {"ot=th:8"}

        trusting = config(backend, endpoint=collector.url, sample=0)
        trusting["gateway"]["trusted_proxies"] = ["127.0.0.1"]
        gateway.write(trusting)
        gateway.reload()
        for lines in ((), ("traceparent: ff-1",)):
            answer = gateway.get("/api/s/proxied", *lines)
            trace = gateway.logged(answer.get("x-request-id"))["trace_id"]
            assert backend.requests[-1].all("traceparent") == [f"00-{trace}-{trace[16:]}-02"]
        newer = f"cc-{TRACE}-{PARENT}-00-x"
        gateway.get("/api/s/proxied", f"traceparent: {newer}")
        assert backend.requests[-1].all("traceparent") == [newer]


def test_the_variables_of_opentelemetry(backend: Backend) -> None:
    with Collector() as collector:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b,other=1",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_SERVICE_NAME": "edge",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.name=no",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_BLRP_SCHEDULE_DELAY": "20",
        }
        with Refusing() as away, Gateway({"services": {"s": backend, "gone": {"url": away.url}}}, env=env) as gateway:
            answer = gateway.get("/api/s/x")
            span = until(lambda: recorded(collector, "/api/s/x"), "its span comes")[0]
            assert span.resource["service.name"] == "edge"
            assert span.resource["deployment.environment.name"] == "test"
            lines = until(lambda: [log for log in collector.logs if log.body.string_value == "GET /api/s/x 200"], "log")
            assert (lines[0].trace_id.hex(), lines[0].span_id.hex()) == (span.trace, span.id)
            assert span.trace == answer.get("x-request-id")
            gateway.get("/api/gone/x")
            event = "instance cannot be reached"
            until(lambda: [log for log in collector.logs if log.body.string_value == event], "so does an event")

            def duration() -> Any:
                found = [each.get("gateway_request_duration_seconds") for each in collector.metrics]
                points = [point for each in found if each is not None for point in each.histogram.data_points]
                return [p for p in points if {kv.key: kv.value.string_value for kv in p.attributes}["service"] == "s"]

            point = until(duration, "metrics come")[-1]
            assert point.count == sum(point.bucket_counts) == 1
            assert len(point.explicit_bounds) == len(point.bucket_counts) - 1
            assert point.exemplars[0].trace_id.hex() == span.trace
            assert collector.metrics[-1]["gateway_requests"].sum.is_monotonic
            assert collector.metrics[-1]["gateway_workers"].gauge.data_points[0].as_double == 1
            assert {each.get("x-key") for each in collector.headers} == {"a b"}
            assert {"/v1/traces", "/v1/metrics", "/v1/logs"} == set(collector.paths)
            assert {each.get("content-encoding") for each in collector.headers} == {None}


def test_a_question_without_an_answer_has_the_reason(backend: Backend) -> None:
    with Refusing() as away, Collector() as collector:
        own = config(backend, endpoint=collector.url)
        own["policies"] = {"auth": {"forward": {"url": f"{away.url}/check"}}}
        with Gateway(own) as gateway:
            gateway.clean = False
            answer = gateway.get("/api/s/x")
            _, asked = collector.of(gateway.logged(answer.get("x-request-id"))["trace_id"], 2)
            assert (answer.status, asked.attributes["error.type"]) == (503, "upstream_refused")


@pytest.fixture
def shaky() -> Iterator[Backend]:
    """A service of which every seventh answer is an error, and every eleventh comes late."""
    number = 0
    lock = threading.Lock()

    def script(connection: Connection) -> None:
        nonlocal number
        while connection.next_request() is not None:
            with lock:
                number += 1
                own = number
            if own % 11 == 0:
                time.sleep(0.15)
            connection.answer(b"x", "503 Busy" if own % 7 == 0 else "200 OK")

    with Backend(script) as backend:
        yield backend


def test_a_thousand_exchanges_with_retries_and_hedges_arrive_whole(shaky: Backend, backend: Backend) -> None:
    service = {
        "instances": [shaky.url, backend.url],
        "health_check": False,
        "circuit_breaker": False,
        "retries": {"attempts": 2, "on": ["connect", "reset", "503"], "budget": "100%"},
        "hedge": {"after": "50ms", "budget": "100%"},
    }
    with Collector() as collector:
        own = {
            "gateway": {"workers": 2, "tracing": {"endpoint": collector.url, "delay": "100ms"}},
            "services": {"s": service},
        }
        with Gateway(own) as gateway:
            traces: list[str] = []

            def load() -> None:
                with gateway.wire() as wire:
                    for _ in range(125):
                        answer = wire.ask("GET", "/api/s/x")
                        traces.append(str(answer.get("x-request-id")))

            threads = [threading.Thread(target=load) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            gateway.stop()
            log = {line["request_id"]: line for line in gateway.log()}
    by_trace: dict[str, list[Span]] = {}
    for span in collector.spans:
        by_trace.setdefault(span.trace, []).append(span)
    assert by_trace.keys() == set(traces)
    assert len(by_trace) == 1000
    more = 0
    for trace, found in by_trace.items():
        servers = [span for span in found if span.kind == "server"]
        tries = [span for span in found if span.kind == "client"]
        assert len(servers) == 1
        assert {span.parent for span in tries} == {servers[0].id}
        assert len({span.id for span in found}) == len(found)
        hedges = [span for span in tries if span.attributes.get("portico.role") == "hedge"]
        assert len(tries) - len(hedges) == log[trace]["attempts"]
        sent = {span.attributes.get("http.request.resend_count", 0) for span in tries}
        assert sent == set(range(len(tries)))
        more += len(tries) - 1
    assert more > 100


def test_a_worker_that_is_killed_takes_no_more_than_its_own(backend: Backend) -> None:
    with Collector() as collector, Gateway(config(backend, endpoint=collector.url)) as gateway:
        gateway.get("/api/s/before")
        until(lambda: recorded(collector, "/api/s/before"), "it has come")
        os.kill(gateway.workers()[0], signal.SIGKILL)
        until(lambda: gateway.get("/readyz").status == 200, "another serves")
        gateway.get("/api/s/after")
        until(lambda: recorded(collector, "/api/s/after"), "so has this")
        assert counted(gateway, "gateway_otlp_sent_total") >= 2
