"""`Forwarded`, read and written."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core.exchange import Client
from portico.core.messages import Fields
from portico.proxy.headers.forwarded import Network, Peer, believed_lines, client_behind
from portico.proxy.headers.forwarded_field import Element, element_text, parse_forwarded

NETWORKS: list[Network] = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


def fields(*lines: str) -> Fields:
    return Fields([line.partition(":")[0].lower().encode() for line in lines], [line.encode() for line in lines])


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        (b"", []),
        (b"for=192.0.2.43", [Element(b"192.0.2.43")]),
        (
            b'for=192.0.2.43, for="[2001:db8:cafe::17]:4711"',
            [Element(b"192.0.2.43"), Element(b"[2001:db8:cafe::17]:4711")],
        ),
        (
            b'For=192.0.2.60;Proto=HTTPS;by=203.0.113.43;host="a.example:80"',
            [Element(b"192.0.2.60", b"https", b"a.example:80")],
        ),
        (b"for=_hidden ; proto=http , , for=unknown", [Element(b"_hidden", b"http"), Element(b"unknown")]),
        (b'for="a\\"b, for=c"', [Element(b'a"b, for=c')]),
        (b"secret=x;for=1.2.3.4", [Element(b"1.2.3.4")]),
    ],
)
def test_fields_that_are_read(value: bytes, elements: list[Element]) -> None:
    assert parse_forwarded(value) == elements


@pytest.mark.parametrize(
    "value",
    [b"for=", b"for", b"for=a b", b'for="a', b'for="a, for=192.0.2.1', b"for=[::1]", b"=a", b"for=a=b", b"x" * 5000],
)
def test_a_broken_field_is_believed_in_no_part(value: bytes) -> None:
    assert parse_forwarded(value) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    assert all(isinstance(element, Element) for element in parse_forwarded(value))


@given(
    st.sampled_from(["192.0.2.1", "2001:db8::1"]),
    st.sampled_from([b"http", b"https"]),
    st.sampled_from([b"", b"a", b"a:1"]),
)
def test_what_is_written_can_be_read(node: str, proto: bytes, host: bytes) -> None:
    (element,) = parse_forwarded(element_text(node, proto, host))
    assert (element.node.strip(b"[]").decode(), element.proto, element.host) == (node, proto, host)


# ---- from proxies that send it


def proxy() -> Peer:
    return Peer(Client("10.0.0.1", 8000, False), NETWORKS, by_forwarded=True)


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], "10.0.0.1"),
        (["X-Forwarded-For: 6.6.6.6"], "10.0.0.1"),
        (["Forwarded: for=192.0.2.1"], "192.0.2.1"),
        (["Forwarded: for=6.6.6.6", "Forwarded: for=192.0.2.1;proto=https, for=10.0.0.2"], "192.0.2.1"),
        (['Forwarded: for="[2001:db8::1]:99", for=10.0.0.2'], "2001:db8::1"),
        (["Forwarded: for=192.0.2.1, for=_secret"], "10.0.0.1"),
        (['Forwarded: for="6.6.6.6', "Forwarded: for=192.0.2.1"], "10.0.0.1"),
        (['Forwarded: for="6.6.6.6, 10.0.0.9"', "Forwarded: for=192.0.2.1"], "192.0.2.1"),
    ],
)
def test_the_client_is_found_in_it(lines: list[str], client: str) -> None:
    assert client_behind(fields(*lines), proxy(), NETWORKS) == client


def sent_fields(*lines: str) -> dict[str, str]:
    own: Fields = fields(*lines)
    found = believed_lines(own, proxy(), "192.0.2.1", b"own.example", b"")
    return {name: value for name, _, value in (line.decode().partition(": ") for line in found)}


def test_services_receive_both_notations() -> None:
    assert sent_fields(
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Proto: gopher",
        "Forwarded: for=9.9.9.9;proto=http;host=evil",
        'Forwarded: for=192.0.2.1;proto=https;host="shop.example:8443", for=10.0.0.2;proto=http;host=inner',
    ) == {
        "X-Forwarded-For": "9.9.9.9, 192.0.2.1, 10.0.0.2, 10.0.0.1",
        "X-Real-IP": "192.0.2.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "8443",
        "X-Forwarded-Host": "shop.example:8443",
        "Forwarded": (
            'for=9.9.9.9;proto=http;host=evil, for=192.0.2.1;proto=https;host="shop.example:8443", '
            "for=10.0.0.2;proto=http;host=inner, for=10.0.0.1;proto=http;host=own.example"
        ),
    }


def test_a_broken_chain_is_not_passed_on() -> None:
    assert sent_fields('Forwarded: for="6.6.6.6', "Forwarded: for=192.0.2.1") == {
        "X-Forwarded-For": "10.0.0.1",
        "X-Real-IP": "192.0.2.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Port": "8000",
        "X-Forwarded-Host": "own.example",
        "Forwarded": "for=10.0.0.1;proto=http;host=own.example",
    }


def test_a_node_that_would_be_two_in_a_list_is_unknown() -> None:
    assert sent_fields('Forwarded: for="6.6.6.6, 10.0.0.9"', "Forwarded: for=192.0.2.1")["X-Forwarded-For"] == (
        "unknown, 192.0.2.1, 10.0.0.1"
    )


@pytest.mark.parametrize(
    ("element", "scheme", "port", "host"),
    [
        ("proto=wss;host=shop.example", "https", "443", "shop.example"),
        ("proto=WSS;host=shop.example", "https", "443", "shop.example"),
        ('proto=ws;host="shop.example:8080"', "http", "8080", "shop.example:8080"),
        ('proto=https;host="[2001:db8::1]"', "https", "443", "[2001:db8::1]"),
        ('proto=https;host="shop.example:99999"', "https", "443", "own.example"),
        ('proto=https;host="a.example, b.example"', "https", "443", "own.example"),
        ('proto="https, http"', "http", "8000", "own.example"),
    ],
)
def test_other_spellings(element: str, scheme: str, port: str, host: str) -> None:
    found = sent_fields(f"Forwarded: for=192.0.2.1;{element}")
    assert (found["X-Forwarded-Proto"], found["X-Forwarded-Port"], found["X-Forwarded-Host"]) == (scheme, port, host)
