"""Tokens that are bound to a key: they are worth nothing to whoever does not hold it (RFC 8705, RFC 9449)."""

from __future__ import annotations

import json
import socket
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from random import Random
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from support.authority import Authority, Leaf
from support.backend import Backend
from support.client import Wire
from support.issuer import private_key, public_jwk
from support.messages import Message
from support.tokens import SECRET, bearer, token
from support.world import Gateway


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


def base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def told(answer: Message) -> str:
    """Whom the service was told of, or the error of the challenge."""
    if answer.status == 200:
        return str(dict(answer.json()["fields"])["X-Consumer-Username"])
    assert (answer.status, answer.json()["reason"]) == (401, "credentials_invalid"), answer
    (challenge,) = answer.all("www-authenticate")
    return challenge.partition('error="')[2].partition('"')[0]


# ---- by a proof


def jwk(algorithm: str = "ES256", number: int = 0) -> dict[str, str]:
    whole = public_jwk(algorithm, number)
    return {name: whole[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in whole}


def thumbprint(key: dict[str, str]) -> str:
    return base64(sha256(json.dumps(key, separators=(",", ":"), sort_keys=True).encode()).digest())


def bound(algorithm: str = "ES256", number: int = 0, **claims: Any) -> str:
    return token(cnf={"jkt": thumbprint(jwk(algorithm, number))}, **claims)


_USED = iter(range(10**9))


def proof(
    of: str, method: str = "GET", url: str = "http://gateway.test/api/s/x", algorithm: str = "ES256", **other: Any
) -> str:
    """The value of `DPoP`; `other` are claims to set, or with None to leave out, `head_…` the same of its header."""
    made = {"jti": f"j{next(_USED)}", "htm": method, "htu": url, "iat": int(time.time())}
    claims = made | {"ath": base64(sha256(of.encode()).digest())}
    head: dict[str, Any] = {"typ": "dpop+jwt", "jwk": jwk(algorithm)}
    for name, value in other.items():
        place, key = (head, name.removeprefix("head_")) if name.startswith("head_") else (claims, name)
        place[key] = value
        if value is None:
            del place[key]
    return jwt.encode(claims, private_key(algorithm), algorithm, head)


def lines(of: str, *proofs: str) -> list[str]:
    return [f"Authorization: DPoP {of}", *(f"DPoP: {each}" for each in proofs)]


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    resource = {"url": "https://gw.example/api/r", "authorization_servers": ["https://id.example"]}
    places = ["header", {"cookie": "t"}, {"query": "t"}]
    auth = {"jwt": {"secret": SECRET, "from": places}}
    config = {
        "gateway": {"workers": 1},
        "services": {
            "s": {"url": service.url, "health_check": False, "policies": {"auth": auth}},
            "cached": {
                "url": service.url,
                "health_check": False,
                "policies": {"auth": auth, "cache": {"ttl": 60}},
            },
            "r": {"url": service.url, "health_check": False, "policies": {"auth": {**auth, "resource": resource}}},
        },
    }
    with Gateway(config) as own:
        yield own


ALICE = bound()
_ONE = proof(ALICE)
"""A proof that nobody sends as it is."""


def test_whoever_holds_the_key_is_let_in(gateway: Gateway) -> None:
    for _ in range(3):
        assert told(gateway.get("/api/s/x", *lines(ALICE, proof(ALICE)))) == "alice"
    spelled = proof(ALICE, url="HTTP://Gateway.Test:80/api/s/%78?a#b")
    assert told(gateway.get("/api/s/x?q=1", *lines(ALICE, spelled))) == "alice"
    for algorithm in ("RS256", "ES384", "EdDSA"):
        own = bound(algorithm)
        assert told(gateway.get("/api/s/x", *lines(own, proof(own, algorithm=algorithm)))) == "alice"
    posted = gateway.ask("POST", "/api/s/x", *lines(ALICE, proof(ALICE, "POST")), body=b"x")
    assert told(posted) == "alice"


def test_one_connection_proves_it_with_each_request(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        shown = lines(ALICE, proof(ALICE))
        assert told(wire.ask("GET", "/api/s/x", *shown)) == "alice"
        assert told(wire.ask("GET", "/api/s/x", *shown)) == "invalid_dpop_proof", "a proof is good for one request"
        assert told(wire.ask("GET", "/api/s/x", *lines(ALICE))) == "invalid_dpop_proof"
        assert told(wire.ask("GET", "/api/s/x", *lines(ALICE, proof(ALICE)))) == "alice"


WRONG: dict[str, Callable[[], list[str]]] = {
    "none": list,
    "two": lambda: [proof(ALICE), proof(ALICE)],
    "no token": lambda: ["x"],
    "empty": lambda: [""],
    "another method": lambda: [proof(ALICE, "POST")],
    "the method in lower case": lambda: [proof(ALICE, "get")],
    "another path": lambda: [proof(ALICE, url="http://gateway.test/api/s/y")],
    "another host": lambda: [proof(ALICE, url="http://other.test/api/s/x")],
    "another scheme": lambda: [proof(ALICE, url="https://gateway.test/api/s/x")],
    "another port": lambda: [proof(ALICE, url="http://gateway.test:8080/api/s/x")],
    "an htu that is none": lambda: [proof(ALICE, url="/api/s/x")],
    "no htu": lambda: [proof(ALICE, htu=None)],
    "no htm": lambda: [proof(ALICE, htm=None)],
    "no ath": lambda: [proof(ALICE, ath=None)],
    "another token's": lambda: [proof(bound(sub="bob"))],
    "no jti": lambda: [proof(ALICE, jti=None)],
    "a jti that is no text": lambda: [proof(ALICE, jti=5)],
    "a jti that is long": lambda: [proof(ALICE, jti="j" * 600)],
    "no iat": lambda: [proof(ALICE, iat=None)],
    "an iat that is text": lambda: [proof(ALICE, iat=str(int(time.time())))],
    "an iat that is true": lambda: [proof(ALICE, iat=True)],
    "old": lambda: [proof(ALICE, iat=int(time.time()) - 120)],
    "early": lambda: [proof(ALICE, iat=int(time.time()) + 120)],
    "another typ": lambda: [proof(ALICE, head_typ="JWT")],
    "no typ": lambda: [proof(ALICE, head_typ=None)],
    "no jwk": lambda: [proof(ALICE, head_jwk=None)],
    "a jwk that is text": lambda: [proof(ALICE, head_jwk="x")],
    "a jwk without y": lambda: [proof(ALICE, head_jwk={**jwk(), "y": None})],
    "another's key": lambda: [proof(ALICE, algorithm="ES384")],
    "another's key of the same kind": lambda: [
        jwt.encode({}, private_key("ES256", 1), "ES256", {"typ": "dpop+jwt", "jwk": jwk("ES256", 1)})
    ],
    "the right key, and another's signature": lambda: [
        jwt.encode({"htm": "GET"}, private_key("ES256", 1), "ES256", {"typ": "dpop+jwt", "jwk": jwk()})
    ],
    "alg none": lambda: [jwt.encode({}, None, "none", {"typ": "dpop+jwt", "jwk": jwk()})],  # type: ignore[arg-type]
    "a shared key": lambda: [jwt.encode({}, SECRET, "HS256", {"typ": "dpop+jwt", "jwk": jwk()})],
    "crit": lambda: [proof(ALICE, head_crit=["b64"])],
    "a private key": lambda: [proof(ALICE, head_jwk={**jwk(), "d": "AA"})],
    "huge": lambda: [proof(ALICE, jti="x" * 9000)],
}


@pytest.mark.parametrize("name", WRONG)
def test_no_other_proof_is_one(gateway: Gateway, service: Backend, name: str) -> None:
    reached = len(service.requests)
    assert told(gateway.get("/api/s/x", *lines(ALICE, *WRONG[name]()))) == "invalid_dpop_proof"
    assert len(service.requests) == reached


def test_a_bound_token_is_no_bearer_token(gateway: Gateway) -> None:
    shown_so = [bearer(ALICE), f"DPoP: {proof(ALICE)}"], [bearer(ALICE)], [f"Cookie: t={ALICE}"]
    for shown in shown_so:
        assert told(gateway.get("/api/s/x", *shown)) == "invalid_token"
    assert told(gateway.get(f"/api/s/x?t={ALICE}", f"DPoP: {proof(ALICE)}")) == "invalid_token"
    free = token()
    assert told(gateway.get("/api/s/x", *lines(free, proof(free)))) == "invalid_token", "it is bound to nothing"
    assert told(gateway.get("/api/s/x", bearer(free))) == "alice"


@pytest.mark.parametrize(
    "cnf",
    [
        *(None, {}, "x", [], {"jkt": 5}, {"jkt": None}, {"kid": "x"}, {"jwk": {}}, {"x5t": "x"}),
        {"jkt": "x", "x5t#S256": "y"},
    ],
)
def test_a_binding_that_cannot_be_checked_is_refused(gateway: Gateway, cnf: Any) -> None:
    own = token(cnf=cnf)
    assert told(gateway.get("/api/s/x", bearer(own))) == "invalid_token"
    assert told(gateway.get("/api/s/x", *lines(own, proof(own)))) == "invalid_token"


def test_what_the_cache_keeps_is_for_whoever_proves_it(gateway: Gateway) -> None:
    url = "http://gateway.test/api/cached/x"
    for outcome in ("stored", "hit"):
        answer = gateway.get("/api/cached/x", *lines(ALICE, proof(ALICE, url=url)))
        assert told(answer) == "alice"
        assert outcome in (answer.get("cache-status") or "")
    assert told(gateway.get("/api/cached/x", *lines(ALICE))) == "invalid_dpop_proof"
    assert told(gateway.get("/api/cached/x", bearer(ALICE))) == "invalid_token"
    assert gateway.get("/api/cached/x").status == 401


def test_mutated_proofs(gateway: Gateway, service: Backend) -> None:
    """None of 2,000 is one, and none is a fault of the gateway's."""
    chance = Random(9449)
    reached = len(service.requests)
    with gateway.wire() as wire:
        for _ in range(2000):
            whole = proof(ALICE) if chance.random() < 0.2 else _ONE
            text = list(whole)
            for _ in range(chance.randint(1, 3)):
                place, sign = chance.randrange(len(text)), chance.choice("ABab01-_.=~")
                if chance.random() < 0.5:
                    text[place] = sign if text[place] != sign else "!"
                elif chance.random() < 0.5:
                    text.insert(place, sign)
                else:
                    del text[place]
            mutated = "".join(text)
            if mutated != whole:  # several changes may come to nothing
                assert told(wire.ask("GET", "/api/s/x", *lines(ALICE, mutated))) == "invalid_dpop_proof"
    assert len(service.requests) == reached


def test_where_the_address_is_written_the_request_does_not_choose_it(gateway: Gateway) -> None:
    written, asked = (proof(ALICE, url=f"{origin}/api/r/x") for origin in ("https://gw.example", "http://gateway.test"))
    assert told(gateway.get("/api/r/x", *lines(ALICE, written))) == "alice"
    assert told(gateway.get("/api/r/x", *lines(ALICE, asked))) == "invalid_dpop_proof"


# ---- by a certificate


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("clients"), "Clients")


def digest(leaf: Leaf) -> str:
    return base64(sha256(leaf.content().public_bytes(Encoding.DER)).digest())


def test_a_token_is_good_with_its_certificate_alone(
    service: Backend, clients: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    servers = Authority(tmp_path_factory.mktemp("servers"))
    own, other = clients.leaf("own"), clients.leaf("other")
    tls = {**servers.leaf("gw", "127.0.0.1").written, "client_certificates": {"ca": str(clients.ca), "required": False}}
    guarded = {"url": service.url, "health_check": False, "policies": {"auth": {"jwt": {"secret": SECRET}}}}
    line = bearer(token(cnf={"x5t#S256": digest(own)}))
    with Gateway({"gateway": {"tls": tls, "workers": 1}, "services": {"s": guarded}}) as gateway:
        for leaf, expected in ((own, "alice"), (other, "invalid_token"), (None, "invalid_token"), (own, "alice")):
            plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
            secured = servers.client_context(leaf).wrap_socket(plain, server_hostname="127.0.0.1")
            with Wire(gateway.port, secured) as wire:
                for _ in range(3):
                    assert told(wire.ask("GET", "/api/s/x", line)) == expected
                reported = f"Client-Cert: :{'A' * 8}:"
                assert told(wire.ask("GET", "/api/s/x", line, reported)) == expected


def test_a_certificate_that_a_proxy_reports(service: Backend, clients: Authority) -> None:
    own, other = clients.leaf("own2"), clients.leaf("other2")
    auth = {"jwt": {"secret": SECRET}, "client_certificate": {"from_proxies": True}}
    guarded = {"url": service.url, "health_check": False, "policies": {"auth": auth}}
    line = bearer(token(cnf={"x5t#S256": digest(own)}))
    config = {"gateway": {"trusted_proxies": ["127.0.0.1/32"], "workers": 1}, "services": {"s": guarded}}
    with Gateway(config) as gateway, gateway.wire() as wire:
        for leaf, expected in ((own, "alice"), (other, "invalid_token"), (own, "alice")):
            value = b64encode(leaf.content().public_bytes(Encoding.DER)).decode()
            assert told(wire.ask("GET", "/api/s/x", line, f"Client-Cert: :{value}:")) == expected
        assert told(wire.ask("GET", "/api/s/x", line)) == "invalid_token"
