"""Tokens that only their issuer can read: it is asked about each of them (RFC 7662)."""

from __future__ import annotations

import asyncio
import json
import re
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Awaitable, Iterator
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote_plus, urlencode

import jwt
from pydantic import AfterValidator, Field, SecretStr

from portico.core.caches import ages
from portico.core.claims import claims_of, no_constant
from portico.core.errors import Answer, Refusal
from portico.core.questions import Asker, Question, Reply, UnansweredError
from portico.core.settings import DurationOrZero, NotEmpty, plain_secret
from portico.policies.asking import AskedSettings, Outages
from portico.policies.auth.acceptance import ClaimSettings, check_claims, consumer_of, scopes_of
from portico.policies.auth.binding import Bindings, is_dpop
from portico.policies.auth.identified import Identity, Proved, Verified, by_fields
from portico.policies.auth.tokens import CHALLENGE, HOW, INVALID, bearer, token_of
from portico.policies.consumer_fields import NameEncoding, consumer_lines, consumer_name
from portico.policies.counters.generations import Generations
from portico.policies.policy import Context, Policy

__all__ = ["CHALLENGE", "HOW", "IntrospectionSettings", "build_introspection", "introspection_over"]

_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750, section 2.1."""
_LONGEST: Final = 8192
_MOST_CLAIMS: Final = 32 * 1024
"""Bytes of a token, and of what its issuer says of it."""
_MOST: Final = 10_000
_OTHER_KINDS: Final = frozenset({"refresh", "refresh_token", "offline", "id", "id_token"})
_NOT_ACTIVE: Final = Refusal(
    "credentials_invalid", "the token is not active: it has ended, or was never issued", INVALID
)


def _plain(secret: SecretStr) -> SecretStr:
    plain_secret(secret.get_secret_value())
    return secret


class IntrospectionSettings(AskedSettings, ClaimSettings):
    """Where tokens are introspected, and what else they have to be.

    The gateway shows itself there by `client_id` and `client_secret`, which go in `Authorization`, or in the body with
    `client_auth: body`. An answer holds for `cache`, and no longer than the token; one that a token is not active, for
    `cache_inactive`.
    """

    client_id: Annotated[str, Field(min_length=1)]
    """As whom the gateway asks. A level that writes another `url` writes its own."""
    client_secret: Annotated[SecretStr, AfterValidator(_plain)]
    """The secret of that client."""
    client_auth: Literal["basic", "body"] = "basic"
    """Where `client_id` and `client_secret` stand: form-encoded in `Authorization: Basic` (RFC 6749, section 2.3.1), or
    in the body.
    """
    issuer: Annotated[str | None, NotEmpty("write the iss that tokens must have, or leave issuer out")] = None
    """What `iss` in the answer has to be."""
    cache: DurationOrZero = 30.0
    """How long it holds that a token is active, but no longer than its `exp`; 0 asks each time. A token that is revoked
    is accepted for as long.
    """
    cache_inactive: DurationOrZero = 10.0
    """How long it holds that a token is not active; 0 asks each time."""


def introspection_over(own: Any, base: Any) -> Any:
    """What is left of `base`, the settings of the levels above: a secret is shown to nobody but whom it was for."""
    if isinstance(own, dict) and isinstance(base, dict) and "url" in own:
        return {name: value for name, value in base.items() if name not in ("client_id", "client_secret")}
    return base


def build_introspection(
    settings: IntrospectionSettings,
    encoding: NameEncoding,
    context: Context,
    absent: Answer | None,
    bindings: Bindings = Bindings(),  # noqa: B008 - they only remember what is to be used once
) -> Policy:
    """The method: an active bearer token identifies its owner, another one gets 401, and none `absent`."""
    secret = settings.client_secret.get_secret_value()
    bindings = context.state.keep(("bindings", bindings), lambda: bindings)
    key = ("introspection", context.scope, settings.model_dump_json(), encoding, secret, bindings)
    verified: Verified = context.state.keep(key, Verified)
    inactive: _Inactive = context.state.keep(("inactive", *key), _Inactive)
    outages: Outages = context.state.keep(("introspection outages", settings.url), lambda: Outages(settings.url))
    reading, asking = _Reading(settings, encoding, bindings), _Asking(settings, context.state.asker(settings))
    under_way: dict[tuple[bytes, bool], asyncio.Task[Proved]] = {}
    """Who asks for a token that is asked about already gets the same answer."""

    def verify(line: bytes) -> Proved | Awaitable[Proved]:
        token = token_of(line)
        if len(token) > _LONGEST or not _TOKEN.fullmatch(token):
            return Refusal("credentials_invalid", "this is no token", INVALID)
        digest = blake2b(token, digest_size=20).digest()
        if (inactive.get(digest) or 0.0) > time.monotonic():
            return _NOT_ACTIVE
        asked = digest, is_dpop(line)
        task = under_way.get(asked)
        if task is None:
            task = under_way[asked] = asyncio.get_running_loop().create_task(found(line, token, digest))
            task.add_done_callback(lambda _: under_way.pop(asked, None))
        return asyncio.shield(task)

    async def found(line: bytes, token: bytes, digest: bytes) -> Proved:
        try:
            claims = await asking.about(token)
        except UnansweredError as error:
            return outages.refusal(error)
        if claims is None:
            inactive.put(digest, time.monotonic() + settings.cache_inactive)
            return _NOT_ACTIVE
        return reading.of(claims, line)

    return by_fields(verified, bearer, verify, absent)


class _Inactive(Generations[bytes, float]):
    """Until when tokens are known not to be active (monotonic seconds), by their digests."""

    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        super().__init__(_MOST)
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Drop those that have not come lately."""
        self.rotate()


class _Asking:
    """Asks what is known of a token (RFC 7662, section 2)."""

    def __init__(self, settings: IntrospectionSettings, asker: Asker) -> None:
        self._asker, self._target = asker, settings.target
        self._lines = [
            b"Content-Type: application/x-www-form-urlencoded",
            b"Accept: application/json",
            b"User-Agent: portico",  # without one, some firewalls refuse
        ]
        self._form = {"token_type_hint": "access_token"}
        name, secret = settings.client_id, settings.client_secret.get_secret_value()
        if settings.client_auth == "body":
            self._form |= {"client_id": name, "client_secret": secret}
        else:
            both = f"{quote_plus(name)}:{quote_plus(secret)}"  # form-encoded first: RFC 6749, section 2.3.1
            self._lines.append(b"Authorization: Basic " + b64encode(both.encode()))

    async def about(self, token: bytes) -> bytes | None:
        """The claims of a token, as JSON text; None where it is not active. Raises UnansweredError."""
        content = urlencode({"token": token.decode(), **self._form}).encode()
        return _active(await self._asker(Question(b"POST", self._target, self._lines, content)))


def _active(reply: Reply) -> bytes | None:
    if reply.status in (400, 401, 403):
        raise UnansweredError(f"it answers {reply.status}: does it know this client_id and client_secret?")
    if reply.status != 200:
        raise UnansweredError(f"it answers {reply.status}")
    if len(reply.content) > _MOST_CLAIMS:
        raise UnansweredError(f"it says more than {_MOST_CLAIMS} bytes about a token")
    try:
        said = json.loads(reply.content, parse_constant=no_constant)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("active"), bool):
        raise UnansweredError("its answer is no JSON object with active")
    return reply.content if said["active"] else None


class _Reading:
    """Reads what an issuer says of an active token."""

    def __init__(self, settings: IntrospectionSettings, encoding: NameEncoding, bindings: Bindings) -> None:
        self._settings, self._encoding, self._bindings = settings, encoding, bindings

    def of(self, text: bytes, shown: bytes) -> Proved:
        """Who it names, or why it is not accepted, in the field line in which it was `shown`."""
        settings, now = self._settings, time.time()
        line = b".%b." % urlsafe_b64encode(text).rstrip(b"=")  # as a token has it: decoded where it is read
        try:
            claims: dict[str, Any] = json.loads(text)
            claims_of(line)
            if settings.issuer is not None and claims.get("iss") != settings.issuer:
                raise ValueError("its issuer is not the one that is accepted")
            if not _OTHER_KINDS.isdisjoint(_kinds_of(claims)):
                raise ValueError("it is a token, and none that gives access")
            ends = check_claims(claims, settings, now)
            consumer = consumer_of(claims) or _client_of(claims)
            scopes = scopes_of(claims)
            proof = self._bindings.proof_for(claims, shown)
        except jwt.ExpiredSignatureError:
            return Refusal("credentials_expired", "the token has expired", INVALID)
        except (ValueError, RecursionError) as error:
            return Refusal("credentials_invalid", f"the token is not accepted: {error}", INVALID)
        lines = consumer_lines(consumer, scopes, self._encoding)
        return Identity(min(ends, now + settings.cache), consumer, scopes, lines, line, proof)


def _kinds_of(claims: dict[str, Any]) -> Iterator[str]:
    """What kind of token it is, in the words of Keycloak, Hydra and others: they know their refresh tokens, too."""
    return (value.lower() for name in ("typ", "token_use", "token_type") if isinstance(value := claims.get(name), str))


def _client_of(claims: dict[str, Any]) -> str:
    """The client, where a token is that of no user."""
    client = claims.get("client_id")
    return consumer_name(client) if isinstance(client, str) else ""
