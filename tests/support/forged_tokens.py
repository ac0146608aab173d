"""Tokens with which nobody may be let in, by family: those of RFC 8725 and of attacks on real libraries."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterator
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .issuer import encoded, private_key, public_jwk, signed

PUBLISHED: Final = ("RS256", "ES256", "ES384", "ES512", "EdDSA")
"""The issuer's keys: number 0 of each."""
_NAMES: Final = ("none", "None", "NONE", "nOnE", "", None, 0, True, ["RS256"], {"RS256": 1}, "HS1", "RS1", "ES256K")
_KIDS: Final = (
    "",
    "../keys.json",
    "/dev/null",
    "RS256-0'--",
    "RS256-0\x00",
    "*",
    "rs256-0",
    "a" * 4000,
    "http://[::1]/",
)
_KINDS: Final = ("dpop+jwt", "logout+jwt", "secevent+jwt", "portico-identity+jwt", "JOSE", "", "visa+jwt")


def pem(algorithm: str, number: int = 0) -> bytes:
    """A public key as it is published in a file."""
    public = private_key(algorithm, number).public_key()
    text: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text


def forged(issuer: str, elsewhere: str) -> Iterator[tuple[str, str]]:
    """Families and tokens: of an issuer for the audience `api`, with keys at another address."""
    claims = {"iss": issuer, "aud": "api", "sub": "alice", "exp": int(time.time()) + 600}
    for family in (_algorithms, _confused, _kids, _extensions, _doubled, _no_objects, _nested, _mangled, _claims):
        yield from ((family.__name__.strip("_"), token) for token in family(claims))
    yield from (("embedded", token) for token in _embedded(claims, elsewhere))


def _algorithms(claims: dict[str, Any]) -> Iterator[str]:
    _, body, mark = signed("RS256", claims).split(".")
    for name in _NAMES:
        text = f"{encoded({'alg': name, 'kid': 'RS256-0'})}.{body}"
        yield from (f"{text}.", f"{text}.{mark}")
    yield f"{encoded({})}.{body}.{mark}"


def _confused(claims: dict[str, Any]) -> Iterator[str]:
    """Keys used for what they are not: above all a public key as a shared secret."""
    for secret in (pem("RS256"), pem("RS256").strip(), public_jwk("RS256")["n"].encode(), b"", b"secret", pem("EdDSA")):
        for size in ("256", "384", "512"):
            text = f"{encoded({'alg': f'HS{size}', 'kid': 'RS256-0'})}.{encoded(claims)}"
            yield f"{text}.{encoded(hmac.digest(secret, text.encode(), f'sha{size}'))}"
    for algorithm, name in (
        ("ES256", "RS256"),
        ("RS256", "ES256"),
        ("ES256", "ES384"),
        ("RS256", "PS256"),
        ("RS256", "RS512"),
    ):
        yield signed(algorithm, claims, alg=name)


def _embedded(claims: dict[str, Any], elsewhere: str) -> Iterator[str]:
    """Keys that come with the token, or from where it says."""
    for number in (7, 8):
        for algorithm in PUBLISHED:
            own, name = public_jwk(algorithm, number), f"{algorithm}-0"
            yield signed(algorithm, claims, number)
            yield signed(algorithm, claims, number, kid=None)
            yield signed(algorithm, claims, number, jwk=own)
            yield signed(algorithm, claims, number, jwk=own, kid=name)
            yield signed(algorithm, claims, number, jku=f"{elsewhere}/evil")
            yield signed(algorithm, claims, number, x5u=f"{elsewhere}/evil", kid=name)
            yield signed(algorithm, claims, number, x5c=[encoded(pem(algorithm, number))])


def _kids(claims: dict[str, Any]) -> Iterator[str]:
    yield from (signed("RS256", claims, 7, kid=kid) for kid in _KIDS)
    yield from (signed("RS256", claims, kid=kid) for kid in (1, ["RS256-0"], {"a": 1}, True))


def _extensions(claims: dict[str, Any]) -> Iterator[str]:
    unencoded: dict[str, Any] = {"crit": ["b64"], "b64": False}
    yield from (signed("RS256", claims, crit=names) for names in (["exp"], []))
    yield from (signed("RS256", claims, b64=value) for value in (False, True))
    yield signed("RS256", claims, **unencoded)
    yield from (signed("RS256", claims, typ=kind) for kind in (*_KINDS, 5))


def _doubled(claims: dict[str, Any]) -> Iterator[str]:
    whole = json.dumps(claims).encode()
    yield signed("RS256", b'{"iss":"https://evil.example",' + whole[1:])
    yield signed("RS256", whole[:-1] + b',"aud":"x"}')
    yield signed("RS256", whole[:-1] + b',"exp":1e9}')
    yield signed("RS256", claims, head=b'{"alg":"none","alg":"RS256","kid":"RS256-0"}')
    yield signed("RS256", claims, head=b'{"kid":"x","alg":"RS256","kid":"RS256-0"}')


def _no_objects(claims: dict[str, Any]) -> Iterator[str]:
    whole = json.dumps(claims)
    texts = (
        b"[]",
        b"null",
        b'"a"',
        b"1",
        b"",
        b"{",
        f"{whole} x".encode(),
        f"\ufeff{whole}".encode(),
        whole.encode("utf-16"),
    )
    for text in texts:
        yield signed("RS256", text)
        yield signed("RS256", claims, head=text)


def _nested(claims: dict[str, Any]) -> Iterator[str]:
    yield signed("RS256", b'{"a":' + b"[" * 600 + b"]" * 600 + b"," + json.dumps(claims).encode()[1:])
    inner = signed("RS256", claims).encode()
    yield signed("RS256", inner, cty="JWT")
    yield signed("RS256", encoded(inner).encode(), cty="JWT")


def _mangled(claims: dict[str, Any]) -> Iterator[str]:
    good = signed("RS256", claims)
    head, body, mark = good.split(".")
    yield from (good[:-cut] for cut in (1, 5, 20, len(mark), len(mark) + 1, len(mark) + 10))
    yield from (f"{head}.{body}", f"{head}.{body}.", f"{head}..{mark}", f".{body}.{mark}")
    yield from ("..", ".", "a", f"{good}.x", f"{good}.a.b", f"{head}.{body}.{'A' * 9000}")
    yield from (f"{good}=", f"{good}==", f"{head}=.{body}.{mark}", f"{good}+", f"{good}!", f"{head}%0A.{body}.{mark}")
    yield good[:-1] + next(each for each in "AQgw" if each != good[-1])
    yield good[:-1] + chr(ord(good[-1]) + 1)  # another spelling of the same last byte, or another byte
    yield signed("RS256", {**claims, "sub": "a" * 9000})


def _claims(claims: dict[str, Any]) -> Iterator[str]:
    now, issuer = int(time.time()), str(claims["iss"])
    wrong: dict[str, tuple[Any, ...]] = {
        "exp": (now - 1, 0, -1, "soon", str(now + 600), None, [now + 600], True, 2**60, 1e300),
        "nbf": (now + 3600, "now", None, 2**60),
        "iat": (now + 3600, "now", None, 2**60),
        "aud": ("API", "ap", "", ["x"], [], {"api": 1}, None, 5, ["api", 5], "api "),
        "iss": (
            f"{issuer}/",
            issuer.upper(),
            issuer[:-1],
            f" {issuer}",
            "",
            None,
            [issuer],
            {"a": 1},
            "https://evil.example",
        ),
        **dict.fromkeys(("sub", "username", "scope", "scopes", "scp"), ({"a": 1}, 5)),
    }
    for name, values in wrong.items():
        yield from (signed("RS256", {**claims, name: value}) for value in values)
    yield signed("RS256", {name: value for name, value in claims.items() if name != "iss"})
