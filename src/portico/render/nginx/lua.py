"""What nginx checks by a program in Lua: tokens, API keys, what consumers may do, and limits for each of them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portico.config import Config, ResolvedRoute
from portico.config.problems import KeyPath
from portico.core.claims import claim_path
from portico.core.errors import Refusal
from portico.policies.auth import AuthSettings, JwtSettings, missing_credentials
from portico.policies.auth.acceptance import AcceptanceSettings, InCookie, InQuery
from portico.policies.auth.api_keys import CHALLENGE, ApiKeySettings
from portico.policies.auth.keys import KeySet, key_set, public_key
from portico.policies.authorize import AuthorizeSettings, Requirements
from portico.policies.deny import DenyRule
from portico.policies.rate_limit import RateLimitSettings, enforced_limits
from portico.render.nginx.text import comment

LIBRARY: Final = "portico.lua"
SETTINGS: Final = "portico_guards.lua"
MAIN: Final = (
    "load_module /usr/lib/nginx/modules/ndk_http_module.so;",
    "load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;",
)
"""Where Debian has the modules."""
HTTP: Final = (
    comment("What nginx cannot check by itself; the files are beside this one."),
    'lua_package_path "$prefix?.lua;/usr/share/lua/5.1/?.lua;;";',
    "lua_shared_dict portico 10m;",
    'init_by_lua_block { require "portico_guards" }',
    'map "" $consumer { default ""; }',
    'map "" $scopes { default ""; }',
    "map $query $kept_query { default $query; }",
)
TOLD: Final = {"X-Consumer-Username": "$consumer", "X-Consumer-Scopes": "$scopes"}
"""What a service is told of who asks."""

_METHODS: Final = frozenset({"jwt", "api_key"})
_FETCHED: Final = ("jwks_url", "discovery", "own")
_WIDTH: Final = 110
_LEAST: Final = {"HS256": 32, "HS384": 48, "HS512": 64}


@dataclass(slots=True)
class Lua:
    """What is written for the program."""

    config: Config
    guards: dict[str, str] = field(default_factory=dict)
    """What routes ask for, as JSON, by names."""
    secrets: dict[str, str] = field(default_factory=dict)
    """The names of variables of the environment that hold secrets, by the secrets: these are in no file."""

    def files(self) -> dict[str, str]:
        """The program, and what it is told."""
        lines = [
            "-- Written by portico render nginx --lua: change portico.yaml instead.",
            'local portico = require "portico"',
            "",
            f"portico.consumers({_long(_tidy(_keys_of(self.config)))})",
        ]
        lines += [f"portico.guard({json.dumps(name)}, {_long(text)})" for name, text in self.guards.items()]
        library = files("portico.render.nginx").joinpath(LIBRARY).read_text()
        return {LIBRARY: library, SETTINGS: "\n".join(lines) + "\n"}

    def environment(self) -> Iterator[str]:
        """The lines by which nginx keeps those variables."""
        if self.secrets:
            yield comment("The secrets of tokens: nginx has to find them in its environment.")
            yield from (f"env {name};" for name in self.secrets.values())


def _long(text: str) -> str:
    """A text as Lua reads it without looking for anything in it."""
    marks = "="
    while f"]{marks}]" in text:
        marks += "="
    return f"[{marks}[{text}]{marks}]"


def _tidy(value: Any, margin: str = "") -> str:
    """JSON with what fits on one line on one line."""
    plain = json.dumps(value)
    if len(margin) + len(plain) <= _WIDTH or not isinstance(value, dict | list):
        return plain
    inner = margin + "  "
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(key)}: {_tidy(part, inner)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{margin}}}"
    return "[\n" + ",\n".join(inner + _tidy(part, inner) for part in value) + f"\n{margin}]"


def _keys_of(config: Config) -> dict[str, Any]:
    """The consumers by the hashes of their keys."""
    return {
        b64encode(digest).decode(): {"name": consumer.name, "scopes": list(consumer.scopes)}
        for consumer in config.consumer_directory
        for digest in consumer.keys
    }


# ---- what it can check


def checks_auth(settings: AuthSettings) -> bool:
    """Whether the program can prove who asks."""
    if not _METHODS.issuperset(settings.methods) or (settings.api_key is not None and settings.api_key.bearer):
        return False
    sources = [] if settings.jwt is None else [settings.jwt, *settings.jwt.issuers]
    return not any(getattr(source, name) for source in sources for name in _FETCHED)


def checks_authorize(settings: AuthorizeSettings) -> bool:
    """Whether it can tell what a consumer may do."""
    return not (settings.reads_document or settings.times)


# ---- what it is told


@dataclass(slots=True)
class Guard:
    """What a route asks for."""

    auth: AuthSettings | None = None
    asked: tuple[str, str] | None = None
    """The variables that have the consumer and the scopes that a service named."""
    authorize: AuthorizeSettings | None = None
    deny: Sequence[tuple[DenyRule, str]] = ()
    """Rules that ask who it is, with the variable that is 1 where the rest of them fits."""
    limits: tuple[str, RateLimitSettings] | None = None
    """What counts, and in which scope."""
    counts_before: bool = False
    """Whether limits that do not ask who it is are counted here, too."""

    def text(self, lua: Lua) -> str:
        """The same as JSON; empty where nothing is asked."""
        before, after = self._counted(lua.config.consumer_rates)
        methods = [] if self.auth is None else [*_methods(self.auth, lua)]
        if not (methods or self.authorize or self.deny or before or after):
            return ""
        told = {
            "methods": methods,
            "missing": None if self.auth is None or self.auth.optional else _refusal(missing_credentials(self.auth)),
            "withheld": [] if self.auth is None else list(self.auth.withheld_fields),
            "withheld_parameters": [] if self.auth is None else list(self.auth.withheld_parameters),
            "asked": None if self.asked is None else dict(zip(("consumer", "scopes"), self.asked, strict=True)),
            "deny": [_rule(rule, others) for rule, others in self.deny],
            "authorize": None if self.authorize is None else _authorize(self.authorize),
            "before": before,
            "limits": after,
        }
        return _tidy(told)

    def _counted(self, consumers: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        if self.limits is None:
            return [], []
        scope, settings = self.limits
        before, after = (
            [
                {
                    "key": f"{scope}:{each.place}:{step}",
                    "by": each.settings.by if isinstance(each.settings.by, str) else each.settings.by.header.lower(),
                    "numbers": _numbers(each.settings.numbers),
                    "owns": {name: _numbers(own) for name, own in each.owns.items()},
                }
                for each in group
                if each.settings.cost is None
            ]
            for step, group in zip(("before", "after"), enforced_limits(settings, consumers), strict=True)
        )
        return before if self.counts_before else [], after


def _numbers(numbers: Mapping[str, Any]) -> dict[str, Any]:
    periods = {"requests_per_hour": "hour", "requests_per_day": "day", "requests_per_month": "month"}
    quotas = [{"period": period, "most": numbers[key]} for key, period in periods.items() if key in numbers]
    return {"rate": numbers.get("requests_per_minute"), "burst": numbers.get("burst"), "quotas": quotas}


def _refusal(refusal: Refusal) -> dict[str, Any]:
    lines = [line.decode().partition(": ") for line in refusal.lines]
    challenges = [value for name, _, value in lines if name == "WWW-Authenticate"]
    return {
        "status": refusal.status,
        "reason": str(refusal.reason),
        "detail": refusal.detail,
        "challenges": challenges,
    }


def _methods(settings: AuthSettings, lua: Lua) -> Iterator[dict[str, Any]]:
    if settings.jwt is not None:
        yield {"kind": "jwt", **_jwt(settings.jwt, lua)}
    if settings.api_key is not None:
        yield {"kind": "api_key", **_api_key(settings.api_key)}


def _api_key(settings: ApiKeySettings) -> dict[str, Any]:
    several = _refusal(Refusal("credentials_missing", settings.how, (CHALLENGE,)))
    place = {"query": settings.query} if settings.field is None else {"header": settings.field.lower()}
    return {**place, "several": several}


def _jwt(settings: JwtSettings, lua: Lua) -> dict[str, Any]:
    other = None
    if settings.secret is not None:
        secret = settings.secret.get_secret_value()
        name = "SECRET_KEY" if not lua.secrets else f"SECRET_KEY_{len(lua.secrets) + 1}"
        least = max(_LEAST[each] for each in settings.accepted)
        own = {"env": lua.secrets.setdefault(secret, name), "size": least}
        key = {**own, "algorithms": list(settings.accepted), "kid": None}
        other = _issuer(settings, settings.issuer, [key])
    elif settings.written_sources:
        other = _issuer(settings, settings.issuer, _public_keys(settings))
    return {
        "from": [_place(each) for each in settings.from_],
        "issuers": {each.issuer: _issuer(each, each.issuer, _public_keys(each)) for each in settings.issuers},
        "other": other,
    }


def _place(written: str | InCookie | InQuery) -> dict[str, Any]:
    if isinstance(written, InCookie):
        return {"cookie": written.cookie}
    return {"query": written.query} if isinstance(written, InQuery) else {"header": True}


def _issuer(settings: AcceptanceSettings, name: str | None, keys: list[dict[str, Any]]) -> dict[str, Any]:
    audience = [settings.audience] if isinstance(settings.audience, str) else settings.audience
    return {
        "issuer": name,
        "algorithms": list(settings.accepted),
        "audience": audience,
        "leeway": settings.leeway,
        "required_claims": settings.required_claims,
        "require_expiry": settings.require_expiry,
        "types": [each.lower().removeprefix("application/") for each in settings.types],
        "keys": keys,
    }


def _public_keys(settings: AcceptanceSettings) -> list[dict[str, Any]]:
    """The keys that are in a file now."""
    found = KeySet([])
    if settings.jwks_file is not None:
        found = key_set(settings.jwks_file.read_bytes())
    elif settings.public_key_file is not None:
        found = public_key(settings.public_key_file.read_bytes())
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return [
        {
            "der": b64encode(key.material.public_bytes(*form)).decode(),
            "algorithms": list(key.algorithms),
            "kid": key.kid,
        }
        for key in found.keys
    ]


def _rule(rule: DenyRule, others: str) -> dict[str, Any]:
    return {
        "consumer": rule.when.consumer,
        "claims": _claims(rule.when.claims),
        "others": others.removeprefix("$") or None,
    }


def _authorize(settings: AuthorizeSettings) -> dict[str, Any]:
    by_method = {method: _required(each, settings.roles_claim) for method, each in settings.methods.items()}
    return {"always": _required(settings, settings.roles_claim), "methods": by_method}


def _required(needed: Requirements, roles_claim: str) -> dict[str, Any]:
    roles = {roles_claim: list(needed.roles)} if needed.roles else {}
    claims = [*_claims(roles), *_claims(needed.claims)]
    return {"scopes": needed.scopes, "any_scopes": needed.any_scopes, "claims": claims}


def _claims(wanted: Mapping[str, list[Any] | bool]) -> list[dict[str, Any]]:
    return [{"path": claim_path(name), "values": values} for name, values in wanted.items()]


def guard_of(route: ResolvedRoute, key: str) -> Any:
    """What a route's policy says; None where it has none."""
    return route.policies.get(key, (None, ""))[0] or None


def unsaid_parts(settings: AuthSettings, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """What of `auth` is not told to the program."""
    if settings.resource is not None:
        yield (*at, "resource"), "nginx does not show who issues tokens"
    if settings.name_encoding != "percent":
        yield (*at, "name_encoding"), "names beyond visible ASCII are percent-encoded"
