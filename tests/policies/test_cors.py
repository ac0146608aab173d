"""Cross-origin resource sharing: who may read what, by the Fetch standard."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Client
from portico.policies.cors import CorsSettings, build_cors
from portico.policies.policy import Context, State
from portico.proxy.headers.forwarded import Peer

from .exchanges import exchange

APP = "https://app.example.com"
OWN = "Retry-After, RateLimit, RateLimit-Policy, X-Request-ID"
SHOWN = f"Access-Control-Expose-Headers: {OWN}"


def ask(settings: dict[str, Any], *lines: str, method: str = "GET") -> tuple[Answer | None, list[str]]:
    """The policy's verdict, and the field lines that the response gets: the exchange's and the answer's."""
    policy = build_cors(CorsSettings(**settings), Context("gateway", State()))
    asked = exchange(*lines, method=method)
    answer = policy(asked)
    assert answer is None or isinstance(answer, Answer)
    return answer, [line.decode() for line in (*asked.response_lines, *(answer.lines if answer else ()))]


@pytest.mark.parametrize(
    ("settings", "lines", "lines_sent"),
    [
        ({}, [], ["Access-Control-Allow-Origin: *"]),
        ({}, [f"Origin: {APP}"], ["Access-Control-Allow-Origin: *", SHOWN]),
        ({"allow_credentials": True}, [f"Origin: {APP}"], ["Access-Control-Allow-Origin: *", SHOWN]),
        (
            {"expose_headers": ["X-A", "X-B"]},
            [f"Origin: {APP}"],
            ["Access-Control-Allow-Origin: *", f"Access-Control-Expose-Headers: X-A, X-B, {OWN}"],
        ),
        (
            {"expose_headers": ["ratelimit", "X-A"]},
            [f"Origin: {APP}"],
            [
                "Access-Control-Allow-Origin: *",
                "Access-Control-Expose-Headers: ratelimit, X-A, Retry-After, RateLimit-Policy, X-Request-ID",
            ],
        ),
        (
            {"expose_headers": ["*"]},
            [f"Origin: {APP}"],
            ["Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: *"],
        ),
        ({"allow_origins": [APP]}, [], ["Vary: Origin"]),
        ({"allow_origins": [APP]}, [f"Origin: {APP}"], ["Vary: Origin", f"Access-Control-Allow-Origin: {APP}", SHOWN]),
        ({"allow_origins": [APP]}, ["Origin: https://evil.example"], ["Vary: Origin"]),
        ({"allow_origins": [APP]}, ["Origin: null"], ["Vary: Origin"]),
        ({"allow_origins": [APP]}, [f"Origin: {APP}", "Origin: https://evil.example"], ["Vary: Origin"]),
        ({"allow_origins": [APP]}, [f"Origin: {APP}", f"Origin: {APP}"], ["Vary: Origin"]),
        ({"allow_origins": []}, ["Origin: https://evil.example"], ["Vary: Origin"]),
        (
            {"allow_origins": [APP], "allow_credentials": True},
            [f"Origin: {APP}"],
            ["Vary: Origin", f"Access-Control-Allow-Origin: {APP}", "Access-Control-Allow-Credentials: true", SHOWN],
        ),
        ({"allow_origins": [APP], "allow_credentials": True}, ["Origin: https://evil.example"], ["Vary: Origin"]),
    ],
)
def test_what_a_response_says(settings: dict[str, Any], lines: list[str], lines_sent: list[str]) -> None:
    assert ask(settings, *lines) == (None, lines_sent)


@pytest.mark.parametrize(
    ("pattern", "origin", "allowed"),
    [
        (APP, APP, True),
        (APP, "HTTPS://APP.example.com", True),
        (APP, "https://appxexample.com", False),
        (APP, "http://app.example.com", False),
        (APP, f"{APP}:8443", False),
        (APP, f"{APP}.evil.example", False),
        (APP, f"{APP} https://evil.example", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://.example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "https://a.example.com.evil.example", False),
        ("https://*.example.com", "https://evil.example/.example.com", False),
        ("https://*.example.com", "https://evil.example#.example.com", False),
        ("https://*.example.com", "https://evil.example?.example.com", False),
        ("https://*.example.com", "https://user@a.example.com", False),
        ("https://*.example.com", "https://evil.example:80.example.com", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
    ],
)
def test_origins(pattern: str, origin: str, allowed: bool) -> None:
    _, lines_sent = ask({"allow_origins": ["https://other.example", pattern]}, f"Origin: {origin}")
    assert (f"Access-Control-Allow-Origin: {origin}" in lines_sent) == allowed
    assert "Access-Control-Allow-Origin: *" not in lines_sent


ASKED = "Access-Control-Request-Method: PUT"
HEADERS = "Access-Control-Request-Headers: authorization,x-a"


@pytest.mark.parametrize(
    ("settings", "lines", "lines_sent"),
    [
        ({}, [ASKED], {"Allow-Methods": "PUT", "Max-Age": "600"}),
        ({}, [ASKED, HEADERS], {"Allow-Methods": "PUT", "Allow-Headers": "authorization,x-a", "Max-Age": "600"}),
        (
            {"allow_methods": ["GET", "PUT"], "allow_headers": ["X-A"], "max_age": 5},
            [ASKED, HEADERS],
            {"Allow-Methods": "GET, PUT", "Allow-Headers": "X-A", "Max-Age": "5"},
        ),
        (
            {},
            [ASKED, "Access-Control-Request-Headers: x-a", "Access-Control-Request-Headers: x-b"],
            {"Allow-Methods": "PUT", "Allow-Headers": "x-a, x-b", "Max-Age": "600"},
        ),
        ({}, ["Access-Control-Request-Method: P UT"], {"Max-Age": "600"}),
        ({}, [ASKED, "Access-Control-Request-Headers: a b"], {"Allow-Methods": "PUT", "Max-Age": "600"}),
    ],
)
def test_preflight(settings: dict[str, Any], lines: list[str], lines_sent: dict[str, str]) -> None:
    answer, response = ask(settings, f"Origin: {APP}", *lines, method="OPTIONS")
    assert answer is not None
    assert (answer.status, answer.body) == (204, b"")
    got = dict(line.split(": ", 1) for line in response)
    assert "Access-Control-Request-Method" in got.pop("Vary")
    assert got == {f"Access-Control-{key}": value for key, value in {"Allow-Origin": "*", **lines_sent}.items()}


@pytest.mark.parametrize(
    ("method", "lines", "is_preflight"),
    [
        ("OPTIONS", [f"Origin: {APP}", ASKED], True),
        ("OPTIONS", [f"Origin: {APP}"], False),
        ("OPTIONS", [ASKED], False),
        ("GET", [f"Origin: {APP}", ASKED], False),
    ],
)
def test_only_a_preflight_is_answered_here(method: str, lines: list[str], is_preflight: bool) -> None:
    assert (ask({}, *lines, method=method)[0] is not None) == is_preflight


def test_a_preflight_of_a_strange_origin_is_refused() -> None:
    answer, lines_sent = ask({"allow_origins": [APP]}, "Origin: https://evil.example", ASKED, method="OPTIONS")
    assert isinstance(answer, Refusal)
    assert (answer.status, answer.reason) == (403, "origin_refused")
    assert lines_sent == ["Vary: Origin"]


UPGRADE = ["Connection: keep-alive, Upgrade", "Upgrade: WebSocket"]


@pytest.mark.parametrize(
    ("origins", "lines", "refused"),
    [
        ([APP], [*UPGRADE, f"Origin: {APP}"], False),
        ([APP], UPGRADE, False),
        ([APP], [*UPGRADE, "Origin: http://gateway.example:8080"], False),
        ([APP], [*UPGRADE, "Origin: HTTP://GATEWAY.example:8080"], False),
        ([APP], [*UPGRADE, "Origin: https://gateway.example:8080"], True),
        (["*"], [*UPGRADE, "Origin: https://evil.example"], False),
        ([APP], [*UPGRADE, "Origin: https://evil.example"], True),
        ([APP], [*UPGRADE, "Origin: http://gateway.example"], True),
        ([APP], [*UPGRADE, "Origin: http://gateway.example:8080.evil.example"], True),
        ([APP], [*UPGRADE, "Origin: null"], True),
        ([APP], [*UPGRADE, f"Origin: {APP}", "Origin: https://evil.example"], True),
        ([APP], [*UPGRADE, "Origin: http://gateway.example:8080", "Origin: https://evil.example"], True),
        ([APP], [*UPGRADE, "Origin: https://evil.example", "Origin: http://gateway.example:8080"], True),
        ([APP], [*UPGRADE, "Origin: gateway.example:8080"], True),
        ([APP], [*UPGRADE, "Origin:"], True),
        ([], [*UPGRADE, f"Origin: {APP}"], True),
        ([APP], ["Upgrade: websocket", "Origin: https://evil.example"], False),
        ([APP], ["Connection: Upgrade", "Origin: https://evil.example"], False),
    ],
)
def test_a_page_of_another_origin_opens_no_websocket(origins: list[str], lines: list[str], refused: bool) -> None:
    """For other requests the browser keeps the answer from the page; through a WebSocket it would read on."""
    answer, lines_sent = ask({"allow_origins": origins}, *lines)
    assert isinstance(answer, Refusal) == refused
    if answer is not None:
        assert (answer.status, answer.reason, lines_sent) == (403, "origin_refused", ["Vary: Origin"])


PLAIN, SECURE, TRUSTED, FORWARDED = "plain", "secure", "trusted", "forwarded"
PEERS = {
    PLAIN: Peer(Client("192.0.2.7", 8080, False), []),
    SECURE: Peer(Client("192.0.2.7", 8443, True), []),
    TRUSTED: Peer(Client("10.0.0.1", 8080, False), [ip_network("10.0.0.0/8")]),
    FORWARDED: Peer(Client("10.0.0.1", 8080, False), [ip_network("10.0.0.0/8")], by_forwarded=True),
}
REPORTED = ["X-Forwarded-Host: gw.example", "X-Forwarded-Proto: https"]


@pytest.mark.parametrize(
    ("peer", "host", "lines", "origin", "is_own"),
    [
        (PLAIN, "gw.example", [], "http://gw.example", True),
        (PLAIN, "gw.example:80", [], "http://gw.example", True),
        (PLAIN, "gw.example", [], "http://gw.example:80", True),
        (PLAIN, "gw.example.", [], "http://gw.example", True),
        (PLAIN, "gw.example", [], "http://gw.example.", True),
        (PLAIN, "GW.example", [], "http://gw.EXAMPLE", True),
        (PLAIN, "[2001:db8::1]:80", [], "http://[2001:db8::1]", True),
        (PLAIN, "gw.example", [], "https://gw.example", False),
        (PLAIN, "gw.example:443", [], "https://gw.example", False),
        (PLAIN, "gw.example", [], "http://gw.example:443", False),
        (PLAIN, "gw.example:8080", [], "http://gw.example", False),
        (PLAIN, "gw.example", REPORTED, "https://gw.example", False),
        (PLAIN, "gw.example", [], "http://gw.example/", False),
        (PLAIN, "gw.example", [], "http://x@gw.example", False),
        (PLAIN, "gw.example", [], "ws://gw.example", False),
        (PLAIN, "gw.example", [], "http://gw.example:99999", False),
        (PLAIN, "gw.example", [], "http://", False),
        (PLAIN, "", [], "http://", False),
        (PLAIN, "", [], "null", False),
        (SECURE, "gw.example", [], "https://gw.example", True),
        (SECURE, "gw.example:443", [], "https://gw.example", True),
        (SECURE, "gw.example", [], "http://gw.example", False),
        (TRUSTED, "internal:8000", REPORTED, "https://gw.example", True),
        (TRUSTED, "gw.example:443", REPORTED, "https://gw.example", True),
        (TRUSTED, "internal:8000", REPORTED, "http://gw.example", False),
        (TRUSTED, "internal:8000", REPORTED, "http://internal:8000", False),
        (
            TRUSTED,
            "internal",
            ["X-Forwarded-Host: gw.example, inner", "X-Forwarded-Proto: WSS"],
            "https://gw.example",
            True,
        ),
        (TRUSTED, "internal", ["X-Forwarded-Host: gw.example:8443"], "https://gw.example:8443", True),
        (TRUSTED, "internal", [*REPORTED, "X-Forwarded-Port: 8443"], "https://gw.example:8443", True),
        (TRUSTED, "internal", [*REPORTED, "X-Forwarded-Port: 8443"], "https://gw.example", True),
        (TRUSTED, "gw.example", ["X-Forwarded-Port: 8000, 80"], "http://gw.example:8000", True),
        (TRUSTED, "internal", [*REPORTED, "X-Forwarded-Port: 8443"], "http://gw.example:8443", False),
        (TRUSTED, "gw.example:80", ["X-Forwarded-Port: 8443"], "http://gw.example:8443", False),
        (PLAIN, "gw.example", ["X-Forwarded-Port: 8443"], "http://gw.example:8443", False),
        (TRUSTED, "internal", ["X-Forwarded-Host: gw.example"], "http://gw.example", True),
        (TRUSTED, "internal", ["X-Forwarded-Host: gw.example"], "http://evil.example", False),
        (TRUSTED, "gw.example", ["X-Forwarded-Proto: https"], "https://gw.example", True),
        (TRUSTED, "gw.example", ["X-Forwarded-Proto: https"], "http://gw.example", False),
        (TRUSTED, "gw.example", [], "http://gw.example", True),
        (TRUSTED, "gw.example", [], "https://gw.example", False),
        (FORWARDED, "internal", ["Forwarded: for=192.0.2.1;proto=https;host=gw.example"], "https://gw.example", True),
        (FORWARDED, "internal", REPORTED, "https://gw.example", False),
    ],
)
def test_which_origin_is_the_gateways_own(peer: str, host: str, lines: list[str], origin: str, is_own: bool) -> None:
    """The one that services receive (RFC 6454)."""
    asked = exchange(*UPGRADE, *lines, f"Origin: {origin}", peer=PEERS[peer], host=host.encode())
    answer = build_cors(CorsSettings(allow_origins=[APP]), Context("gateway", State()))(asked)
    assert (answer is None) == is_own


def test_what_the_service_says_of_it_is_dropped() -> None:
    asked = exchange(f"Origin: {APP}")
    build_cors(CorsSettings(), Context("gateway", State()))(asked)
    assert asked.response_drop is not None
    assert b"access-control-allow-origin" in asked.response_drop
    assert b"access-control-allow-credentials" in asked.response_drop
