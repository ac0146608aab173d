"""Who asks: tokens by Envoy's filter for these, a service that is asked, and what of it a route needs.

What Envoy cannot check closes the route.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from jwt.algorithms import Algorithm

from portico.config import ResolvedRoute
from portico.config.problems import KeyPath
from portico.core.claims import claim_path
from portico.policies.auth import AuthSettings, JwtSettings
from portico.policies.auth.acceptance import AcceptanceSettings, InCookie, InQuery
from portico.policies.auth.forward import ForwardSettings
from portico.policies.auth.keys import ALGORITHMS, KeySet, key_set, public_key
from portico.policies.authorize import AuthorizeSettings, Requirements
from portico.render.envoy.clusters import other_cluster
from portico.render.envoy.guards import Rule, deny
from portico.render.envoy.lua import ASKED, ASKING, script
from portico.render.envoy.matches import words
from portico.render.envoy.names import HTTP, ON, CannotError, Filter, Names, Section, duration, typed
from portico.render.policies import policy_path

_JWT: Final = "jwt_authn"
METADATA: Final = "envoy.filters.http.jwt_authn"
"""Where Envoy keeps the claims of tokens, under `token`."""
_SCOPE_CLAIMS: Final = ("scope", "scopes", "scp")
"""Where scopes are: the first of these that is there."""


def guarding(names: Names, route: ResolvedRoute) -> tuple[dict[str, Section], Section]:
    """What a route says of the filters that guard it, and what is said of that to `portico`.

    Raises CannotError.
    """
    for key in ("mcp", "plugins", "validate"):
        settings, scope = route.policies.get(key, (None, ""))
        if settings:
            raise CannotError(policy_path(route, scope, key))
    auth, scope = route.policies.get("auth", (None, ""))
    needs, needs_scope = route.policies.get("authorize", (None, ""))
    found: dict[str, Section] = {}
    told: Section = {}
    refused: list[Rule] = []
    if needs is not None:  # first: a secret is not written for a route that is closed
        at = policy_path(route, needs_scope, "authorize")
        if auth is None or auth.jwt is None:
            raise CannotError(at)
        refused += _missing(needs, at)
    if auth is not None:
        known = names.known.get(("auth", id(auth)))
        if known is None:
            names.known["auth", id(auth)] = known = _auth(names, auth, policy_path(route, scope, "auth"), scope)
        found, told, refused = dict(known[0]), dict(known[1]), [*known[2], *refused]
    if refused:
        names.filter(Filter(125, "authorize", typed(f"{HTTP}rbac.v3.RBAC"), "what tokens have to say"))
        found["authorize"] = deny(refused)
    return found, told


def _auth(names: Names, auth: AuthSettings, at: KeyPath, scope: str) -> tuple[dict[str, Section], Section, list[Rule]]:
    if auth.methods == ("forward",) and auth.forward is not None and auth.name_encoding == "percent":
        return *_asking(names, auth.forward, (*at, "forward"), scope), []
    jwt = auth.jwt
    if auth.methods != ("jwt",) or jwt is None:
        others = [method for method in auth.methods if method != "jwt"]
        raise CannotError((*at, others[0]) if len(others) == 1 else at)
    if auth.resource is not None:
        names.losses.add((*at, "resource"), "Envoy tells nobody who issues tokens")
    if auth.name_encoding != "percent":
        raise CannotError((*at, "name_encoding"))
    required = jwt.required_claims
    if any(each.required_claims for each in jwt.issuers):
        raise CannotError((*at, "jwt", "issuers"))
    missing = [_not(_claim([claim], {"present_match": True})) for claim in dict.fromkeys(required)]
    if auth.optional and missing:
        raise CannotError((*at, "jwt", "required_claims"))
    refused: list[Rule] = [(f"credentials_invalid_{index}", who, None) for index, who in enumerate(missing)]
    said = [*([jwt] if jwt.secret is not None or jwt.written_sources else []), *jwt.issuers]
    leeways = {each.leeway for each in said}
    types = {tuple(sorted(kind.lower().removeprefix("application/") for kind in each.types)) for each in said}
    if len(leeways) > 1 or len(types) > 1:
        raise CannotError((*at, "jwt", "issuers"), "Envoy has one leeway and types for all issuers here: closed")
    names.filter(Filter(90, _JWT, _jwt_config(names), "tokens"))
    name, _ = names.once(("tokens", id(auth)), f"tokens_{scope}")
    if name not in _jwt_config(names)["requirement_map"]:
        providers = [*_providers(names, jwt, (*at, "jwt"), name)]
        config = _jwt_config(names)
        for own, settings in providers:
            config["providers"][own] = settings
        options: list[Section] = [{"provider_name": own} for own, _ in providers]
        if auth.optional:
            options.append({"allow_missing": {}})
        config["requirement_map"][name] = (
            options[0] if len(options) == 1 else {"requires_any": {"requirements": options}}
        )
    requirement = typed(f"{HTTP}{_JWT}.v3.PerRouteConfig", {"requirement_name": name})
    found = {_JWT: requirement}
    if parameters := [place.query for place in jwt.from_ if isinstance(place, InQuery)]:
        found[_without(names, parameters, name)] = ON
    return found, {"leeway": leeways.pop(), "types": [*types.pop()]}, refused


def _without(names: Names, parameters: Iterable[str], name: str) -> str:
    """The filter that takes tokens off the query, behind the one that reads them."""
    dropped = [{"remove": each} for each in parameters]
    config = typed(f"{HTTP}header_mutation.v3.HeaderMutation", {"mutations": {"query_parameter_mutations": dropped}})
    return names.filter(Filter(92, f"{name}_parameters", config, "tokens in the query are for nobody else"))


def _jwt_config(names: Names) -> Section:
    config: Section = names.known.setdefault(
        "jwt", typed(f"{HTTP}{_JWT}.v3.JwtAuthentication", {"providers": {}, "requirement_map": {}})
    )
    return config


# ---- whose tokens


def _providers(names: Names, jwt: JwtSettings, at: KeyPath, name: str) -> Iterator[tuple[str, Section]]:
    places = _places(names, jwt, at)
    settings: Iterable[tuple[str, AcceptanceSettings, str | None, KeyPath]] = [
        *([(name, jwt, jwt.issuer, at)] if jwt.secret is not None or jwt.written_sources else []),
        *((f"{name}_{index}", each, each.issuer, (*at, "issuers", index)) for index, each in enumerate(jwt.issuers)),
    ]
    for own, each, issuer, path in settings:
        if not each.types:
            raise CannotError((*path, "types"))
        audience = [each.audience] if isinstance(each.audience, str) else each.audience or []
        found: Section = {
            **({"issuer": issuer} if issuer else {}),
            **({"audiences": audience} if audience else {}),
            **_keys(names, each, path, issuer),
            **places,
            **({"require_expiration": True} if each.require_expiry else {}),
            "forward": True,
            "payload_in_metadata": "token",
            "header_in_metadata": "header",
            "normalize_payload_in_metadata": {"space_delimited_claims": [*_SCOPE_CLAIMS]},
            "clock_skew_seconds": max(1, ceil(each.leeway)),
        }
        yield own, found


def _places(names: Names, jwt: JwtSettings, at: KeyPath) -> Section:
    """Where tokens are: Envoy's own places hold only where none is written."""
    found: Section = {}
    for place in jwt.from_:
        if place == "header":
            # Envoy compares the scheme with case, which means nothing (RFC 9110, section 11.1).
            schemes = ("Bearer ", "bearer ", "BEARER ")
            found["from_headers"] = [{"name": "Authorization", "value_prefix": scheme} for scheme in schemes]
        elif isinstance(place, InCookie):
            found.setdefault("from_cookies", []).append(place.cookie)
        else:
            found.setdefault("from_params", []).append(place.query)
    if len(jwt.from_) > 1:
        names.losses.add((*at, "from"), "Envoy tries the tokens of all places, and Portico that of the first one")
    return found


def _keys(names: Names, settings: AcceptanceSettings, at: KeyPath, issuer: str | None) -> Section:
    if isinstance(settings, JwtSettings) and settings.secret is not None:
        names.has_secret = True
        secret = settings.secret.get_secret_value().encode()
        k = base64.urlsafe_b64encode(secret).decode().rstrip("=")
        return _local([{"kty": "oct", "alg": algorithm, "k": k} for algorithm in settings.accepted])
    if settings.own:
        raise CannotError((*at, "own"), "these keys are Portico's own, which Envoy does not have: closed")
    if settings.discovery:
        why = "Envoy does not look for the keys of an issuer: write jwks_url. The routes are closed"
        raise CannotError((*at, "discovery"), why)
    if settings.jwks_url is not None:
        if settings.algorithms is not None:
            why = "Envoy accepts what the keys at the address are for"
            names.losses.add((*at, "algorithms"), why)
        cluster = other_cluster(names, settings.jwks_url, f"keys of {issuer or settings.jwks_url}")
        uri = {"uri": settings.jwks_url, "cluster": cluster, "timeout": "5s"}
        return {"remote_jwks": {"http_uri": uri, "cache_duration": duration(settings.refresh), "async_fetch": {}}}
    path = settings.jwks_file or settings.public_key_file
    assert path is not None
    return _local([*_of_file(names, path, settings, (*at, "jwks_file" if settings.jwks_file else "public_key_file"))])


def _local(keys: list[Section]) -> Section:
    return {"local_jwks": {"inline_string": json.dumps({"keys": keys})}}


def _of_file(names: Names, path: Path, settings: AcceptanceSettings, at: KeyPath) -> Iterator[Section]:
    """The keys in a file, each for the algorithms that are accepted."""
    try:
        content = path.read_bytes()
        keys: KeySet = key_set(content) if settings.jwks_file is not None else public_key(content)
    except (OSError, ValueError) as error:
        raise CannotError(at, f"the keys cannot be read, so that the routes are closed: {error}") from None
    for key in keys.keys:
        for name in key.algorithms:
            if name in settings.accepted and name != "Ed25519":  # which Envoy knows as EdDSA
                if isinstance(key.material, Ed448PublicKey):
                    names.losses.add(at, "Envoy does not know Ed448: tokens that it signed are refused")
                    continue
                yield _jwk(key.material, name, key.kid)


def _jwk(material: Any, algorithm: str, kid: str | None) -> Section:
    known: Algorithm = ALGORITHMS[algorithm]
    written: Section = known.to_jwk(material, as_dict=True)
    kept = {name: value for name, value in written.items() if name not in ("key_ops", "use")}
    return {**kept, "alg": algorithm, **({"kid": kid} if kid else {})}


# ---- what is needed


def _missing(needs: AuthorizeSettings, at: KeyPath) -> Iterator[Rule]:
    """Who is refused, and why."""
    for key in ("operations", "openapi", "times"):
        if getattr(needs, key):
            raise CannotError((*at, key))
    roles = list(claim_path(needs.roles_claim))
    yield from _requirements(needs, roles, "", None)
    for method, own in needs.methods.items():
        methods = ["GET", "HEAD"] if method == "GET" and "HEAD" not in needs.methods else [method]
        yield from _requirements(own, roles, f"_{method}", {"header": words(":method", methods)})


def _requirements(needs: Requirements, roles: list[str], of: str, which: Section | None) -> Iterator[Rule]:
    for index, scope in enumerate(needs.scopes):
        yield f"scope_missing_{index}{of}", _not(_has_scope(scope)), which
    if needs.any_scopes:
        yield f"scope_missing{of}", _not(_one_of(map(_has_scope, needs.any_scopes))), which
    if needs.roles:
        held = _one_of(each for role in needs.roles for each in _is_or_holds(roles, role))
        yield f"access_denied{of}", _not(held), which
    for index, (name, wanted) in enumerate(needs.claims.items()):
        yield f"access_denied_{index}{of}", _not(_fits(list(claim_path(name)), wanted)), which


def _fits(path: list[str], wanted: list[Any] | bool) -> Section:
    """That a claim is as `authorize` asks for it."""
    if not isinstance(wanted, bool):
        return _one_of(each for value in wanted for each in _is_or_holds(path, value))
    there = [_claim(path, {"present_match": True}), _not(_claim(path, {"bool_match": False}))]
    said = {"and_ids": {"ids": [*there, _not(_claim(path, {"null_match": {}}))]}}
    return said if wanted else _not(said)


def _has_scope(scope: str) -> Section:
    options = []
    for index, claim in enumerate(_SCOPE_CLAIMS):
        has = _one_of(_is_or_holds([claim], scope))
        absent = [_not(_claim([before], {"present_match": True})) for before in _SCOPE_CLAIMS[:index]]
        options.append({"and_ids": {"ids": [*absent, has]}} if absent else has)
    return _one_of(options)


def _is_or_holds(path: list[str], value: Any) -> Iterator[Section]:
    matcher = {"string_match": {"exact": value}} if isinstance(value, str) else {"double_match": {"exact": value}}
    yield _claim(path, matcher)
    yield _claim(path, {"list_match": {"one_of": matcher}})


def _claim(path: list[str], value: Section) -> Section:
    keys = [{"key": "token"}, *({"key": part} for part in path)]
    return {"metadata": {"filter": METADATA, "path": keys, "value": value}}


def _one_of(ids: Iterable[Section]) -> Section:
    found = [*ids]
    return found[0] if len(found) == 1 else {"or_ids": {"ids": found}}


def _not(who: Section) -> Section:
    return {"not_id": who}


# ---- a service that is asked


def _asking(names: Names, forward: ForwardSettings, at: KeyPath, scope: str) -> tuple[dict[str, Section], Section]:
    for key in ("cache", "cache_refused"):
        if getattr(forward, key):
            names.losses.add((*at, key), "Envoy asks again for each request")
    consumer, scopes = forward.consumer_field.lower(), (forward.scopes or "").lower()
    passed = [each.lower() for each in forward.pass_headers]
    named = [each for each in dict.fromkeys((consumer, scopes)) if each]
    told: Section = {"consumer": consumer} if consumer else {}
    told |= {"scopes": scopes} if scopes else {}
    if dropped := [each for each in named if each not in passed]:
        told["dropped"] = dropped
    read = [*passed, *dropped]
    name, _ = names.once(("forward", id(forward)), f"forward_{scope}")
    cluster = other_cluster(names, forward.url, "who is asked who may come in")
    address = urlsplit(forward.url)
    shown = (
        {"allowed_headers": {"patterns": [{"exact": each.lower()} for each in forward.request_headers]}}
        if forward.request_headers is not None
        else {"allowed_headers": {"patterns": [{"safe_regex": {"regex": ".*"}}]}}
    )
    service: Section = {
        "server_uri": {"uri": forward.url, "cluster": cluster, "timeout": duration(forward.timeout)},
        "path_override": (address.path or "/") + (f"?{address.query}" if address.query else ""),
        "authorization_request": {"headers_to_add": [*_asked_with()]},
        "authorization_response": {
            "allowed_upstream_headers": {"patterns": [{"exact": each} for each in read]},
            "allowed_client_headers_on_success": {
                "patterns": [{"exact": each.lower()} for each in forward.response_headers]
            },
        },
    }
    found = {}
    if read:
        found[_withheld(names, read, name)] = ON
    else:
        del service["authorization_response"]["allowed_upstream_headers"]
    if not forward.response_headers:
        del service["authorization_response"]["allowed_client_headers_on_success"]
    config = typed(
        f"{HTTP}ext_authz.v3.ExtAuthz",
        {
            "http_service": service,
            **shown,
            "failure_mode_allow": False,
            "status_on_error": {"code": "ServiceUnavailable"},
            "stat_prefix": name,
        },
    )
    for order, own, text in ((93, "asking", ASKING), (96, "asked", ASKED)):
        found[names.filter(Filter(order, own, script(text)))] = ON
    found[names.filter(Filter(95, name, config, f"{address.hostname} is asked who may come in"))] = ON
    return found, {"answer": told} if told else {}


def _withheld(names: Names, read: Iterable[str], name: str) -> str:
    """The filter that drops of clients' fields what only the service that is asked may say."""
    dropped = [{"remove": each} for each in read]
    config = typed(f"{HTTP}header_mutation.v3.HeaderMutation", {"mutations": {"request_mutations": dropped}})
    return names.filter(Filter(94, f"{name}_fields", config, "what only the answer of it may say"))


def _asked_with() -> Iterator[Section]:
    told = {
        "X-Forwarded-Method": "%DYNAMIC_METADATA(portico:method)%",
        "X-Forwarded-Uri": "%REQ(:PATH)%",
        "X-Forwarded-Host": "%REQ(:AUTHORITY)%",
        "X-Forwarded-For": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "X-Real-IP": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "X-Original-Method": "%DYNAMIC_METADATA(portico:method)%",
        "X-Original-URI": "%REQ(:PATH)%",
    }
    yield from ({"key": name, "value": value} for name, value in told.items())
