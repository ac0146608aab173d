"""Tokens of issuers that publish their keys: who is let in, what is refused, rotation, and issuers that are away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.backend import Backend
from support.client import ask
from support.forged_tokens import PUBLISHED, forged, pem
from support.issuer import Issuer, public_jwk, signed
from support.messages import Message
from support.tokens import bearer
from support.world import Gateway, until

ALGORITHMS = [
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
]
FILED = "https://files.example"
PEM = "https://pem.example"


class Setting(NamedTuple):
    gateway: Gateway
    service: Backend
    issuer: Issuer
    """Found by discovery, for the audience `api`."""
    other: Issuer
    """By the address of its keys; ES256 alone."""

    def ask(self, token: str) -> Message:
        return self.gateway.get("/api/s/x", bearer(token))

    def token(self, algorithm: str = "RS256", number: int = 0, **claims: Any) -> str:
        """One that is as it has to be, but for these claims."""
        return signed(algorithm, {"iss": self.issuer.issuer, "aud": "api", "sub": "alice", **claims}, number)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "keys.json").write_text(json.dumps({"keys": [public_jwk("RS256", 3), public_jwk("ES256", 3)]}))
    (folder / "key.pem").write_bytes(pem("RS256", 4) + pem("EdDSA", 4))
    with ExitStack() as stack:
        service = stack.enter_context(Backend())
        issuer = stack.enter_context(Issuer(*(public_jwk(each) for each in PUBLISHED), path="/realms/one"))
        other = stack.enter_context(Issuer(public_jwk("ES256", 1), public_jwk("RS256", 1)))
        issuers = [
            {"issuer": issuer.issuer, "discovery": True, "audience": "api"},
            {"issuer": other.issuer, "jwks_url": f"{other.url}/keys", "algorithms": ["ES256"], "require_expiry": True},
            {"issuer": FILED, "jwks_file": str(folder / "keys.json"), "types": ["JWT", "visa+jwt"]},
            {"issuer": PEM, "public_key_file": str(folder / "key.pem")},
        ]
        config = {
            "gateway": {"workers": 2},
            "services": {"s": service, "open": service},
            "policies": {"auth": {"jwt": {"issuers": issuers}}},
        }
        gateway = stack.enter_context(Gateway(config))
        yield Setting(gateway, service, issuer, other)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_by_each_algorithm_is_admitted(setting: Setting, algorithm: str) -> None:
    key = "RS256" if algorithm[:2] in ("RS", "PS") else "EdDSA" if algorithm[:2] == "Ed" else algorithm
    claims = {"iss": setting.issuer.issuer, "aud": ["x", "api"], "sub": "alice", "scp": ["read"]}
    answer = setting.ask(signed(algorithm, claims, kid=f"{key}-0"))
    assert answer.status == 200, answer.body
    fields = dict(json.loads(answer.body)["fields"])
    assert (fields["X-Consumer-Username"], fields["X-Consumer-Scopes"]) == ("alice", "read")


def test_tokens_of_all_issuers_are_admitted(setting: Setting) -> None:
    for token in (
        setting.token(),
        signed("RS256", {"iss": setting.issuer.issuer, "aud": "api"}, typ="at+jwt"),
        signed("RS256", {"iss": setting.issuer.issuer, "aud": "api"}, typ="application/AT+JWT"),
        signed("ES256", {"iss": setting.other.issuer}, 1),
        signed("RS256", {"iss": FILED}, 3),
        signed("ES256", {"iss": FILED}, 3, typ="visa+jwt"),
        signed("RS256", {"iss": PEM}, 4),
        signed("EdDSA", {"iss": PEM}, 4, kid="a name that a PEM file cannot know"),
        signed("PS384", {"iss": PEM}, 4, kid=None),
    ):
        assert setting.ask(token).status == 200


def test_no_forged_token_is_admitted(setting: Setting) -> None:
    iss, other = setting.issuer.issuer, setting.other.issuer
    tokens = list(dict.fromkeys(forged(iss, setting.other.url)))
    tokens += [("another issuer", signed("RS256", {"iss": other, "aud": "api"})) for other in (FILED, PEM, other)]
    tokens.append(("another issuer", signed("ES256", {"iss": iss, "aud": "api"}, 1)))
    tokens.append(("algorithms", signed("RS256", {"iss": other}, 1)))  # its key, but not one of its algorithms
    tokens.append(("require_expiry", signed("ES256", json.dumps({"iss": other}).encode(), 1)))
    assert len(tokens) >= 200
    before = len(setting.service.requests)
    with ThreadPoolExecutor(16) as pool:  # those with keys that are not there wait for up to a second
        answers = [*pool.map(setting.ask, [token for _, token in tokens])]
    for (family, token), answer in zip(tokens, answers, strict=True):
        problem = json.loads(answer.body)
        assert answer.status == 401, (family, token, answer.body)
        assert answer.get("content-type") == "application/problem+json"
        assert problem["reason"] in ("credentials_invalid", "credentials_expired"), (family, token)
        assert str(answer.get("www-authenticate")).startswith('Bearer realm="portico", error="invalid_token"')
        assert len(token) < 40 or token[-40:] not in answer.body.decode()
    assert len(setting.service.requests) == before
    assert not any("/evil" in request.target for request in setting.other.requests)


def test_the_reason_says_what_is_wrong(setting: Setting) -> None:
    said = {
        setting.token(
            iss=f"{setting.issuer.issuer}/"
        ): "its issuer is not accepted: its iss differs from the configured one by a slash at its end",
        setting.token(iss="https://evil.example"): "its issuer is not accepted",
        setting.token(aud="x"): "it is for somebody else: its aud is none of those that are accepted",
        signed("RS256", {"iss": setting.issuer.issuer, "aud": "api"}, 7, kid="RS256-0"): "its signature is not right",
        signed("RS256", {"iss": setting.issuer.issuer, "aud": "api"}, 7): "its key is none of the issuer's",
    }
    for token, detail in said.items():
        assert json.loads(setting.ask(token).body)["detail"] == f"the token is not valid: {detail}"


# ---- keys that change


def status_of(gateway: Gateway) -> list[dict[str, Any]]:
    issuers: list[dict[str, Any]] = json.loads(ask(gateway.admin_port, "GET", "/admin/status", "Host: localhost").body)[
        "issuers"
    ]
    return issuers


def test_a_new_key_is_known_at_once_and_a_withdrawn_one_is_refused(setting: Setting) -> None:
    gateway, issuer = setting.gateway, setting.issuer
    old = setting.token("ES256")
    assert setting.ask(old).status == 200
    issuer.keys = [*issuer.keys, public_jwk("ES256", 2)]
    fetches = len(issuer.requests)
    assert [setting.ask(setting.token("ES256", 2, sub=f"user-{number}")).status for number in range(8)] == [200] * 8
    assert len(issuer.requests) - fetches <= 4, "metadata and keys, once for each worker at most"
    issuer.keys = [key for key in issuer.keys if key["kid"] != "ES256-0"]
    assert setting.ask(setting.token("ES256", 9)).status == 401, "a key that is not there has the keys fetched anew"
    until(lambda: [setting.ask(old).status for _ in range(8)] == [401] * 8, "all workers know it")
    assert setting.ask(setting.token("ES256", 2)).status == 200
    issuer.keys = [public_jwk(each) for each in PUBLISHED]
    until(lambda: setting.ask(setting.token("ES256", sub="again")).status == 200, "the key is back")
    assert any(event.get("withdrawn") == "ES256-0" for event in gateway.events())


def test_a_new_key_that_tokens_do_not_name_is_known_at_once(setting: Setting) -> None:
    """An issuer with one key need not name it (OpenID Connect Core, section 10.1)."""
    issuer = setting.issuer
    published = issuer.keys

    def token(number: int, sub: str) -> str:
        return signed("ES384", {"iss": issuer.issuer, "aud": "api", "sub": sub}, number, kid=None)

    issuer.keys = [public_jwk("ES384", 3)]
    assert setting.ask(setting.token("ES384", 3)).status == 200
    assert setting.ask(token(5, "forger")).status == 401
    issuer.keys = [public_jwk("ES384", 4)]
    assert [setting.ask(token(4, f"user-{number}")).status for number in range(8)] == [200] * 8
    issuer.keys = published
    until(lambda: setting.ask(setting.token("ES256", sub="back")).status == 200, "the keys are back")


def test_invented_keys_are_no_load_for_the_issuer(setting: Setting) -> None:
    fetches = len(setting.issuer.requests)
    began = time.monotonic()
    claims = {"iss": setting.issuer.issuer, "aud": "api"}
    invented = [signed("RS256", claims, 7, kid=f"invented-{number}") for number in range(30)]
    with ThreadPoolExecutor(10) as pool:
        assert {answer.status for answer in pool.map(setting.ask, invented * 3)} == {401}
    seconds = time.monotonic() - began
    assert len(setting.issuer.requests) - fetches <= 2 * (seconds + 2)
    assert len(setting.issuer.requests) - fetches < 2 * 30


@pytest.fixture
def alone() -> Iterator[Callable[[Any], Gateway]]:
    """Starts a gateway for one test."""
    with ExitStack() as stack:

        def start(config: Any) -> Gateway:
            own = stack.enter_context(Gateway(config))
            own.clean = False
            return own

        yield start


def test_issuers_that_are_away_misnamed_or_late(alone: Callable[[Any], Gateway], backend: Backend) -> None:
    """The gateway starts all the same, the others work, and `portico status` says what is wrong."""
    with Issuer(public_jwk("RS256")) as right, Issuer(public_jwk("RS256", 1), path="/t") as slash, Issuer() as late:
        slash.name = f"{slash.issuer}/"
        late.status = 503
        jwt = {"issuers": [{"issuer": each.issuer, "discovery": True} for each in (right, slash, late)]}
        gateway = alone({"services": {"s": backend}, "policies": {"auth": {"jwt": jwt}}})

        def answers(token: str) -> tuple[int, str]:
            answer = gateway.get("/api/s/x", bearer(token))
            return answer.status, "" if answer.status == 200 else json.loads(answer.body)["reason"]

        assert answers(signed("RS256", {"iss": right.issuer})) == (200, "")
        assert answers(signed("RS256", {"iss": slash.name}, 1)) == (401, "credentials_invalid")
        assert answers(signed("RS256", {"iss": late.issuer}, 2)) == (503, "issuer_unavailable")
        problems = {each["issuer"]: each.get("problem") for each in status_of(gateway)}
        assert problems[right.issuer] is None
        assert f"'{slash.name}'" in str(problems[slash.issuer])
        assert f"'{slash.issuer}'" in str(problems[slash.issuer])
        for place in ("openid-configuration", "oauth-authorization-server"):
            assert f"{late.issuer}/.well-known/{place} answers 503" in str(problems[late.issuer])
        assert "//.well-known" not in "".join(request.target for request in slash.requests)
        late.status, late.keys = 200, [public_jwk("RS256", 2)]
        until(lambda: answers(signed("RS256", {"iss": late.issuer}, 2)) == (200, ""), "the keys have come")
        right.status = 500
        gateway.get("/api/s/x", bearer(signed("RS256", {"iss": right.issuer}, 5)))  # has the keys fetched anew
        until(
            lambda: any("problem" in each for each in status_of(gateway) if each["issuer"] == right.issuer), "it failed"
        )
        assert answers(signed("RS256", {"iss": right.issuer, "sub": "new"})) == (200, ""), "the last known keys hold"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "it is no JSON Web Key Set: that is an object with a list of keys"),
        ('{"keys": []}', "it has no key that verifies signatures"),
        (
            '{"keys": [{"kty": "oct", "k": "AAAA"}]}',
            "it has no key that verifies signatures; a key without kid: it is a",
        ),
        ("x", "it is no JSON"),
    ],
)
def test_a_file_that_has_no_keys_is_a_problem_of_the_configuration(tmp_path: Path, text: str, problem: str) -> None:
    from support.portico import run_portico

    (tmp_path / "keys.json").write_text(text)
    config = f"""
services:
  s: {{url: "http://localhost:1", policies: {{auth: {{jwt: {{jwks_file: {tmp_path}/keys.json}}}}}}}}
"""
    (tmp_path / "portico.yaml").write_text(config)
    done = run_portico("check", "--config", str(tmp_path / "portico.yaml"))
    assert done.returncode != 0
    assert f"services.s.policies.auth.jwt.jwks_file: {tmp_path}/keys.json: {problem}" in done.stderr + done.stdout
