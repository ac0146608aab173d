"""What a tracer keeps of exchanges, whatever clients send."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from portico.observe.otlp import spans
from portico.observe.tracing import Trace, Tracer


def test_what_clients_made_long_is_not_remembered() -> None:
    tracer = Tracer(lambda flush: None)
    usual = ("192.0.2.7", "192.0.2.7", b"shop.test", 80, False, b"User-Agent: curl/8")
    assert tracer.ends_part(*usual) == spans.ends_part(*usual)
    for number in range(100):
        long = (*usual[:5], b"User-Agent: " + b"x" * 4000 + b"%d" % number)
        assert tracer.ends_part(*long) == spans.ends_part(*long)
    assert list(tracer._ends) == [usual]


def test_a_busy_service_leaves_another_one_its_exemplars() -> None:
    tracer = Tracer(lambda flush: None)
    for service in ("busy", "quiet"):
        exchange: Any = SimpleNamespace(
            match=SimpleNamespace(handling=SimpleNamespace(service_name=service)),
            request=None,
            ended=0.0,
            started=time.monotonic(),
            method="GET",
        )
        tracer.finish(Trace(tracer, "ab" * 16, None), exchange)
    assert {service for service, *_ in tracer.exemplars.dump()} == {"busy", "quiet"}
