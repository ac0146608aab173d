"""Cache-Status (RFC 9211)."""

from __future__ import annotations

from portico.proxy.cache.status import forward_line, hit_line
from portico.proxy.cache.structured import parse_list


def test_hits() -> None:
    assert hit_line(59.9) == b"Cache-Status: portico; hit; ttl=59"
    assert hit_line(-0.1) == b"Cache-Status: portico; hit; ttl=-1"
    assert hit_line(5, "stale-if-error") == b"Cache-Status: portico; hit; ttl=5; detail=stale-if-error"


def test_forwarded_ones() -> None:
    assert forward_line("bypass") == b"Cache-Status: portico; fwd=bypass"
    assert forward_line("uri-miss", is_stored=True) == b"Cache-Status: portico; fwd=uri-miss; stored"
    assert forward_line("stale", status=304, is_collapsed=True, detail="no-store") == (
        b"Cache-Status: portico; fwd=stale; fwd-status=304; collapsed; detail=no-store"
    )


def test_they_are_structured_fields() -> None:
    for line in (
        hit_line(-5, "x"),
        forward_line("vary-miss", status=200, is_stored=True, is_collapsed=True, detail="y"),
    ):
        assert parse_list([line.partition(b": ")[2]]) == [b"portico"]
