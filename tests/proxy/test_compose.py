"""The heads of messages as the gateway passes them on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from policies.exchanges import exchange
from portico.core.exchange import RouteMatch
from portico.core.fields import REQUEST_DROP
from portico.core.messages import Shape
from portico.proxy.compose import edited_head, request_head
from portico.upstreams.instance import Address, Instance

PRIVATE = Instance(Address("10.0.0.5:8000", "10.0.0.5", 8000), cast(Any, None), cast(Any, None))
PUBLIC = Instance(Address("api.example.com", "api.example.com", 443), cast(Any, None), cast(Any, None))


def hosts(preserve_host: bool | None, *, trusted: bool = False) -> list[bytes]:
    """The Host that each of two instances gets of one request: the second attempt is made of the same fields."""
    handling = cast(Any, SimpleNamespace(preserve_host=preserve_host, trailers=frozenset(), attempts=()))
    match = RouteMatch(SimpleNamespace(prefix=b"", forwarded=b""), handling, "/x", b"/x")
    own = exchange("Accept: */*", match=match, request_id="a" * 32, trace_id="b" * 32, trusted=trusted, query=b"")
    assert own.request is not None
    fields = own.request.fields
    fields.shape = Shape(fields.names, fields.lines, REQUEST_DROP, frozenset())
    own.request.hop_by_hop = frozenset()
    found = []
    for instance in (PRIVATE, PUBLIC, PRIVATE):
        lines = request_head(own, handling, instance, b"").split(b"\r\n")
        found += [line.partition(b": ")[2] for line in lines if line.lower().startswith(b"host:")]
    return found


CLIENT, OWN, PUBLIC_NAME = b"gateway.example:8080", b"10.0.0.5:8000", b"api.example.com"


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    ("preserve_host", "private", "public"),
    [(None, CLIENT, PUBLIC_NAME), (True, CLIENT, CLIENT), (False, OWN, PUBLIC_NAME)],
)
def test_which_host_each_instance_gets(
    preserve_host: bool | None, private: bytes, public: bytes, trusted: bool
) -> None:
    assert hosts(preserve_host, trusted=trusted) == [private, public, private]


HEAD = b"GET /a HTTP/1.1\r\nHost: s\r\nX-Tenant: forged\r\nx_tenant: forged\r\nAccept: x-tenant: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("drops", "lines", "edited"),
    [
        ((), (), HEAD),
        ((), (b"X-A: 1", b"X-A: 2"), HEAD[:-2] + b"X-A: 1\r\nX-A: 2\r\n\r\n"),
        ((b"x-tenant",), (), b"GET /a HTTP/1.1\r\nHost: s\r\nAccept: x-tenant: 1\r\n\r\n"),
        (
            (b"x-tenant", b"host"),
            (b"X-Tenant: a", b"Host: b"),
            b"GET /a HTTP/1.1\r\nAccept: x-tenant: 1\r\nX-Tenant: a\r\nHost: b\r\n\r\n",
        ),
        ((b"get /a http/1.1", b"absent"), (), HEAD),
    ],
)
def test_an_edited_head(drops: tuple[bytes, ...], lines: tuple[bytes, ...], edited: bytes) -> None:
    assert edited_head(HEAD, frozenset(drops), lines) == edited


def test_a_head_of_nothing_but_its_first_line() -> None:
    assert edited_head(b"GET / HTTP/1.1\r\n\r\n", frozenset({b"host"}), ()) == b"GET / HTTP/1.1\r\n\r\n"
