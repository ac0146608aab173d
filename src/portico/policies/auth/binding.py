"""Tokens that are bound to a key (RFC 7800): whoever sends one proves with each request that it holds the key.

To the key of a certificate (RFC 8705), which the handshake proves, or to one that signs a proof (RFC 9449).
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from jwt import PyJWTError

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.printing import printable
from portico.policies.auth.client_certificates import own_certificate, reported_certificate
from portico.policies.auth.dpop import CHALLENGE, Replays, check_proof

_SCHEMES: Final = (b"dpop", b"dpop ")
_NO_PROOF: Final = (CHALLENGE + b', error="invalid_dpop_proof"',)
_NO_CERTIFICATE: Final = Refusal(
    "credentials_invalid",
    "the token is bound to a certificate, which the connection does not have",
    (b'WWW-Authenticate: Bearer realm="portico", error="invalid_token"',),
)

Proof: TypeAlias = Callable[[Exchange, bytes], Answer | None]
"""Why a request with these credentials does not prove that its client holds the key of the token; None: it does."""


class _Binding(NamedTuple):
    kind: Literal["x5t#S256", "jkt"]
    thumbprint: str


def _binding_of(claims: Mapping[str, Any]) -> _Binding | None:
    """What a token is bound to. Raises ValueError where that is nothing that can be checked here."""
    if "cnf" not in claims:
        return None
    said = claims["cnf"]
    if isinstance(said, dict) and len(said) == 1:
        ((kind, thumbprint),) = said.items()
        if kind in ("x5t#S256", "jkt") and isinstance(thumbprint, str):
            return _Binding(kind, thumbprint)
    raise ValueError("it is bound to a key in a way that cannot be checked here (cnf)")


def is_dpop(line: bytes) -> bool:
    """Whether a field line shows a token that comes with a proof."""
    name, colon, value = line.partition(b":")
    return bool(colon) and name.lower() == b"authorization" and value.lstrip()[:5].lower() in _SCHEMES


@dataclass(frozen=True)
class Bindings:
    """How bound tokens are checked: equal ones check alike.

    `from_proxies` says whether trusted proxies report their clients' certificates. `origin` is the scheme and host of
    requests; empty: as they say themselves.
    """

    from_proxies: bool = False
    origin: bytes = b""
    replays: Replays = field(default_factory=Replays, compare=False, repr=False)

    def proof_for(self, claims: Mapping[str, Any], credentials: bytes) -> Proof | None:
        """What each request with a token has to be checked for; None where it is bound to nothing.

        Raises ValueError where the token comes in a way in which it may not.
        """
        binding = _binding_of(claims)
        if (binding is not None and binding.kind == "jkt") != is_dpop(credentials):
            if binding is None or binding.kind != "jkt":
                raise ValueError("it is bound to no key that signs proofs: send it as 'Authorization: Bearer TOKEN'")
            raise ValueError("it is bound to a key: send it as 'Authorization: DPoP TOKEN', with a proof (RFC 9449)")
        if binding is None:
            return None
        return self._signed(binding) if binding.kind == "jkt" else self._certified(binding)

    def peek(self) -> Bindings:
        """The same, by which no proof is used up."""
        return replace(self, replays=self.replays.peek())

    def _certified(self, binding: _Binding) -> Proof:
        shown = reported_certificate if self.from_proxies else own_certificate

        def proof(exchange: Exchange, credentials: bytes) -> Answer | None:  # noqa: ARG001
            certificate = shown(exchange)
            if not isinstance(certificate, bytes):
                return _NO_CERTIFICATE
            digest = urlsafe_b64encode(sha256(certificate).digest()).rstrip(b"=").decode()
            return None if digest == binding.thumbprint else _NO_CERTIFICATE

        return proof

    def _signed(self, binding: _Binding) -> Proof:
        def proof(exchange: Exchange, credentials: bytes) -> Answer | None:
            token = credentials.partition(b":")[2].split(None, 1)[1].strip()
            try:
                check_proof(exchange, token, binding.thumbprint, self.origin, self.replays)
            except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
                return Refusal("credentials_invalid", f"the proof of its key: {printable(str(error))[:200]}", _NO_PROOF)
            return None

        return proof
