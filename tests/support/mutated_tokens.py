"""Tokens that were good before something of them was changed: whatever it was, nobody may be let in with one."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from .forged_tokens import pem
from .issuer import encoded, public_jwk, signed
from .tokens import SECRET

ISSUER: Final = "https://id.example"
PUBLISHED: Final = ("RS256", "ES256", "EdDSA")
"""The algorithms of the issuer's keys; HS256 has the secret."""
ALGORITHMS: Final = ("HS256", *PUBLISHED)
_NAMES: Final = (
    *("none", "None", "nOnE", "", "HS256", "HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES384", "ES512"),
    *("EdDSA", "Ed25519", "Ed448", "ES256K", "RSA1_5", "dir", "hs256", "HS256 ", None, 0, True, ["RS256"], {"a": 1}),
)
_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**53,
    2**64,
    1e308,
    "",
    "x",
    "é",
    "\ud800",
    [],
    ["a"],
    {},
    {"a": [1]},
    "0" * 999,
)
_MEMBERS: Final = (
    "alg",
    "kid",
    "typ",
    "cty",
    "crit",
    "b64",
    "jwk",
    "jku",
    "x5u",
    "x5c",
    "x5t",
    "zip",
    "enc",
    "epk",
    "p2c",
)
_CLAIMS: Final = ("iss", "aud", "sub", "exp", "nbf", "iat", "jti", "scope", "scp", "username", "roles", "")
_CHARACTERS: Final = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" + "=+/.,:;!%&'\"\\(){}[]<>~`^| \t\x80éÿ"
)


class Parts(NamedTuple):
    """A token that is good, taken apart."""

    algorithm: str
    header: dict[str, Any]
    claims: dict[str, Any]
    text: str
    signature: bytes


def claims() -> dict[str, Any]:
    """What a token says that is accepted."""
    now = int(time.time())
    return {"iss": ISSUER, "aud": "api", "sub": "alice", "iat": now - 5, "exp": now + 3600, "scope": "a b"}


def good(algorithm: str) -> str:
    """A token that is accepted."""
    if algorithm == "HS256":
        return jwt.encode(claims(), SECRET, "HS256")
    return signed(algorithm, claims())


def mutant(random: Random, algorithm: str) -> str | None:
    """A token that is not accepted; None where by chance nothing of it was changed."""
    token = original = good(algorithm)
    head, body, mark = token.split(".")
    header = jwt.get_unverified_header(token)
    said = jwt.decode(token, options={"verify_signature": False})
    parts = Parts(algorithm, header, said, f"{head}.{body}", jwt.utils.base64url_decode(mark))
    token = random.choice(_KINDS)(random, parts)
    token = _spelt(random, token) if random.random() < 0.2 else token
    return token if token.strip() != original else None


def mutated_keys(random: Random) -> str:
    """The issuer's key set with other material in each key, so that none of its tokens is right."""
    keys = [public_jwk(algorithm) for algorithm in PUBLISHED]
    for key in keys:
        name = random.choice([name for name in ("n", "e", "x", "y") if name in key])
        material = bytearray(jwt.utils.base64url_decode(key[name]))
        material[random.randrange(len(material))] ^= 1 << random.randrange(8)
        key[name] = encoded(bytes(material))
        if random.random() < 0.3:
            key[random.choice(["kid", "use", "alg", "key_ops", "kty", "crv"])] = random.choice(
                [*_VALUES, "HS256", "oct"]
            )
    random.shuffle(keys)
    return json.dumps({"keys": keys})


# ---- what is changed


def _header(random: Random, parts: Parts) -> str:
    """Another header, with the signature of the first."""
    return f"{encoded(_changed(random, parts.header, _MEMBERS))}.{parts.text.split('.')[1]}.{encoded(parts.signature)}"


def _content(random: Random, parts: Parts) -> str:
    """Other claims, with the signature of the first."""
    return f"{parts.text.split('.')[0]}.{encoded(_changed(random, parts.claims, _CLAIMS))}.{encoded(parts.signature)}"


def _changed(random: Random, members: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    changed = dict(members)
    for _ in range(random.randint(1, 3)):
        name = random.choice([*members, *names])
        if random.random() < 0.3:
            changed.pop(name, None)
        else:
            changed[name] = random.choice([*_VALUES, *_NAMES] if name == "alg" else _VALUES)
    return changed


def _signature(random: Random, parts: Parts) -> str:
    """Another signature below the same content."""
    mark = bytearray(parts.signature)
    kind = random.randrange(8)
    if kind == 0:
        mark[random.randrange(len(mark))] ^= 1 << random.randrange(8)
    elif kind == 1:
        del mark[random.randrange(len(mark)) :]
    elif kind == 2:
        mark += random.randbytes(random.randint(1, 40))
    elif kind == 3:
        mark = bytearray(len(mark))
    elif kind == 4:
        mark = bytearray(random.randbytes(len(mark)))
    elif kind == 5:
        half = len(mark) // 2
        mark = mark[half:] + mark[:half]
    elif kind == 6:
        half = len(mark) // 2
        mark = bytearray(encode_dss_signature(*(int.from_bytes(each) for each in (mark[:half], mark[half:]))))
    else:
        mark = bytearray(b"\0") + mark
    return f"{parts.text}.{encoded(bytes(mark))}"


def _spelling(random: Random, parts: Parts) -> str:
    return _spelt(random, f"{parts.text}.{encoded(parts.signature)}")


def _spelt(random: Random, token: str) -> str:
    """The same token with some characters changed."""
    for _ in range(random.randint(1, 3)):
        at, character = random.randrange(len(token) + 1), random.choice(_CHARACTERS)
        kind = random.randrange(6)
        if kind == 0:
            token = token[:at] + character + token[at:]
        elif kind == 1:
            token = token[: max(at - 1, 0)] + token[at:]
        elif kind == 2:
            token = token[: max(at - 1, 0)] + character + token[at:]
        elif kind == 3:
            token = token[:at] + token[at:].swapcase()
        elif kind == 4:
            token = token[: max(at, 1)]
        else:
            token += random.choice(["=", "==", ".", f".{token}", f",{token}", f" {token}", "%3D"])
    return token


def _stranger(random: Random, parts: Parts) -> str:
    """Signed by somebody else, with the name of the issuer's key, or with a key that comes along."""
    algorithm = random.choice(PUBLISHED)
    number = random.randint(7, 8)
    own = public_jwk(algorithm, number)
    along: dict[str, Any] = random.choice(
        [{}, {"jwk": own}, {"jku": "http://[::1]/keys"}, {"x5c": [encoded(pem(algorithm, number))]}, {"kid": None}]
    )
    name = random.choice([f"{parts.algorithm}-0", f"{algorithm}-0", f"{algorithm}-{number}"])
    return signed(algorithm, parts.claims, number, **{"kid": name, **along})


def _confused(random: Random, parts: Parts) -> str:
    """What is public, used as a shared secret."""
    algorithm = random.choice(PUBLISHED)
    own = public_jwk(algorithm)
    secret = random.choice(
        [pem(algorithm), pem(algorithm).strip(), json.dumps(own).encode(), own.get("n", own.get("x", "")).encode(), b""]
    )
    size = random.choice(["256", "384", "512"])
    text = f"{encoded({'alg': f'HS{size}', 'kid': random.choice([f'{algorithm}-0', None])})}.{encoded(parts.claims)}"
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), f'sha{size}'))}"


def _unsigned(random: Random, parts: Parts) -> str:
    name = random.choice(_NAMES[:4])
    mark = random.choice([b"", parts.signature])
    return f"{encoded({'alg': name, 'typ': 'JWT'})}.{encoded(parts.claims)}.{encoded(mark)}"


def _swapped(random: Random, parts: Parts) -> str:
    """Named after another algorithm than the one it is signed by, by the right key."""
    if parts.algorithm == "HS256":
        text = f"{encoded({'alg': random.choice(['HS384', 'HS512', 'RS256', 'none'])})}.{encoded(parts.claims)}"
        return f"{text}.{encoded(hmac.digest(SECRET.encode(), text.encode(), 'sha256'))}"
    return signed(
        parts.algorithm, parts.claims, alg=random.choice(["RS512", "PS256", "ES384", "none", "HS256", "Ed448"])
    )


def _honest(random: Random, parts: Parts) -> str:
    """Signed as it should be, for somebody else, for another time, or with what nobody understands."""
    now = int(time.time())
    wrong: list[dict[str, Any]] = [
        *({"exp": value} for value in (now - 1, 0, -1, "soon", str(now + 600), True, None, [now + 600], 2**60)),
        *({"nbf": value} for value in (now + 600, "now", None, 2**60)),
        *({"iat": value} for value in (now + 600, "now", None)),
        *({"aud": value} for value in ("API", "", ["x"], [], {"api": 1}, None, ["api", 5])),
        *({"iss": value} for value in (f"{ISSUER}/", ISSUER.upper(), "", None, [ISSUER], 5)),
        *({"sub": value} for value in (5, {"a": 1}, "a\x00", "\ud800")),
        *({"scope": value} for value in (5, {"a": 1}, ["a b"], [1])),
    ]
    headers: list[dict[str, Any]] = [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"typ": "dpop+jwt"}, {"typ": 5}]
    by_claims = random.random() < 0.8
    said = {**parts.claims, **random.choice(wrong)} if by_claims else parts.claims
    more = {} if by_claims else random.choice(headers)
    if parts.algorithm == "HS256":
        text = f"{encoded({'alg': 'HS256', **more})}.{encoded(said)}"
        return f"{text}.{encoded(hmac.digest(SECRET.encode(), text.encode(), 'sha256'))}"
    return signed(parts.algorithm, said, **more)


_KINDS: Final[tuple[Callable[[Random, Parts], str], ...]] = (
    *(_header, _content, _signature, _spelling, _spelling, _stranger, _confused, _unsigned, _swapped, _honest),
)
