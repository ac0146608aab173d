"""Cookies of services behind a prefix and under another name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.proxy.headers.cookies import CookieRules, covers, host_of

OWN = frozenset({b"127.0.0.1:8000", b"shop.internal"})


def rules(domain: bytes = b"", authority: bytes = b"GW.example:8443") -> CookieRules:
    return CookieRules(lambda path: b"/api/shop" + (b"" if path == b"/" else path), authority, OWN, domain)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("uid=1", "uid=1"),
        ("uid=1; HttpOnly", "uid=1; HttpOnly"),
        ("uid=1; Path=/", "uid=1; Path=/api/shop"),
        ("uid=1;path=/login ;  Secure", "uid=1;path=/api/shop/login ;  Secure"),
        ("uid=1; Path = /x=y", "uid=1; Path = /api/shop/x=y"),
        ("Path=/; Path=/", "Path=/; Path=/api/shop"),
        ('uid="a; Path=/', 'uid="a; Path=/api/shop'),
        ("=; Path=/", "=; Path=/api/shop"),
        (
            "uid=1; SameSite=None; Expires=Mon, 30 Nov 2026 06:00:00 GMT",
            "uid=1; SameSite=None; Expires=Mon, 30 Nov 2026 06:00:00 GMT",
        ),
        ("__Host-uid=1; Path=/; Secure", "__Host-uid=1; Path=/; Secure"),
        ("__HOST-uid=1; Path=/; Secure; Domain=shop.internal", "__HOST-uid=1; Path=/; Secure; Domain=shop.internal"),
        ("__Secure-uid=1; Path=/", "__Secure-uid=1; Path=/api/shop"),
    ],
)
def test_paths(written: str, expected: str) -> None:
    assert rules().cookie(written.encode()).decode() == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("uid=1; Path=/; Domain=127.0.0.1; HttpOnly", "uid=1; Path=/api/shop; HttpOnly"),
        ("uid=1; domain=.Shop.Internal", "uid=1"),
        ("uid=1; Domain=internal; Secure", "uid=1; Secure"),
        ("uid=1; Domain=.gw.example", "uid=1; Domain=.gw.example"),
        ("uid=1; Domain=GW.example", "uid=1; Domain=GW.example"),
        ("uid=1; Domain=example", "uid=1; Domain=example"),
        ("uid=1; Domain=else.example", "uid=1; Domain=else.example"),
        ("uid=1; Domain=", "uid=1; Domain="),
        ("uid=1; Domain", "uid=1; Domain"),
        ("uid=1; Domain=shop.internal.example", "uid=1; Domain=shop.internal.example"),
        # of whatever stands behind the service: no browser asks it
        ("uid=1; Path=/; Domain=hop.internal", "uid=1; Path=/api/shop"),
        ("uid=1; Domain=10.1.2.3:8000", "uid=1"),
        ("uid=1; Domain=[fd00::2]", "uid=1"),
        ("uid=1; Domain=localhost", "uid=1"),
        ("uid=1; Domain=com", "uid=1; Domain=com"),
        # the last one counts (RFC 6265, section 5.3): without it, none before it may widen the cookie
        ("uid=1; Domain=gw.example; Domain=shop.internal", "uid=1"),
        ("uid=1; Domain=shop.internal; Domain=gw.example", "uid=1; Domain=shop.internal; Domain=gw.example"),
    ],
)
def test_a_domain_of_the_service_s_own_goes(written: str, expected: str) -> None:
    assert rules().cookie(written.encode()).decode() == expected


def test_on_a_network_of_one_s_own_a_domain_that_covers_the_host_stays() -> None:
    for authority in (b"gw.corp", b"gw.corp.", b"GW.corp:8000"):
        assert rules(authority=authority).cookie(b"uid=1; Domain=.gw.corp") == b"uid=1; Domain=.gw.corp"


def test_a_domain_of_the_service_s_own_becomes_the_configured_one() -> None:
    named = rules(b"gw.example")
    assert named.cookie(b"uid=1; Domain= shop.internal ; Secure") == b"uid=1; Domain= gw.example ; Secure"
    assert named.cookie(b"uid=1; Domain=else.example") == b"uid=1; Domain=else.example"
    assert named.cookie(b"uid=1") == b"uid=1", "a cookie of one host is never widened"


def test_each_can_be_off() -> None:
    cookie = b"uid=1; Path=/x; Domain=shop.internal"
    assert CookieRules(None, b"gw.example", OWN).cookie(cookie) == b"uid=1; Path=/x"
    assert CookieRules(lambda path: b"/a" + path).cookie(cookie) == b"uid=1; Path=/a/x; Domain=shop.internal"


@pytest.mark.parametrize("repeated", [" ", ";", ";path=", "=", ":1", "1.", "[", ";domain=a "])
def test_a_cookie_of_any_form_takes_time_by_its_length(repeated: str) -> None:
    """By its square it would take minutes, for all connections of the worker."""
    for start in ("uid=1; Path=/", "uid=1; Domain=a"):
        cookie = f"{start}{repeated * 200_000}x".encode()
        assert CookieRules(lambda path: path, b"gw.example", OWN).cookie(cookie) == cookie


@pytest.mark.parametrize(
    ("domain", "host", "covered"),
    [
        (b"a.b", b"a.b", True),
        (b"b", b"a.b", True),
        (b"a.b", b"b", False),
        (b".b", b"a.b", False),
        (b"0.0.1", b"127.0.0.1", False),
        (b"127.0.0.1", b"127.0.0.1", True),
        (b"[::1]", b"[::1]", True),
    ],
)
def test_which_hosts_a_domain_covers(domain: bytes, host: bytes, covered: bool) -> None:
    assert covers(domain, host) is covered


def test_the_host_of_an_authority() -> None:
    assert [host_of(each) for each in (b"A.b:80", b"a.b", b"a.b.", b"[::1]:8000", b"[::1]", b"")] == [
        *(b"a.b", b"a.b", b"a.b", b"[::1]", b"[::1]", b""),
    ]


@given(st.text(alphabet="ab=/; .pathPATHdomain127", max_size=60).map(str.encode))
def test_what_is_no_path_and_no_domain_stays_byte_for_byte(written: bytes) -> None:
    idle = CookieRules(lambda path: path, b"gw.example", frozenset({b"zz"}))
    assert idle.cookie(written) == written
