"""CORS, rate limits, tokens and scopes, at every level at which they can be written."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jwt
import pytest

from support.backend import Backend
from support.client import request
from support.messages import Message
from support.tokens import SECRET, bearer, token
from support.world import Gateway, until


def fields_at_the_service(answer: Message) -> dict[str, str]:
    assert answer.status == 200, answer
    return {name.lower(): value for name, value in answer.json()["fields"]}


def listed(answer: Message, name: str) -> set[str]:
    return {part.strip().lower() for value in answer.all(name) for part in value.split(",")}


# ---- cors


@pytest.fixture(scope="module")
def cors() -> Iterator[tuple[Gateway, Backend]]:
    named = {"allow_origins": ["https://app.test", "https://*.apps.test"], "allow_credentials": True}
    with Backend() as backend:
        service = {"url": backend.url, "health_check": False}
        config = {
            "policies": {"cors": {"allow_origins": ["*"], "allow_credentials": True}},
            "services": {
                "open": service,
                "named": {**service, "policies": {"cors": {**named, "expose_headers": ["X-Total"], "max_age": 60}}},
                "strict": {
                    **service,
                    "policies": {
                        "cors": {
                            "allow_origins": ["https://app.test"],
                            "allow_methods": ["GET", "PUT"],
                            "allow_headers": ["X-Own"],
                            "allow_credentials": False,
                        }
                    },
                },
                "off": {**service, "policies": {"cors": False}},
                "guarded": {**service, "policies": {"auth": {"jwt": {"secret": SECRET}}}},
            },
        }
        with Gateway(config) as gateway:
            yield gateway, backend


OWN_FIELDS = ("Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID")


def preflight(
    gateway: Gateway, target: str, origin: str, method: str = "PUT", headers: str = "x-own, authorization"
) -> Message:
    lines = (
        f"Origin: {origin}",
        f"Access-Control-Request-Method: {method}",
        f"Access-Control-Request-Headers: {headers}",
    )
    return gateway.ask("OPTIONS", target, *lines)


def test_a_preflight_is_answered_without_the_service(cors: tuple[Gateway, Backend]) -> None:
    gateway, backend = cors
    before = len(backend.requests)
    for target in ("/api/open/x", "/api/guarded/x"):
        answer = preflight(gateway, target, "https://anyone.test")
        assert answer.status == 204
        assert answer.get("access-control-allow-origin") == "*"
        assert "put" in listed(answer, "access-control-allow-methods")
        assert listed(answer, "access-control-allow-headers") == {"x-own", "authorization"}
        assert answer.get("access-control-allow-credentials") is None
        assert int(answer.get("access-control-max-age") or -1) >= 0
    assert len(backend.requests) == before


def test_credentials_never_go_with_the_star(cors: tuple[Gateway, Backend]) -> None:
    gateway, _ = cors
    for lines in ((), ("Origin: https://anyone.test",), ("Origin: https://anyone.test", "Cookie: a=b")):
        answer = gateway.get("/api/open/x", *lines)
        assert answer.get("access-control-allow-origin") == "*"
        assert answer.get("access-control-allow-credentials") is None


@pytest.mark.parametrize("origin", ["https://app.test", "https://one.apps.test", "HTTPS://APP.TEST"])
def test_named_origins(cors: tuple[Gateway, Backend], origin: str) -> None:
    gateway, _ = cors
    answer = gateway.get("/api/named/x", f"Origin: {origin}")
    assert answer.get("access-control-allow-origin") == origin
    assert answer.get("access-control-allow-credentials") == "true"
    assert answer.get("access-control-expose-headers") == ", ".join(("X-Total", *OWN_FIELDS))
    assert "origin" in listed(answer, "vary")
    asked = preflight(gateway, "/api/named/x", origin)
    assert asked.status == 204
    assert asked.get("access-control-allow-origin") == origin
    assert asked.get("access-control-allow-credentials") == "true"
    assert asked.get("access-control-max-age") == "60"
    assert "origin" in listed(asked, "vary")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.test",
        "http://app.test",
        "https://app.test.evil.test",
        "https://app.test:444",
        "https://apps.test",
        "null",
        "https://evilapps.test",
    ],
)
def test_other_origins(cors: tuple[Gateway, Backend], origin: str) -> None:
    gateway, backend = cors
    answer = gateway.get("/api/named/x", f"Origin: {origin}")
    assert answer.status == 200
    assert answer.get("access-control-allow-origin") is None
    assert answer.get("access-control-allow-credentials") is None
    assert "origin" in listed(answer, "vary"), "a cache may not give this response to a named origin"
    before = len(backend.requests)
    refused = preflight(gateway, "/api/named/x", origin)
    assert (refused.status, refused.json()["reason"]) == (403, "origin_refused")
    assert refused.get("access-control-allow-origin") is None
    assert len(backend.requests) == before


def test_named_methods_and_headers(cors: tuple[Gateway, Backend]) -> None:
    gateway, _ = cors
    answer = preflight(gateway, "/api/strict/x", "https://app.test", "DELETE", "x-other")
    assert listed(answer, "access-control-allow-methods") == {"get", "put"}
    assert listed(answer, "access-control-allow-headers") == {"x-own"}
    assert answer.get("access-control-allow-credentials") is None


def test_cors_turned_off_leaves_it_to_the_service(cors: tuple[Gateway, Backend]) -> None:
    gateway, backend = cors
    before = len(backend.requests)
    answer = preflight(gateway, "/api/off/x", "https://app.test")
    assert answer.json()["method"] == "OPTIONS"
    assert answer.get("access-control-allow-origin") is None
    assert len(backend.requests) == before + 1


def test_an_options_that_is_no_preflight_reaches_the_service(cors: tuple[Gateway, Backend]) -> None:
    gateway, _ = cors
    assert gateway.ask("OPTIONS", "/api/open/x").json()["method"] == "OPTIONS"
    assert gateway.ask("OPTIONS", "/api/open/x", "Origin: https://app.test").json()["method"] == "OPTIONS"


def test_refusals_can_be_read_by_the_page_too(cors: tuple[Gateway, Backend]) -> None:
    gateway, _ = cors
    answer = gateway.get("/api/guarded/x", "Origin: https://app.test")
    assert answer.status == 401
    assert answer.get("access-control-allow-origin") == "*"


def test_a_body_that_is_too_large_is_refused_as_a_request_of_its_route(cors: tuple[Gateway, Backend]) -> None:
    """A page can read the refusal, the log names the service, and a token is asked for first."""
    gateway, _ = cors
    for target, status in (("/api/named/large", 413), ("/api/guarded/large", 401)):
        with gateway.wire() as wire:
            wire.send(request("POST", target, "Origin: https://app.test", "Content-Length: 999999999"))
            answer = wire.receive()
            assert (answer.status, answer.get("connection")) == (status, "close")
        assert answer.get("access-control-allow-origin") in ("https://app.test", "*")
        line = gateway.logged_path(target)
        assert (line["status_code"], line["service"]) == (status, target.split("/")[2])


# ---- rate limits

LIMITED = ["plain", "second", "tight", "partly", "free", "byheader", "byconsumer", "several", "fast", "routed"]


@pytest.fixture(scope="module")
def limited() -> Iterator[Gateway]:
    """Rates so low that nothing is refilled while a test runs: a burst of N is N requests."""

    def limit(burst: int, **more: Any) -> dict[str, Any]:
        return {"rate_limit": {"requests_per_minute": 0.1, "burst": burst, **more}}

    with Backend() as backend:
        service = {"url": backend.url, "health_check": False}

        def own(policies: Mapping[str, Any]) -> dict[str, Any]:
            return {**service, "policies": policies}

        auth = {"auth": {"jwt": {"secret": SECRET}}}
        config = {
            "gateway": {"trusted_proxies": ["127.0.0.1/32"]},
            "policies": limit(4),
            "services": {
                "plain": service,
                "second": service,
                "tight": own(limit(2)),
                "partly": own({"rate_limit": {"burst": 6}}),
                "free": own({"rate_limit": False}),
                "byheader": own(limit(2, by={"header": "X-User"})),
                "byconsumer": own({**auth, **limit(2, by="consumer")}),
                "several": own(
                    {
                        "rate_limit": [
                            {"requests_per_minute": 0.1, "burst": 3},
                            {"requests_per_minute": 0.1, "burst": 1, "by": {"header": "X-User"}},
                        ]
                    }
                ),
                "fast": own({"rate_limit": {"requests_per_minute": 6000, "burst": 1}}),
                "routed": own(limit(2)),
            },
            "routes": [
                *({"service": name, "path": f"/api/{name}", "name": name} for name in LIMITED),
                {"name": "own", "service": "routed", "path": "/own", "policies": limit(3)},
                {"name": "off", "service": "routed", "path": "/off", "policies": {"rate_limit": False}},
            ],
            "consumers": [{"name": "vip", "rate_limit": {"burst": 5}}],
        }
        with Gateway(config) as gateway:
            gateway.wait_for_control()
            yield gateway


def admitted(gateway: Gateway, target: str, *lines: str, address: str = "192.0.2.1", tries: int = 12) -> int:
    """How many requests in a row get through; the rest must be refused as the contract says."""
    statuses = []
    for _ in range(tries):
        answer = gateway.get(target, f"X-Forwarded-For: {address}", *lines)
        statuses.append(answer.status)
        if answer.status == 429:
            assert answer.json()["reason"] == "rate_limited"
            assert answer.get("content-type") == "application/problem+json"
            assert int(answer.get("retry-after") or 0) > 0
            assert answer.all("ratelimit")
            assert len(answer.all("ratelimit")) == len(answer.all("ratelimit-policy"))
    passed = statuses.count(200)
    assert statuses == [200] * passed + [429] * (tries - passed)
    return passed


def test_the_gateways_limit_is_shared_by_what_says_nothing_else(limited: Gateway) -> None:
    address = "192.0.2.10"
    assert admitted(limited, "/api/plain/x", address=address) == 4
    assert admitted(limited, "/api/second/x", address=address) == 0
    assert admitted(limited, "/", address=address) == 0
    assert admitted(limited, "/api/plain/x", address="192.0.2.11") == 4, "another client has its own"


def test_services_and_routes_have_their_own(limited: Gateway) -> None:
    address = "192.0.2.20"
    assert admitted(limited, "/api/tight/x", address=address) == 2
    assert admitted(limited, "/api/partly/x", address=address) == 6
    assert admitted(limited, "/api/free/x", address=address) == 12
    assert admitted(limited, "/own/x", address=address) == 3
    assert admitted(limited, "/off/x", address=address) == 12
    assert admitted(limited, "/api/routed/x", address=address) == 2
    assert admitted(limited, "/health", address=address) == 4, "the gateway's own limit was not touched by any of them"


def test_a_limit_by_header(limited: Gateway) -> None:
    address = "192.0.2.30"
    assert admitted(limited, "/api/byheader/x", "X-User: one", address=address) == 2
    assert admitted(limited, "/api/byheader/x", "X-User: two", address=address) == 2
    assert admitted(limited, "/api/byheader/x", address=address) == 2, "those without it share one"
    assert admitted(limited, "/api/byheader/x", "X-User: one", address="192.0.2.31") == 0


def test_a_limit_by_header_cannot_be_passed_by_with_two(limited: Gateway) -> None:
    """A service that reads the first would see a known key, while each second one is counted apart."""
    for number in range(3):
        for lines in (("X-User: key", f"X-User: {number}"), (f"X-User: {number}", "X-User: key")):
            refused = limited.get("/api/byheader/x", *lines)
            assert (refused.status, refused.json()["reason"]) == (400, "malformed_request")
    assert admitted(limited, "/api/byheader/x", "X-User: key", address="192.0.2.32") == 2, "none of these was counted"


def test_a_limit_by_consumer(limited: Gateway) -> None:
    assert admitted(limited, "/api/byconsumer/x", bearer(token(sub="ann"))) == 2
    assert admitted(limited, "/api/byconsumer/x", bearer(token(sub="ann", jti="2"))) == 0, "the same consumer"
    assert admitted(limited, "/api/byconsumer/x", bearer(token(sub="bob"))) == 2
    assert admitted(limited, "/api/byconsumer/x", bearer(token(sub="vip"))) == 5, "the consumer's own number"


def test_several_limits_hold_at_once(limited: Gateway) -> None:
    address = "192.0.2.40"
    assert admitted(limited, "/api/several/x", "X-User: a", address=address, tries=1) == 1
    assert admitted(limited, "/api/several/x", "X-User: b", address=address, tries=1) == 1
    assert admitted(limited, "/api/several/x", "X-User: a", address=address, tries=2) == 0


def test_an_ipv6_client_is_its_network(limited: Gateway) -> None:
    assert admitted(limited, "/api/tight/x", address="2001:db8:1:1::1") == 2
    assert admitted(limited, "/api/tight/x", address="2001:db8:1:1:ffff::2") == 0
    assert admitted(limited, "/api/tight/x", address="2001:db8:1:2::1") == 2


def test_rate_limit_fields_of_responses(limited: Gateway) -> None:
    first = limited.get("/api/partly/x", "X-Forwarded-For: 192.0.2.50")
    second = limited.get("/api/partly/x", "X-Forwarded-For: 192.0.2.50")
    assert (first.get("ratelimit") or "").startswith('"client_ip";r=5;t=')
    assert (second.get("ratelimit") or "").startswith('"client_ip";r=4;t=')
    assert (first.get("ratelimit-policy") or "").startswith('"client_ip";q=6;w=360')
    assert limited.get("/api/free/x").get("ratelimit") is None


def test_a_bucket_fills_again(limited: Gateway) -> None:
    for _ in range(5):
        until(lambda: limited.get("/api/fast/x", "X-Forwarded-For: 192.0.2.60").status == 200, "a token is there again")


@pytest.mark.parametrize("target", ["/livez", "/readyz"])
def test_probes_are_never_limited(limited: Gateway, target: str) -> None:
    for _ in range(50):
        assert limited.get(target, "X-Forwarded-For: 192.0.2.70").status == 200


def test_metrics_can_be_read_while_others_are_refused(limited: Gateway) -> None:
    assert {limited.get("/metrics", "X-Forwarded-For: 192.0.2.71").status for _ in range(10)} == {200}
    assert admitted(limited, "/api/tight/x", address="192.0.2.71") == 2
    page = limited.get("/metrics").body.decode()
    assert 'gateway_rate_limited_total{service="tight"} ' in page


def test_the_environments_limit(backend: Backend) -> None:
    env = {"RATE_LIMIT_REQUESTS_PER_MINUTE": "1", "RATE_LIMIT_BURST": "3"}
    with Gateway({"services": {"echo": backend}}, env=env) as gateway:
        statuses = [gateway.get("/api/echo/x").status for _ in range(6)]
        assert statuses == [200] * 3 + [429] * 3


# ---- tokens and scopes


@pytest.fixture(scope="module")
def guarded() -> Iterator[Gateway]:
    with Backend() as backend:
        service = {"url": backend.url, "health_check": False}

        def own(policies: Mapping[str, Any]) -> dict[str, Any]:
            return {**service, "policies": policies}

        picky = {"issuer": "https://id.test", "audience": "books", "required_claims": ["exp", "sub"]}
        config = {
            "policies": {"auth": {"jwt": {}}},
            "services": {
                "plain": service,
                "open": own({"auth": False}),
                "scoped": own({"authorize": {"scopes": ["book:read", "book:write"]}}),
                "picky": own({"auth": {"jwt": picky}}),
                "other": own({"auth": {"jwt": {"secret": "another-secret-of-more-than-thirty-two-bytes!"}}}),
                "sha512": own({"auth": {"jwt": {"algorithms": ["HS512"]}}}),
                "lenient": own({"auth": {"jwt": {"leeway": "1h"}}}),
            },
        }
        with Gateway(config, env={"SECRET_KEY": SECRET}) as gateway:
            gateway.wait_for_control()
            yield gateway


def unsigned() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({'sub': 'alice', 'exp': time.time() + 300})}."


def tampered() -> str:
    head, _, signature = token().split(".")
    claims = base64.urlsafe_b64encode(json.dumps({"sub": "root", "exp": time.time() + 300}).encode()).rstrip(b"=")
    return f"{head}.{claims.decode()}.{signature}"


BAD_TOKENS = {
    "missing": ((), "credentials_missing"),
    "basic": (("Authorization: Basic YTpi",), "credentials_missing"),
    "empty": (("Authorization: Bearer ",), None),
    "two": ((bearer(token()), bearer(token())), None),
    "noise": ((bearer("abc.def.ghi"),), "credentials_invalid"),
    "wrong key": ((bearer(token("x" * 48)),), "credentials_invalid"),
    "tampered": ((bearer(tampered()),), "credentials_invalid"),
    "cut": ((bearer(token()[:-4]),), "credentials_invalid"),
    "alg none": ((bearer(unsigned()),), "credentials_invalid"),
    "other algorithm": ((bearer(token(algorithm="HS512")),), "credentials_invalid"),
    "expired": ((bearer(token(exp=time.time() - 60)),), "credentials_expired"),
    "not yet": ((bearer(token(nbf=time.time() + 7200)),), "credentials_invalid"),
    "from the future": ((bearer(token(iat=time.time() + 7200)),), "credentials_invalid"),
    "line break": ((bearer(token(sub="a\r\nX-Admin: 1")),), "credentials_invalid"),
    "endless": ((bearer(token(junk="x" * 9000)),), "credentials_invalid"),
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_bad_tokens(guarded: Gateway, name: str) -> None:
    lines, reason = BAD_TOKENS[name]
    for _ in range(2):  # the cache of verified tokens remembers none of them
        answer = guarded.get("/api/plain/x", *lines)
        assert answer.status == 401
        assert (answer.get("www-authenticate") or "").startswith("Bearer ")
        assert reason is None or answer.json()["reason"] == reason
    assert "alice" not in answer.body.decode()


def test_a_good_token(guarded: Gateway) -> None:
    text = token(sub="alice", scope="book:read other")
    forged = ("X-Consumer-Username: root", "X_Consumer_Scopes: all")
    for _ in range(3):
        fields = fields_at_the_service(guarded.get("/api/plain/x", bearer(text), *forged))
        assert fields["x-consumer-username"] == "alice"
        assert fields["x-consumer-scopes"] == "book:read other"
        assert "x_consumer_scopes" not in fields
    for line, name in ((f"authorization: bearer {text}", "alice"), (bearer(token(username="bob")), "bob")):
        assert fields_at_the_service(guarded.get("/api/plain/x", line))["x-consumer-username"] == name


def test_the_log_has_the_consumer(guarded: Gateway) -> None:
    answer = guarded.get("/api/plain/x", bearer(token(sub="carol")))
    assert guarded.logged(answer.get("x-request-id"))["user"] == "carol"


def test_where_auth_is_off_nobody_is_named(guarded: Gateway) -> None:
    fields = fields_at_the_service(guarded.get("/api/open/x", bearer(token()), "X-Consumer-Username: root"))
    assert "x-consumer-username" not in fields


def test_a_token_for_one_service_is_none_for_another(guarded: Gateway) -> None:
    text = token()
    assert guarded.get("/api/plain/x", bearer(text)).status == 200
    assert guarded.get("/api/other/x", bearer(text)).status == 401
    assert guarded.get("/api/sha512/x", bearer(text)).status == 401
    assert guarded.get("/api/sha512/x", bearer(token(algorithm="HS512"))).status == 200


def test_the_environments_algorithm(backend: Backend) -> None:
    config = {"policies": {"auth": {"jwt": {}}}, "services": {"echo": backend}}
    with Gateway(config, env={"SECRET_KEY": SECRET, "ALGORITHM": "HS512"}) as gateway:
        assert gateway.get("/api/echo/x", bearer(token(algorithm="HS512"))).status == 200
        assert gateway.get("/api/echo/x", bearer(token())).status == 401


def test_issuer_audience_and_claims(guarded: Gateway) -> None:
    good: dict[str, Any] = {"iss": "https://id.test", "aud": "books"}
    assert guarded.get("/api/picky/x", bearer(token(**good))).status == 200
    assert guarded.get("/api/picky/x", bearer(token(**good | {"aud": ["films", "books"]}))).status == 200
    for wrong in ({"iss": "https://evil.test"}, {"aud": "films"}):
        assert guarded.get("/api/picky/x", bearer(token(**good | wrong))).status == 401
    bare = jwt.encode({**good, "sub": "a"}, SECRET, "HS256")
    assert guarded.get("/api/picky/x", bearer(bare)).status == 401


def test_leeway(guarded: Gateway) -> None:
    assert guarded.get("/api/lenient/x", bearer(token(exp=time.time() - 60))).status == 200


def test_a_token_in_the_cache_expires(guarded: Gateway) -> None:
    text = token(exp=int(time.time()) + 3)
    assert guarded.get("/api/plain/x", bearer(text)).status == 200
    answer = until(lambda: _refusal(guarded, text), "the token expires")
    assert answer
    assert answer.json()["reason"] == "credentials_expired"


def _refusal(gateway: Gateway, text: str) -> Message | None:
    answer = gateway.get("/api/plain/x", bearer(text))
    return answer if answer.status == 401 else None


def test_scopes(guarded: Gateway) -> None:
    for enough in ({"scope": "book:read book:write"}, {"scopes": ["book:write", "book:read", "x"]}):
        assert guarded.get("/api/scoped/x", bearer(token(**enough))).status == 200
    for too_few in ({}, {"scope": "book:read"}, {"scope": "book"}):
        answer = guarded.get("/api/scoped/x", bearer(token(**too_few)))
        assert (answer.status, answer.json()["reason"]) == (403, "scope_missing")
        assert "insufficient_scope" in (answer.get("www-authenticate") or "")
    assert guarded.get("/api/scoped/x").status == 401


@pytest.mark.parametrize("target", ["/", "/health", "/livez", "/readyz", "/metrics"])
def test_the_gateways_own_endpoints_need_no_token(guarded: Gateway, target: str) -> None:
    assert guarded.get(target).status == 200
