"""What a tracer keeps of exchanges, whatever clients send."""

from __future__ import annotations

from portico.observe.otlp import spans
from portico.observe.tracing import Tracer


def test_what_clients_made_long_is_not_remembered() -> None:
    tracer = Tracer(lambda flush: None)
    usual = ("192.0.2.7", "192.0.2.7", b"shop.test", 80, False, b"User-Agent: curl/8")
    assert tracer.ends_part(*usual) == spans.ends_part(*usual)
    for number in range(100):
        long = (*usual[:5], b"User-Agent: " + b"x" * 4000 + b"%d" % number)
        assert tracer.ends_part(*long) == spans.ends_part(*long)
    assert list(tracer._ends) == [usual]
