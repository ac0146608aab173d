"""URLs by which a service names itself, as its clients can use them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.proxy.headers.urls import Address

OWN = frozenset({b"10.0.0.1:8000", b"10.0.0.2:8000", b"shop.internal", b"[fd00::1]:8000"})
HOST = b"gw.example:8443"


def path(path: bytes, is_own: bool) -> bytes | None:
    """A prefix in front of all but two paths: the gateway has a route for one, the other is nowhere."""
    if path.startswith(b"/nowhere") or (path.startswith(b"/api/other") and not is_own):
        return None if path.startswith(b"/nowhere") else path
    return b"/api/shop" + path


def address(scheme: bytes = b"https", host: bytes = HOST, tls: bool = False) -> Address:
    return Address(scheme, host, {HOST, b"portico:8000"}, OWN, path, tls)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        # of an instance, whichever
        (
            "http://10.0.0.2:8000/v1/units/8?x=http://10.0.0.2:8000/",
            "https://gw.example:8443/api/shop/v1/units/8?x=http://10.0.0.2:8000/",
        ),
        ("http://10.0.0.1:8000/a#http://10.0.0.1:8000/", "https://gw.example:8443/api/shop/a#http://10.0.0.1:8000/"),
        ("HTTP://10.0.0.1:8000", "https://gw.example:8443/api/shop/"),
        ("http://10.0.0.1:8000?x", "https://gw.example:8443/api/shop/?x"),
        ("http://10.0.0.1:8000#f", "https://gw.example:8443/api/shop/#f"),
        ("//10.0.0.1:8000/a", "//gw.example:8443/api/shop/a"),
        ("http://SHOP.internal:80/a", "https://gw.example:8443/api/shop/a"),
        ("http://[FD00::1]:8000/a", "https://gw.example:8443/api/shop/a"),
        ("http://10.0.0.1:8000//a", "https://gw.example:8443/api/shop//a"),
        ("http://10.0.0.1:8000/api/other/x", "https://gw.example:8443/api/shop/api/other/x"),
        ("http://10.0.0.1:8000/%2Fa%20b;c?d=%41", "https://gw.example:8443/api/shop/%2Fa%20b;c?d=%41"),
        ("http://10.0.0.1:8000/nowhere", "http://10.0.0.1:8000/nowhere"),
        # of the host that was asked, whose scheme the service may not know
        ("http://gw.example:8443/items/", "https://gw.example:8443/api/shop/items/"),
        ("http://portico:8000/items/", "https://gw.example:8443/api/shop/items/"),
        ("https://GW.example:8443/items/", "https://gw.example:8443/api/shop/items/"),
        ("https://gw.example:8443/api/other/login", "https://gw.example:8443/api/other/login"),
        # from the root
        ("/graph", "/api/shop/graph"),
        ("/", "/api/shop/"),
        ("/?a=/b#/c", "/api/shop/?a=/b#/c"),
        ("/a b", "/api/shop/a b"),
        ("/api/other/login", "/api/other/login"),
    ],
)
def test_what_names_the_service_is_rewritten(written: str, expected: str) -> None:
    assert address().url(written.encode()).decode() == expected


@pytest.mark.parametrize(
    "written",
    [
        *("graph", "./graph", "../graph", "?x", "#f", "", "graph?u=http://10.0.0.1:8000/", "*"),
        *(
            "https://else.example/",
            "http://10.0.0.3:8000/",
            "http://10.0.0.1:8001/",
            "http://10.0.0.1/",
            "//else.example/a",
        ),
        *("http://gw.example/", "http://gw.example:8443.else.example/", "http://10.0.0.1:8000@else.example/"),
        *("http://10.0.0.1:8000\\@else.example/", "http://else.example/10.0.0.1:8000/", "http:///a", "http:/a", "///a"),
        *("mailto:a@10.0.0.1", "ftp://10.0.0.1:8000/a", "wss://10.0.0.1:8000/a", "javascript:alert(1)", "urn:x"),
        *(
            "http://user@10.0.0.1:8000/",
            "http://10.0.0.1:port/",
            "http://10.0.0.1:8000/a\tb",
            "/a\tb",
            "/\\else.example",
            "/\t/a",
        ),
    ],
)
def test_all_else_is_not_touched(written: str) -> None:
    assert address().url(written.encode()).decode() == written


def test_a_path_never_becomes_another_host() -> None:
    """`/foo/{path}` at the root takes `/foo` off what the service says."""
    cut = Address(b"http", HOST, {HOST}, OWN, lambda path, _: path.removeprefix(b"/foo"))
    assert cut.url(b"/foo//else.example/a") == b"/foo//else.example/a"
    assert cut.url(b"/foo/\\else.example/a") == b"/foo/\\else.example/a"
    assert cut.url(b"http://10.0.0.1:8000/foo//else.example") == b"http://gw.example:8443//else.example"


def test_only_a_service_that_speaks_plain_http_sends_clients_to_https() -> None:
    asked = b"http://gw.example:8443/api/shop/a"
    assert address(b"http").url(b"https://gw.example:8443/a") == b"https://gw.example:8443/api/shop/a"
    assert address(b"http", tls=True).url(b"https://gw.example:8443/a") == asked
    assert address(b"http", tls=True).url(b"https://10.0.0.1:8000/a") == asked


def test_without_a_host_only_the_path_is_known() -> None:
    assert address(host=b"").url(b"http://10.0.0.1:8000/a?b") == b"/api/shop/a?b"
    assert address(host=b"").url(b"//10.0.0.1:8000/a?b") == b"/api/shop/a?b"


@pytest.mark.parametrize("written", ["http://10.0.0.1:8000//else.example/", "//10.0.0.1:8000//else.example/a"])
def test_without_a_host_a_path_never_becomes_one(written: str) -> None:
    bare = Address(b"http", b"", set(), OWN, lambda path, is_own: path)
    assert bare.url(written.encode()).decode() == written


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0; url=/x", "0; url=/api/shop/x"),
        ("0;URL='/x'", "0;URL='/api/shop/x'"),
        ('5 ; Url = "http://10.0.0.1:8000/x?a=b"', '5 ; Url = "https://gw.example:8443/api/shop/x?a=b"'),
        ("0.5, /x", "0.5, /api/shop/x"),
        ("0 url=/x", "0 url=/api/shop/x"),
        ("0 ; url=/x", "0 ; url=/api/shop/x"),
        ("0 /x", "0 /api/shop/x"),
        ("0; url='/x' tail", "0; url='/api/shop/x' tail"),
        ("0; url='/x", "0; url='/api/shop/x"),
        ("5", "5"),
        ("5; url=", "5; url="),
        ("0; url=x", "0; url=x"),
        ("0; url=https://else.example/", "0; url=https://else.example/"),
        ("soon; url=/x", "soon; url=/x"),
    ],
)
def test_refresh(written: str, expected: str) -> None:
    assert address().refresh(written.encode()).decode() == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("</a.css>; rel=preload; as=style", "</api/shop/a.css>; rel=preload; as=style"),
        (
            '<http://10.0.0.1:8000/?p=2>; rel="next",</?p=9>;rel=last',
            '<https://gw.example:8443/api/shop/?p=2>; rel="next",</api/shop/?p=9>;rel=last',
        ),
        (
            '<a>; title="</b>, \\"</c>", <https://else.example/>; rel=x',
            '<a>; title="</b>, \\"</c>", <https://else.example/>; rel=x',
        ),
        ("<>; rel=self, </x", "<>; rel=self, </x"),
        ("</a,b;c>; rel=x", "</api/shop/a,b;c>; rel=x"),
        # what no quotation mark closes goes on to the end (RFC 8288, appendix B.4); within a token one means nothing
        ('</a>; title="open, </b>', '</api/shop/a>; title="open, </b>'),
        ('</a>; title = "open \\', '</api/shop/a>; title = "open \\'),
        ('</a>; title=6" , </b>', '</api/shop/a>; title=6" , </api/shop/b>'),
    ],
)
def test_link(written: str, expected: str) -> None:
    assert address().link(written.encode()).decode() == expected


@pytest.mark.parametrize("repeated", ['\\"', '"', "<", '="', "= ", '<="', "\\"])
def test_a_link_of_any_form_takes_time_by_its_length(repeated: str) -> None:
    """By its square it would take minutes, for all connections of the worker."""
    value = b'<a>; title="' + repeated.encode() * 200_000
    assert address().link(value) == value


@given(st.text(alphabet="/ahtps:.0128#?\\@<>;='\" ,", max_size=40).map(str.encode))
def test_what_comes_out_is_not_rewritten_again(written: bytes) -> None:
    """With a prefix that the path function knows, once is enough: the output is a client's view already."""

    def known(path: bytes, is_own: bool) -> bytes:
        return path if path.startswith(b"/api/shop") else b"/api/shop" + path

    once = Address(b"https", HOST, {HOST}, OWN, known)
    for change in (once.url, once.link, once.refresh):
        assert change(change(written)) == change(written)
