"""An issuer of tokens: its metadata and keys at an address, as a provider of OpenID Connect has them."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

from .backend import Backend, Connection

_MADE: dict[tuple[str, int], Any] = {}


def private_key(algorithm: str, number: int = 0) -> Any:
    """A key that signs by an algorithm; the same for the same number."""
    kind = "RSA" if algorithm[:2] in ("RS", "PS") else "Ed" if algorithm[:2] == "Ed" else algorithm
    if (kind, number) not in _MADE:
        if kind == "RSA":
            key: Any = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        elif kind.startswith("ES"):
            curve = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}[kind]
            key = ec.generate_private_key(curve)
        else:
            key = ed25519.Ed25519PrivateKey.generate()
        _MADE[kind, number] = key
    return _MADE[kind, number]


def public_jwk(algorithm: str, number: int = 0, **more: Any) -> dict[str, Any]:
    """The public half of such a key, as it is published, named after both."""
    key = private_key(algorithm, number).public_key()
    reader = OKPAlgorithm if algorithm[:2] == "Ed" else ECAlgorithm if algorithm[:2] == "ES" else RSAAlgorithm
    return {**reader.to_jwk(key, as_dict=True), "kid": f"{algorithm}-{number}", "use": "sig", **more}


def signed(algorithm: str, claims: Any, number: int = 0, head: Any = None, **header: Any) -> str:
    """A token signed with such a key, whose name is its `kid`; without `exp` it ends in ten minutes.

    `header` are members of its header, left out where they are None; `head` stands in place of all of them. Bytes are
    taken as they are.
    """
    members = {"alg": algorithm, "typ": "JWT", "kid": f"{algorithm}-{number}", **header}
    said = {name: value for name, value in members.items() if value is not None} if head is None else head
    content = {"exp": int(time.time()) + 600, **claims} if isinstance(claims, dict) else claims
    text = f"{encoded(said)}.{encoded(content)}"
    by = get_default_algorithms()["EdDSA" if algorithm == "Ed25519" else algorithm]
    return f"{text}.{encoded(by.sign(text.encode(), private_key(algorithm, number)))}"


def encoded(part: Any) -> str:
    """A part of a token: JSON, or bytes as they are."""
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(content).rstrip(b"=").decode()


class Issuer(Backend):
    """Publishes `keys`, and says of itself `name`; with `status` other than 200 it answers that alone."""

    def __init__(self, *keys: dict[str, Any], path: str = "") -> None:
        super().__init__(self._answers)
        self.keys = list(keys)
        self.path = path
        self.status = 200
        self.name = ""
        """What its metadata says it is; empty: its address."""

    def _answers(self, connection: Connection) -> None:
        while (request := connection.next_request()) is not None:
            document: Any = {"keys": self.keys}
            status = self.status
            if request.target.endswith("/.well-known/openid-configuration"):
                document = {"issuer": self.name or self.issuer, "jwks_uri": f"{self.url}/keys"}
                status = (
                    404 if request.target != f"{self.path.rstrip('/')}/.well-known/openid-configuration" else status
                )
            body = json.dumps(document).encode() if status == 200 else b""
            connection.answer(body, f"{status} Said So", "Content-Type: application/json")

    @property
    def issuer(self) -> str:
        """Its identifier."""
        return f"{self.url}{self.path}"
