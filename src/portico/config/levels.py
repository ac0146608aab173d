"""Policies at four levels - the gateway, a service, a version, a route - and how they are merged.

Each level says something about some policies, and the levels below override it key by key: mappings are merged,
anything else is replaced, `false` turns a policy off and `true` or `{}` turns it on with what the levels above have
set. Only the result has to be complete, so an override may name a single key.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, get_origin

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, create_model

from portico.config.environment import variable_for
from portico.config.problems import ENVIRONMENT, ConfigError, Finding, KeyPath, Problem, dotted
from portico.config.section import Section, is_word
from portico.config.shapes import alternatives, hide_secrets
from portico.config.words import findings_of, has_part
from portico.core.settings import NotEmpty
from portico.policies import ON_BY_DEFAULT, POLICY_SETTINGS
from portico.policies.auth import AuthSettings, auth_over
from portico.policies.error_pages import errors_over
from portico.policies.headers import headers_over
from portico.policies.identity import IdentitySettings

Merged = dict[str, tuple[Any, str]]
"""Policy key to its settings and its scope.

A policy that is off is absent; for one that is on by default, absent means on as it is and None off.
"""

_EXAMPLES = {
    "auth": "{jwt: {}}",
    "authorize": "{scopes: [orders:read]}",
    "cache": "{ttl: 30}",
    "compress": "true",
    "decompress": "true",
    "cors": "{allow_origins: [https://app.example.com]}",
    "deny": '[{when: {headers: {User-Agent: "~* badbot"}}}]',
    "errors": "{5xx: {html: error.html}}",
    "headers": "{response: {remove: [Server]}}",
    "ip_filter": "{allow: [10.0.0.0/8]}",
    "mcp": "true",
    "plugins": "[{use: ./policies/block.py:Block}]",
    "rate_limit": "{requests_per_minute: 60}",
    "rewrite_cookies": "{path: auto}",
    "rewrite_location": "true",
    "validate": "{request: true}",
    "transform": "{request: [{query: {remove: [debug]}}]}",
}

_MEANINGS = {
    "auth": "How callers show who they are.",
    "authorize": "What a consumer has to have: scopes, roles, claims, or the right time.",
    "cache": "Responses that are stored, and served again without asking the service.",
    "compress": "Responses in zstd, br or gzip, for clients that ask for that.",
    "cors": "Which pages of other origins may call the services.",
    "decompress": "Takes the coding off requests' bodies, for services that cannot read it.",
    "deny": "Requests that are refused by rules.",
    "errors": "Pages and documents of your own for errors, by status (`404`, `4xx`, `5xx`).",
    "headers": "Fields that are set, added and removed, in requests and responses.",
    "identity": "Tells services who the caller is, signed.",
    "ip_filter": "Which networks clients may come from.",
    "mcp": "Checks what requests to MCP servers say of their bodies, and lets a client's first one through.",
    "plugins": "Policies of your own, in Python.",
    "rate_limit": "How many requests one client may make: one limit, or a list.",
    "rewrite_cookies": "Whether cookies of services fit the path and host that clients use.",
    "rewrite_location": "Whether redirects and links of services lead through the gateway.",
    "transform": "Rules that change query, path, method, status, fields and JSON bodies.",
    "validate": "Whether requests are checked against the OpenAPI document of their service.",
}

_ADAPTERS = {key: TypeAdapter[Any](kind) for key, kind in POLICY_SETTINGS.items()}


class _Written:
    """Accepts what a level may say about one policy, and hides the secrets in it."""

    def __init__(self, kind: Any, example: str) -> None:
        self.kind = kind
        self.example = f": write {example}" if example.startswith(("{", "[")) else ""
        kinds = list(alternatives(kind))
        self.takes_list = any(get_origin(member) is list for member in kinds)
        self.takes_keys = any(get_origin(member) is not list for member in kinds)

    def __call__(self, value: Any) -> Any:
        for word in (True, False):
            if is_word(value, word):
                return word
        takes_dict = isinstance(value, dict) and (self.takes_keys or not value)
        if value is None or takes_dict or (self.takes_list and isinstance(value, list)):
            return hide_secrets(self.kind, value)
        if isinstance(value, dict):
            raise ValueError("expected a list: put brackets around it, [{…}]")
        kinds = [*(["keys and values"] if self.takes_keys else []), *(["a list"] if self.takes_list else [])]
        raise ValueError(f"expected {', '.join(kinds)}, true or false{self.example}")


def _advice(key: str) -> str:
    return f"write {key}: {_EXAMPLES.get(key, '{}')}, or {key}: false to turn it off"


class _AnyPolicies(Section):
    @cached_property
    def said(self) -> Mapping[str, Any]:
        """What is said about each policy that is mentioned: plain data, True or False."""
        written = self.model_fields_set
        if not written:
            return {}
        values = {key: getattr(self, key) for key in POLICY_SETTINGS if key in written}
        return {key: value for key, value in values.items() if value is not None}


if TYPE_CHECKING:

    class Policies(_AnyPolicies):
        """What one level says about policies: a field for each, which holds what was written."""
else:
    with warnings.catch_warnings():  # a policy has the name of a method that Pydantic has given up
        warnings.filterwarnings("ignore", "Field name .* shadows an attribute")
        Policies = create_model(
            "Policies",
            __base__=_AnyPolicies,
            __doc__="What one level says about policies: a field for each, which holds what was written.",
            **{
                key: (
                    Annotated[
                        Any,
                        BeforeValidator(_Written(kind, _EXAMPLES.get(key, "")), json_schema_input_type=bool | kind),
                        NotEmpty(_advice(key)),
                    ],
                    Field(None, validate_default=False, description=_MEANINGS.get(key)),
                )
                for key, kind in POLICY_SETTINGS.items()
            },
        )


@dataclass(frozen=True, slots=True)
class Level:
    """One level: its policies, the scope within which their state is shared, and where they are written in the file."""

    scope: str
    policies: Policies
    path: KeyPath


def merge_policies(*levels: Level, defaults: Mapping[str, Any] | None = None) -> Merged:
    """The settings of every policy that is on, and the scope of the most specific level that names it.

    Levels go from the gateway to the route; `defaults` complete policies without turning any on. Raises ConfigError.
    """
    merger = Merger(defaults or {})
    merged = merger.merge(levels)
    if merger.findings:
        raise ConfigError([Problem(None, None, None, dotted(f.path), f.message, f.suggestion) for f in merger.findings])
    return merged


class Merger:
    """Merges many chains of levels; levels that say nothing about a policy share one result.

    What is wrong is collected in `findings`, once each, at the level that wrote it.
    """

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        self.defaults = {key: hide_secrets(POLICY_SETTINGS[key], value) for key, value in defaults.items()}
        self._findings: dict[Finding, None] = {}
        self._results: dict[tuple[str, tuple[KeyPath, ...], bool], Any] = {}
        self._merged: dict[tuple[tuple[KeyPath, ...], bool], Merged] = {}

    @property
    def findings(self) -> list[Finding]:
        return list(self._findings)

    def merge(self, levels: Sequence[Level], *, complete: bool = True) -> Merged:
        """Without `complete`, a level below may still add what is missing: that is not reported.

        Levels of which the last ones say nothing share the result.
        """
        while levels and not levels[-1].policies.said:
            levels = levels[:-1]
        known = (tuple([level.path for level in levels]), complete)
        if known not in self._merged:
            self._merged[known] = self._merge(levels, complete)
        return self._merged[known]

    def _merge(self, levels: Sequence[Level], complete: bool) -> Merged:
        merged: Merged = {}
        by_key: dict[str, list[Level]] = {}
        for level in levels:
            for key in level.policies.said:
                by_key.setdefault(key, []).append(level)
        for key, naming in by_key.items():
            if naming[-1].policies.said[key] is not False:
                settings = self._settings(key, naming, complete)
                if settings is not None and settings != []:  # a list of no plugins, or of no rules
                    merged[key] = (settings, naming[-1].scope)
            elif key in ON_BY_DEFAULT:
                merged[key] = (None, naming[-1].scope)
        return merged

    def alone(self, key: str, level: Level) -> Any:
        """The settings of a policy from one level and the defaults, on or off; None if these are not enough."""
        try:
            return _ADAPTERS[key].validate_python(_over(level.policies.said.get(key, {}), self.defaults.get(key, {})))
        except ValidationError:
            return None

    def _settings(self, key: str, levels: list[Level], complete: bool) -> Any:
        known = (key, tuple(level.path for level in levels), complete)
        if known not in self._results:
            self._results[known] = self._validate(key, levels, complete)
        return self._results[known]

    def _validate(self, key: str, levels: list[Level], complete: bool) -> Any:
        data = self._defaults_for(key, levels)
        for level in levels:
            data = _OVERLAYS.get(key, _over)(level.policies.said[key], data)
        try:
            settings = _ADAPTERS[key].validate_python(data)
        except ValidationError as error:
            for finding in findings_of(error, data, POLICY_SETTINGS[key]):
                in_list = any(isinstance(part, int) for part in finding.path)  # which is replaced, never completed
                if complete or in_list or not finding.missing:
                    self._found(key, levels, finding)
            return None
        if complete and isinstance(settings, AuthSettings) and settings.jwt is not None:
            if not settings.jwt.is_complete:
                message = (
                    "jwt needs a key: set SECRET_KEY or write secret in it, or name the issuer with discovery, "
                    "jwks_url, jwks_file or public_key_file"
                )
                self._found(key, levels, Finding(("jwt",), message, at_key=True))
            elif (problem := settings.jwt.short_secret) is not None:
                self._found(key, levels, Finding(("jwt", "secret"), problem))
        if complete and isinstance(settings, IdentitySettings) and not settings.keys:
            message = "identity needs a key: set IDENTITY_KEYS or write policies.identity.keys"
            self._found(key, levels, Finding((), message, at_key=True))
        return settings

    def _defaults_for(self, key: str, levels: list[Level]) -> Any:
        """What completes what the levels say; it turns no part of a policy on of which they say nothing.

        Where they say no more than that the policy is on, it does: `auth: true` is a token where SECRET_KEY is set.
        """
        defaults = self.defaults.get(key, {})
        said = {part for level in levels if isinstance(own := level.policies.said[key], dict) for part in own}
        if not said or not isinstance(defaults, dict):
            return defaults
        return {part: value for part, value in defaults.items() if part in said or not isinstance(value, dict)}

    def _found(self, key: str, levels: list[Level], finding: Finding) -> None:
        self._findings[replace(finding, path=self._origin(key, levels, finding.path))] = None

    def _origin(self, key: str, levels: list[Level], path: KeyPath) -> KeyPath:
        """Where a part of the merged settings was written in the file, or its variable."""
        for length in range(len(path), 0, -1):
            part = path[:length]
            for level in reversed(levels):
                if _holds(level.policies.said[key], part):
                    return (*level.path, key, *path)
            if _holds(self.defaults.get(key), part) and (variable := variable_for((key, *part))):
                return (ENVIRONMENT, variable)
        return (*levels[-1].path, key, *path)


def _over(own: Any, base: Any) -> Any:
    """`own` laid over `base`: mappings key by key; true, false and {} leave what is there."""
    if isinstance(own, bool) or own == {}:
        return base
    if isinstance(own, dict) and isinstance(base, dict):
        return {**base, **{key: _over_part(value, base.get(key)) for key, value in own.items()}}
    return own


def _over_part(own: Any, base: Any) -> Any:
    return _over(own, base) if isinstance(base, dict) and (own is True or isinstance(own, dict)) else own


_OVERLAYS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "auth": lambda own, base: auth_over(own, base, _over),
    "errors": errors_over,
    "headers": headers_over,
}
"""What lays a policy of one level over that of the levels above, where it is not `_over`."""


def _holds(value: Any, path: KeyPath) -> bool:
    for part in path:
        if not has_part(value, part):
            return False
        value = value[part]
    return True
