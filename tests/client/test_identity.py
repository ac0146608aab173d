"""Identities that are accepted, and those that are not."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from portico.client.identity import IdentityError, User, Verifier, identity
from portico.core.exchange import Exchange, RouteMatch
from portico.policies.identity import IdentitySettings, Signer

from .tokens import HEADER, KEY, OTHER_KEY, encoded, token

ASKED = ("GET", "/me", "r1")
NOW = int(time.time())


def verifier(**options: Any) -> Verifier:
    return Verifier("orders", KEY, **options)


def scope(*fields: tuple[bytes, bytes], **changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/me",
        "raw_path": b"/me",
        "query_string": b"",
        "headers": [(b"x-request-id", b"r1"), *fields],
        **changes,
    }


def test_a_genuine_one() -> None:
    user = verifier().verify(token(), *ASKED)
    assert user == User("alice", frozenset({"orders:read", "orders:list"}))
    assert user.has_scopes("orders:read")
    assert not user.has_scopes("orders:read", "orders:write")
    assert user.claims["iss"] == "portico"


FORGED: list[tuple[Callable[[], bytes], str]] = [
    (lambda: token(OTHER_KEY), "signature"),
    (lambda: token(aud="users"), "aud"),
    (lambda: token(aud=["orders"]), "aud"),
    (lambda: token(method="POST"), "method"),
    (lambda: token(target="/me?admin=1"), "target"),
    (lambda: token(target="/ME"), "target"),
    (lambda: token(request_id="r2"), "request_id"),
    (lambda: token(request_id=None), "request_id"),
    (lambda: token(iat=NOW - 90, exp=NOW - 60), "expired"),
    (lambda: token(iat=NOW + 3600, exp=NOW + 3630), "future"),
    (lambda: token(exp=None), "exp"),
    (lambda: token(exp="9999999999"), "exp"),
    (lambda: token(exp=True), "exp"),
    (lambda: token(exp=float("nan")), "expired|exp"),
    (lambda: token(jti=None), "jti"),
    (lambda: token(sub=None), "sub"),
    (lambda: token(scope=["orders:write"]), "scope"),
    (lambda: token(header={"alg": "none", "typ": HEADER["typ"]}), "gateway's"),
    (lambda: token(header={"alg": "HS256", "typ": "JWT"}), "gateway's"),
    (lambda: token(header={**HEADER, "kid": "x"}), "gateway's"),
    (lambda: token().rpartition(b".")[0] + b".", "signature"),
    (lambda: token() + b"A", "signature|gateway's"),
    (lambda: token()[:-2], "signature|gateway's"),
    (lambda: token(sub="a" * 20_000), "gateway's"),
    (lambda: b"", "gateway's"),
    (lambda: b"...", "gateway's"),
    (lambda: b"\xff\xfe.\x00.\x00", "gateway's"),
    (lambda: b"alice", "gateway's"),
]


@pytest.mark.parametrize(("forged", "why"), FORGED, ids=[str(number) for number in range(len(FORGED))])
def test_forged_ones(forged: Callable[[], bytes], why: str) -> None:
    with pytest.raises(IdentityError, match=why):
        verifier().verify(forged(), *ASKED)


def test_another_payload_under_the_same_signature() -> None:
    start, _, signature = token().split(b".")
    _, payload, _ = token(sub="root").split(b".")
    with pytest.raises(IdentityError, match="signature"):
        verifier().verify(b".".join((start, payload, signature)), *ASKED)


def test_signed_rubbish() -> None:
    import hmac

    signed = token().split(b".")[0] + b"." + encoded(b"[1]").encode()
    signature = encoded(hmac.digest(KEY.encode(), signed, "sha256")).encode()
    with pytest.raises(IdentityError, match="no claims"):
        verifier().verify(signed + b"." + signature, *ASKED)


def test_one_request_each() -> None:
    own = verifier()
    own.verify(token(), *ASKED)
    with pytest.raises(IdentityError, match="before"):
        own.verify(token(), *ASKED)
    own.verify(token(jti="j2"), *ASKED)


def test_a_refused_one_is_not_used_up() -> None:
    own = verifier()
    with pytest.raises(IdentityError, match="method"):
        own.verify(token(), "POST", "/me", "r1")
    own.verify(token(), *ASKED)


def test_clocks_may_differ_a_little() -> None:
    now = int(time.time())
    verifier(leeway=60).verify(token(iat=now + 30, exp=now + 60), *ASKED)
    verifier(leeway=60).verify(token(iat=now - 60, exp=now - 30), *ASKED)


def test_keys_are_changed_one_side_after_the_other() -> None:
    both = Verifier("orders", [OTHER_KEY, KEY])
    both.verify(token(), *ASKED)
    both.verify(token(OTHER_KEY, jti="j2"), *ASKED)


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_KEYS", f"{OTHER_KEY}, {KEY}")
    Verifier("orders").verify(token(KEY), *ASKED)


@pytest.mark.parametrize("keys", [None, "", [], " , ", ["short"], [KEY, "short"]])
def test_keys_that_are_none(keys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDENTITY_KEYS", raising=False)
    with pytest.raises(ValueError, match=r"IDENTITY_KEYS|32 bytes"):
        Verifier("orders", keys)


def test_of_a_scope() -> None:
    own = verifier()
    asked = scope((b"x-consumer-identity", token()))
    first = identity(asked, own)
    assert first is not None
    assert first.name == "alice"
    assert identity(asked, own) is first, "the same request may be asked again"
    with pytest.raises(IdentityError, match="before"):
        identity(scope((b"x-consumer-identity", token())), own)


def test_plain_fields_are_ignored() -> None:
    asked = scope((b"x-consumer-username", b"root"), (b"x-consumer-scopes", b"orders:write"))
    assert identity(asked, verifier()) is None


def test_two_identities_are_none() -> None:
    field = (b"x-consumer-identity", token())
    with pytest.raises(IdentityError, match="several"):
        identity(scope(field, field), verifier())


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({"raw_path": b"/a%20b", "path": "/a b"}, "/a%20b"),
        ({"raw_path": None, "path": "/a b"}, "/a%20b"),
        ({"query_string": b"x=1&y=%20"}, "/me?x=1&y=%20"),
        ({"raw_path": b"/api/orders/me", "portico.wire_path": b"/me"}, "/me"),
        ({"type": "websocket", "method": None}, "/me"),
    ],
)
def test_the_target_is_what_came_over_the_wire(changes: dict[str, Any], target: str) -> None:
    asked = scope((b"x-consumer-identity", token(target=target)), **changes)
    if asked["method"] is None:
        del asked["method"]
    assert identity(asked, verifier()) is not None


def test_the_servers_own_root_path() -> None:
    asked = scope((b"x-consumer-identity", token()), raw_path=b"/root/me", root_path="/root")
    assert identity(asked, verifier(server_root_path="/root/")) is not None


AT_ORDERS = RouteMatch(None, SimpleNamespace(service_name="orders"), "/me", b"/me")


def exchange(query: bytes = b"") -> Exchange:
    own = Exchange(None, None, lambda *_: None)  # type: ignore[arg-type]
    own.method, own.match, own.query, own.request_id = "GET", AT_ORDERS, query, "r1"
    own.consumer, own.scopes = "jürgen", ("orders:read",)
    return own


def test_what_the_gateway_signs_is_accepted() -> None:
    signer = Signer(IdentitySettings(keys=[KEY, OTHER_KEY]))
    own = Verifier("orders", [KEY])
    for query, target in ((b"", "/me"), (b"?", "/me"), (b"?a=b", "/me?a=b")):
        name, _, value = (signer.line(exchange(query)) or b"").partition(b": ")
        assert name == b"X-Consumer-Identity"
        user = own.verify(value, "GET", target, "r1")
        assert user == User("jürgen", frozenset({"orders:read"}))


def test_any_library_can_read_it() -> None:
    jwt = pytest.importorskip("jwt")
    signer = Signer(IdentitySettings(keys=[KEY], lifetime=10))
    value = (signer.line(exchange()) or b"").partition(b": ")[2]
    claims = jwt.decode(value, KEY, algorithms=["HS256"], audience="orders", issuer="portico")
    assert claims["exp"] - claims["iat"] == 10
    assert jwt.get_unverified_header(value) == HEADER
