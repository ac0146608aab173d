"""The heads of messages as the gateway passes them on."""

from __future__ import annotations

import pytest

from portico.proxy.compose import edited_head

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
