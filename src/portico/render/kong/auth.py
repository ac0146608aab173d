"""Who may come in: Kong's plugins for that, and its consumers. What Kong cannot check closes a route.

No secret is written: Kong makes one of its own where none stands, so that no token is taken until somebody adds it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portico.config import Config, ResolvedRoute
from portico.config.problems import KeyPath
from portico.policies.auth import AuthSettings
from portico.policies.auth.acceptance import AcceptanceSettings, JwtSettings
from portico.policies.auth.keys import key_set, public_key
from portico.policies.authorize import AuthorizeSettings
from portico.render.losses import Losses
from portico.render.policies import guards_of, policy_path
from portico.render.yaml_text import Noted

_CLOSED: Final = "the routes that it guards are closed and answer 503"
_ALGORITHMS: Final = (
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)


@dataclass(slots=True)
class Credentials:
    """What is known of callers: the plugins of routes, and the consumers that these need."""

    config: Config
    losses: Losses
    _tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The consumers that tokens belong to, by what they are called."""
    _keys: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """By what tokens are verified, by what they are called."""
    _uses_consumers: bool = False

    def plugins(self, route: ResolvedRoute) -> dict[str, dict[str, Any]]:
        """Those of an open route."""
        settings, scope = route.policies.get("auth", (None, ""))
        if not settings:
            return {}
        found = {}
        if settings.jwt is not None:
            found["jwt"] = self._jwt(settings.jwt, policy_path(route, scope, "auth"))
            # Kong's plugin takes the tokens of all consumers: which of them this route takes is said apart.
            found["acl"] = {"allow": [*map(_group, _issuers(settings.jwt))], "hide_groups_header": True}
        elif settings.api_key is not None:
            in_query = settings.api_key.query is not None
            name = settings.api_key.query or settings.api_key.field
            places = {"key_in_header": not in_query, "key_in_query": in_query, "key_in_body": False}
            found["key-auth"] = {"key_names": [name], **places, "hide_credentials": True}
            self._uses_consumers = True
        elif settings.basic is not None:
            found["basic-auth"] = {"hide_credentials": False}
            self._uses_consumers = True
        required, _ = route.policies.get("authorize", (None, ""))
        if required and (groups := [*required.scopes, *required.any_scopes]):
            found["acl"] = {"allow": groups, "hide_groups_header": False}
        return found

    def consumers(self) -> list[Noted | dict[str, Any]]:
        """Those of the file, without what only Portico can compare."""
        found: list[Noted | dict[str, Any]] = [Noted(*each.values()) for each in self._tokens.values()]
        for index, consumer in enumerate(self.config.consumers if self._uses_consumers else ()):
            body: dict[str, Any] = {"username": consumer.name, "custom_id": consumer.name}
            if consumer.scopes:
                body["acls"] = [{"group": scope} for scope in consumer.scopes]
            hashed = [key for key in ("keys", "password") if getattr(consumer, key)]
            for key in hashed:
                why = "Kong needs the credential itself, of which only a hash is known: give it one"
                self.losses.add(("consumers", index, key), why)
            note = f"add {' and '.join(_ENTITIES[key] for key in hashed)}: Portico knows a hash alone" if hashed else ""
            found.append(Noted(note, body) if note else body)
        return found

    # ---- tokens

    def is_other(self, issuer: AcceptanceSettings) -> bool:
        """Whether tokens that are called so are verified by something else on another route: Kong has one key."""
        secret = getattr(issuer, "secret", None)
        own = (issuer.jwks_file, issuer.public_key_file, secret, issuer.accepted)
        return self._keys.setdefault(_group(issuer), own) != own

    def _jwt(self, settings: JwtSettings, at: KeyPath) -> dict[str, Any]:
        self.losses.add(
            at, "Kong demands exp of tokens, and looks neither at nbf nor at typ; X-Consumer-Username is its own"
        )
        places: dict[str, list[str]] = {"header_names": [], "cookie_names": [], "uri_param_names": []}
        for place in settings.from_:
            if place == "header":
                places["header_names"].append("authorization")
            elif (cookie := getattr(place, "cookie", None)) is not None:
                places["cookie_names"].append(cookie)
            else:
                places["uri_param_names"].append(place.query)  # type: ignore[union-attr]
        by_issuer = bool(settings.issuer or settings.issuers)
        for issuer in _issuers(settings):
            self._add_issuer(issuer, settings, at)
        claim = "iss" if by_issuer else "alg"
        return {"key_claim_name": claim, "claims_to_verify": ["exp"], **places}

    def _add_issuer(self, issuer: AcceptanceSettings, settings: JwtSettings, at: KeyPath) -> None:
        name, group = getattr(issuer, "issuer", None), _group(issuer)
        if group in self._tokens:
            return
        if issuer is settings and not issuer.written_sources:
            algorithms = issuer.accepted[:1] if name else issuer.accepted
            entries: list[dict[str, Any]] = [{"key": name or each, "algorithm": each} for each in algorithms]
            why = "no secret is written into Kong's file: add it to jwt_secrets, or else no token is taken"
            self.losses.add((*at, "jwt"), why)
            note = "add the secret of these tokens to each of jwt_secrets: without it Kong makes one that nobody knows"
        else:
            key = known_key(issuer)
            assert key is not None
            algorithms = tuple(each for each in key.algorithms if each in issuer.accepted)
            if name and len(algorithms) > 1:
                self.losses.add((*at, "jwt"), f"Kong takes one algorithm of an issuer: {algorithms[0]}")
            entries = [
                {"key": name or each, "algorithm": each, "rsa_public_key": key.pem}
                for each in (algorithms[:1] if name else algorithms)
            ]
            note = "whoever has one of these tokens"
        body = {"username": group, "acls": [{"group": group}], "jwt_secrets": entries}
        self._tokens[group] = {"note": note, "value": body}


def _group(issuer: AcceptanceSettings) -> str:
    """What whoever has such a token is called."""
    name = getattr(issuer, "issuer", None)
    return "tokens of " + re.sub(r"[,/\s]+", " ", name).strip() if name else "tokens"


_ENTITIES: Final = {"keys": "keyauth_credentials", "password": "basicauth_credentials"}


def closing(credentials: Credentials, route: ResolvedRoute) -> list[str]:
    """Why a route is closed: what guards it that Kong cannot check."""
    found = []
    for key in guards_of(route):
        settings, scope = route.policies[key]
        if (why := _unchecked(credentials, key, settings, route)) is not None:
            credentials.losses.add(policy_path(route, scope, key), f"{why}: {_CLOSED}")
            found.append(f"Kong cannot check {key}")
    return found


def _unchecked(credentials: Credentials, key: str, settings: Any, route: ResolvedRoute) -> str | None:
    if key == "auth":
        return _unchecked_auth(credentials, settings)
    if key == "authorize":
        auth, _ = route.policies.get("auth", (None, ""))
        return _unchecked_rules(settings, auth)
    return "Kong cannot check this"


def _unchecked_auth(credentials: Credentials, settings: AuthSettings) -> str | None:
    if len(settings.methods) > 1:
        return "Kong asks for all of several proofs, and not for one of them"
    if settings.optional:
        return "Kong lets no caller go on with a bad proof alone refused"
    (method,) = settings.methods
    if method in ("api_key", "basic"):
        name = settings.api_key.query or settings.api_key.field if settings.api_key is not None else "x"
        fits = bool(name) and all(each.isalnum() or each in "-_" for each in name or "")
        return None if fits else "Kong takes no key by such a name"
    return _unchecked_tokens(credentials, settings.jwt) if settings.jwt is not None else f"Kong cannot check {method}"


def _unchecked_tokens(credentials: Credentials, settings: JwtSettings) -> str | None:
    for issuer in _issuers(settings):
        others = [claim for claim in issuer.required_claims if claim not in ("exp", "iss")]
        if issuer.audience or others:
            return "Kong looks at no claims of tokens but iss and exp"
        is_shared = issuer is settings and not issuer.written_sources
        if not is_shared and known_key(issuer) is None:
            return "Kong fetches no keys: it needs one public key of an issuer"
        if is_shared and any(each not in ("HS256", "HS384", "HS512") for each in issuer.accepted):
            return "Kong has no such algorithm"
        if credentials.is_other(issuer):
            return "Kong has one key for the tokens of an issuer, whichever route they are for"
    return None


def _issuers(settings: JwtSettings) -> list[AcceptanceSettings]:
    own: list[AcceptanceSettings] = [*settings.issuers]
    return [settings, *own] if settings.secret is not None or settings.written_sources or not own else own


def _unchecked_rules(settings: AuthorizeSettings, auth: AuthSettings | None) -> str | None:
    if auth is None or auth.jwt is not None:
        return "Kong knows the groups of its consumers alone, and no claims of tokens"
    written = settings.model_fields_set - {"scopes", "any_scopes", "roles_claim", "unknown"}
    if written or len(settings.scopes) + bool(settings.any_scopes) > 1:
        return "Kong asks for one of several groups, and for no more"
    return None


# ---- keys


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key as Kong's file has it, and the algorithms that it fits."""

    pem: str
    algorithms: tuple[str, ...]


def known_key(settings: AcceptanceSettings) -> PublicKey | None:
    """The one public key of an issuer, if it is in a file."""
    try:
        if settings.public_key_file is not None:
            keys = public_key(settings.public_key_file.read_bytes()).keys
        elif settings.jwks_file is not None:
            keys = key_set(settings.jwks_file.read_bytes()).keys
        else:
            return None
    except (OSError, ValueError):
        return None
    algorithms = tuple(each for each in keys[0].algorithms if each in _ALGORITHMS)
    if len(keys) > 1 or not algorithms:
        return None
    pem = keys[0].material.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(pem.decode(), algorithms)
