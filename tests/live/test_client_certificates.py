"""Clients that prove who they are by certificates: of their connection, or as a proxy reports them."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from support.authority import Authority, Leaf
from support.backend import Backend
from support.client import Wire
from support.messages import Message
from support.tokens import SECRET, bearer, token
from support.world import Gateway

ALICE = x509.Name(
    [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ex, Ltd"), x509.NameAttribute(NameOID.COMMON_NAME, "a")]
)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("clients"), "Clients")


@pytest.fixture(scope="module")
def leaves(clients: Authority) -> dict[str, Leaf]:
    return {
        "subject": clients.leaf("subject", subject=ALICE),
        "dns": clients.leaf("dns", "bob.test", common_name="x"),
        "uri": clients.leaf("uri", common_name="x", uris=["spiffe://test/carol"]),
        "pinned": clients.leaf("pinned", common_name="pinned"),
        "nobody": clients.leaf("nobody", "nobody.test", common_name="a"),
        "two": clients.leaf("two", "bob.test", uris=["spiffe://test/carol"]),
        "disguised": clients.leaf("disguised", common_name="a,O=Ex\\, Ltd"),
        "expired": clients.leaf("expired", "bob.test", days=-1),
    }


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


def configuration(service: Backend, leaves: dict[str, Leaf], **method: Any) -> dict[str, Any]:
    both = {"client_certificate": method, "jwt": {"secret": SECRET}}
    return {
        "services": {
            "s": {"url": service.url, "health_check": False, "policies": {"auth": {"client_certificate": method}}},
            "cached": {
                "url": service.url,
                "health_check": False,
                "policies": {"auth": {"client_certificate": method, "optional": True}, "cache": {"ttl": 60}},
            },
            "both": {"url": service.url, "health_check": False, "policies": {"auth": both}},
        },
        "consumers": [
            {"name": "alice", "scopes": ["a", "b"], "certificates": ["CN=a,O=Ex\\, Ltd"]},
            {"name": "bob", "certificates": ["DNS:Bob.test."]},
            {"name": "carol", "certificates": ["URI:spiffe://test/carol"]},
            {"name": "dave", "certificates": [fingerprint(leaves["pinned"])]},
        ],
    }


def fingerprint(leaf: Leaf) -> str:
    return f"sha256:{sha256(der(leaf)).hexdigest().upper()}"


def der(leaf: Leaf) -> bytes:
    return leaf.content().public_bytes(Encoding.DER)


def told(answer: Message) -> str:
    """Whom the service was told of, or why nobody was let in."""
    if answer.status == 200:
        fields = dict(answer.json()["fields"])
        return " ".join(filter(None, (fields["X-Consumer-Username"], fields.get("X-Consumer-Scopes"))))
    assert answer.status == 401, answer
    assert all("realm=" in challenge for challenge in answer.all("www-authenticate")), answer
    assert answer.all("www-authenticate")
    return str(answer.json()["reason"])


# ---- of the connection


@pytest.fixture(scope="module")
def gateway(
    service: Backend, clients: Authority, leaves: dict[str, Leaf], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Authority]]:
    authority = Authority(tmp_path_factory.mktemp("servers"))
    own = authority.leaf("gateway", "127.0.0.1")
    tls = {**own.written, "client_certificates": {"ca": str(clients.ca), "required": False}}
    with Gateway({"gateway": {"tls": tls}, **configuration(service, leaves)}) as made:
        yield made, authority


def connected(gateway: tuple[Gateway, Authority], leaf: Leaf | None) -> Wire:
    made, authority = gateway
    plain = socket.create_connection(("127.0.0.1", made.port), timeout=20)
    return Wire(made.port, authority.client_context(leaf).wrap_socket(plain, server_hostname="127.0.0.1"))


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ("subject", "alice a b"),
        ("dns", "bob"),
        ("uri", "carol"),
        ("pinned", "dave"),
        ("nobody", "credentials_invalid"),
        ("two", "credentials_invalid"),
        ("disguised", "credentials_invalid"),
        (None, "credentials_missing"),
    ],
)
def test_whose_a_certificate_is(
    gateway: tuple[Gateway, Authority], leaves: dict[str, Leaf], leaf: str | None, expected: str
) -> None:
    with connected(gateway, leaves[leaf] if leaf else None) as wire:
        for _ in range(2):
            assert told(wire.ask("GET", "/api/s/")) == expected


def test_what_a_client_reports_of_itself_counts_for_nothing(
    gateway: tuple[Gateway, Authority], leaves: dict[str, Leaf]
) -> None:
    line = f"Client-Cert: :{b64encode(der(leaves['subject'])).decode()}:"
    with connected(gateway, leaves["dns"]) as wire:
        assert told(wire.ask("GET", "/api/s/", line, "X-Consumer-Username: alice")) == "bob"
    with connected(gateway, None) as wire:
        assert told(wire.ask("GET", "/api/s/", line)) == "credentials_missing"


def test_equal_requests_on_several_connections_are_those_of_their_clients(
    gateway: tuple[Gateway, Authority], leaves: dict[str, Leaf]
) -> None:
    with connected(gateway, leaves["dns"]) as bob, connected(gateway, leaves["uri"]) as carol:
        for _ in range(3):
            assert told(bob.ask("GET", "/api/s/x", "X: y")) == "bob"
            assert told(carol.ask("GET", "/api/s/x", "X: y")) == "carol"


def test_nobody_gets_what_the_cache_keeps_for_another(
    gateway: tuple[Gateway, Authority], leaves: dict[str, Leaf]
) -> None:
    own, other = leaves["dns"], leaves["uri"]
    with connected(gateway, own) as bob, connected(gateway, other) as carol, connected(gateway, None) as nobody:
        for _ in range(2):
            assert told(bob.ask("GET", "/api/cached/x")) == "bob"
            assert told(carol.ask("GET", "/api/cached/x")) == "carol"
            assert "X-Consumer-Username" not in dict(nobody.ask("GET", "/api/cached/x").json()["fields"])


def test_a_token_comes_first(gateway: tuple[Gateway, Authority], leaves: dict[str, Leaf]) -> None:
    with connected(gateway, leaves["dns"]) as wire:
        assert told(wire.ask("GET", "/api/both/", bearer(token(sub="erin")))) == "erin"
        assert told(wire.ask("GET", "/api/both/")) == "bob"
        assert told(wire.ask("GET", "/api/both/", bearer("x.y.z"))) == "credentials_invalid"
    with connected(gateway, None) as wire:
        answer = wire.ask("GET", "/api/both/")
        assert told(answer) == "credentials_missing"
        assert len(answer.all("www-authenticate")) == 2


# ---- as a proxy reports it


@pytest.fixture(scope="module")
def behind(service: Backend, leaves: dict[str, Leaf]) -> Iterator[Gateway]:
    config = configuration(service, leaves, from_proxies=True)
    with Gateway({"gateway": {"trusted_proxies": ["127.0.0.1/32"]}, **config}) as made:
        yield made


def reported(leaf: Leaf) -> str:
    return f"Client-Cert: :{b64encode(der(leaf)).decode()}:"


def test_what_a_trusted_proxy_reports(behind: Gateway, leaves: dict[str, Leaf]) -> None:
    for leaf, expected in (
        ("subject", "alice a b"),
        ("dns", "bob"),
        ("nobody", "credentials_invalid"),
        ("expired", "credentials_expired"),
        ("subject", "alice a b"),
    ):
        assert told(behind.get("/api/s/", reported(leaves[leaf]))) == expected
    assert told(behind.get("/api/s/")) == "credentials_missing"


@pytest.mark.parametrize(
    "lines",
    [
        ("Client-Cert:",),
        ("Client-Cert: ::",),
        ("Client-Cert: :eA==:",),
        ("Client-Cert: :eA:",),
        ("Client-Cert: {}", "Client-Cert: {}"),
        ("Client-Cert: {}, {}",),
        ("Client-Cert: {};a=1",),
        ("Client-Cert: :{}:",),
    ],
)
def test_what_is_no_certificate(behind: Gateway, leaves: dict[str, Leaf], lines: tuple[str, ...]) -> None:
    value = reported(leaves["dns"]).partition(": ")[2]
    assert told(behind.get("/api/s/", *(line.replace("{}", value) for line in lines))) == "credentials_invalid"


@pytest.mark.parametrize("name", ["Client_Cert", "X-Client-Cert", "X-SSL-Client-Cert", "X-Forwarded-Client-Cert"])
def test_other_fields_count_for_nothing(behind: Gateway, leaves: dict[str, Leaf], name: str) -> None:
    value = reported(leaves["dns"]).partition(": ")[2]
    assert told(behind.get("/api/s/", f"{name}: {value}")) == "credentials_missing"
