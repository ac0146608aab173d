"""The heads of messages as the gateway passes them on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from policies.exchanges import exchange
from portico.core.exchange import RouteMatch
from portico.core.fields import REQUEST_DROP
from portico.core.messages import Shape
from portico.policies.headers import HeadersSettings, build_before_all, response_changes
from portico.policies.policy import Context, State
from portico.proxy.compose import edited_head, editing, request_head, response_lines
from portico.upstreams.instance import Address, Instance
from portico.wire.http1.response_heads import ResponseHeads

PRIVATE = Instance(Address("10.0.0.5:8000", "10.0.0.5", 8000), cast(Any, None), cast(Any, None))
PUBLIC = Instance(Address("api.example.com", "api.example.com", 443), cast(Any, None), cast(Any, None))


def hosts(preserve_host: bool | None, *, trusted: bool = False) -> list[bytes]:
    """The Host that each of two instances gets of one request: the second attempt is made of the same fields."""
    handling = cast(Any, SimpleNamespace(preserve_host=preserve_host, trailers=frozenset()))
    match = RouteMatch(SimpleNamespace(prefix=b"", forwarded=b""), handling, "/x", b"/x")
    own = exchange("Accept: */*", match=match, request_id="a" * 32, trace_id="b" * 32, trusted=trusted, query=b"")
    assert own.request is not None
    fields = own.request.fields
    fields.shape = Shape(fields.names, REQUEST_DROP)
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


def changed(settings: dict[str, Any], *lines: bytes) -> list[bytes]:
    """The field lines that a client gets of a service's response with these lines."""
    written = HeadersSettings.model_validate(settings)
    asked = exchange()
    policy = build_before_all(written, Context("gateway", State()))
    assert policy is not None
    assert policy(asked) is None
    asked.response_lines += (b"RateLimit: x",)
    changes = response_changes(written)
    make = response_lines if changes is None else editing(changes)
    head = ResponseHeads().parse(b"\r\n".join((b"HTTP/1.1 200 OK", b"Date: now", b"Content-Length: 0", *lines)))
    return [line for line in make(asked, head) if not line.startswith((b"Date:", b"Content-Length:"))]


def test_a_field_of_security_is_left_out_where_the_service_sends_it() -> None:
    fields = changed({"security": True}, b"x-frame-options: DENY", b"Connection: close")
    assert fields[0] == b"x-frame-options: DENY"
    assert [line for line in fields if line.lower().startswith(b"x-frame-options")] == fields[:1]
    assert b"X-Content-Type-Options: nosniff" in fields


def test_what_a_service_says_of_one_hop_only_does_not_count() -> None:
    fields = changed({"security": True}, b"X-Frame-Options: DENY", b"Connection: X-Frame-Options")
    assert b"X-Frame-Options: SAMEORIGIN" in fields
    assert b"X-Frame-Options: DENY" not in fields


def test_limits_that_are_hidden() -> None:
    assert changed({"response": {"remove": ["RateLimit"]}}, b"RateLimit: y", b"X-A: 1") == [b"X-A: 1"]
    assert changed({"response": {"remove": ["X-A"]}}, b"X-A: 1") == [b"RateLimit: x"]


def test_a_field_that_describes_the_content_comes_with_it() -> None:
    settings = {"response": {"set": {"Cache-Control": "public"}, "add": {"X-A": "1"}}}
    fields = changed(settings, b"cache-control: no-store")
    assert fields == [b"X-A: 1", b"RateLimit: x", b"Cache-Control: public"]
