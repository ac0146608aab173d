"""The whole configuration, validated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from portico.config.checks import (
    RESERVED,
    cache_findings,
    certificate_findings,
    consumer_findings,
    discovery_findings,
    gateway_findings,
    health_check_findings,
    match_findings,
    name_findings,
    password_findings,
    token_findings,
)
from portico.config.consumers import ConsumerSettings, directory_of
from portico.config.discovery import DiscoverSettings, networks_of
from portico.config.endpoints import KEYS, METADATA
from portico.config.found import DiscoveryField
from portico.config.gateway import GatewaySettings
from portico.config.levels import Merged, Policies
from portico.config.listen import ListenerSettings
from portico.config.listen_checks import route_name_findings
from portico.config.origin import Origin
from portico.config.problems import Finding, KeyPath, Problem
from portico.config.resolve import Resolved, ResolvedRoute, resolve, resolving
from portico.config.route_checks import failover_route_findings, route_findings, trailer_findings
from portico.config.routes import RouteSettings
from portico.config.sample_keys import sample_key_findings
from portico.config.section import NoneIsEmpty, Section, Small, written_as
from portico.config.services import ServiceDefaults, ServiceSettings, VersionSettings
from portico.config.source import Source
from portico.config.split_checks import agreement_findings, split_findings
from portico.config.tokens import is_origin
from portico.config.words import LOCATED
from portico.core.consumers import Consumers, OwnNumbers
from portico.core.settings import Name
from portico.core.slices import Steps, at_once
from portico.net.addresses import Network
from portico.policies.auth import AuthSettings, JwtSettings
from portico.policies.plugins.imports import Code
from portico.policies.plugins.settings import PluginSettings

POLICY_DEFAULTS = "policy_defaults"
"""The key of the validation context under which defaults of policies from the environment are passed."""

CHECKED = "checked"
"""The key there that says that all fits together: it is not checked again."""

Include = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]),
]
"""Files, in which `*` and `?` may stand for other characters, relative to the one that includes them."""

_ANY = "any-service"
"""A name for a service that might be found."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was, in seconds since 1970: no difference between two configurations."""

    seconds: float = field(default=0.0, compare=False)


class Config(Section):
    """One configuration, as written and as resolved.

    Beside the routes that are written, each service has `/api/SERVICE`, rewritten to `/{path}`, and `/VERSION/SERVICE`,
    rewritten to `/api/{path}`, for each of its versions, unless its `default_routes` are off. `include` names files
    with more services, routes and consumers.

    Raises pydantic.ValidationError; `portico.config.load` turns that into problems with lines and columns.
    """

    model_config = ConfigDict(title="Portico configuration", hide_input_in_errors=True)

    include: Include = ()
    """Files with more services, routes and consumers, relative to the one that includes them; `*`, `?` and `[…]` may
    stand for other characters.
    """
    gateway: Annotated[GatewaySettings, NoneIsEmpty] = GatewaySettings()
    """Where the gateway listens, what it accepts, what it logs."""
    services: Annotated[
        dict[Name, Annotated[ServiceSettings, NoneIsEmpty]],
        written_as(dict, "services: {NAME: {url: http://host:port}}"),
    ] = Field(default_factory=dict)
    """The services by name, which stands in paths, metrics and log lines; `gateway` and `none` are taken."""
    routes: Annotated[
        tuple[Annotated[RouteSettings, Small], ...], written_as(list, "routes: [{path: /shop, service: shop}]")
    ] = ()
    """Written routes, of which the most specific one takes a request; every service has default ones besides."""
    policies: Annotated[Policies, NoneIsEmpty] = Policies()
    """Policies of all routes; services, versions and routes override them key by key."""
    consumers: tuple[Annotated[ConsumerSettings, Small], ...] = ()
    """Callers that are known by name. None has to be listed to be admitted by a token; keys and passwords are those of
    consumers that are.
    """
    discover: DiscoveryField = None
    """Services that are in no file: they register under a name that is admitted here."""

    _admitted: tuple[str, ...] = PrivateAttr(default=())
    _resolved: Resolved = PrivateAttr()
    _tree: Any = PrivateAttr(default=None)
    _policy_defaults: Mapping[str, Any] = PrivateAttr(default_factory=dict)
    _origin: Origin = PrivateAttr(default=Origin())
    _ignored: tuple[Finding, ...] = PrivateAttr(default=())
    _directory: Path = PrivateAttr(default=Path())
    _code: Code = PrivateAttr(default_factory=dict)
    _pages: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _files: Mapping[Path, bytes] = PrivateAttr(default_factory=dict)
    _documents: Mapping[Path, bytes] = PrivateAttr(default_factory=dict)
    _secret_files: tuple[Path, ...] = PrivateAttr(default=())
    _read_at: Moment = PrivateAttr(default=Moment())
    _source: Source | None = PrivateAttr(default=None)
    _directory_of_consumers: Consumers | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _fits_together(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        config = handler(data)
        config._tree = data
        config._policy_defaults = (info.context or {}).get(POLICY_DEFAULTS, {})
        config._resolved = resolve(config.services, config.routes, config.policies, config._defaults)
        if config.discover is not None:  # problems of a service that would be found are reported now
            config._resolved.findings.extend(config.admitting((_ANY,))._resolved.findings)
        if CHECKED not in (info.context or {}) and (findings := config._findings()):
            raise ValidationError.from_exception_data(cls.__name__, [_line_error(found) for found in findings])
        return config

    @property
    def all_routes(self) -> tuple[ResolvedRoute, ...]:
        """The written routes in their order, then the default routes of services."""
        return self._resolved.routes

    def served_by(self, listener: ListenerSettings) -> tuple[ResolvedRoute, ...]:
        """Those of all routes that a listener serves."""
        if listener.routes is None:
            return self.all_routes
        return tuple(route for route in self.all_routes if listener.serves(route.name))

    def resources_of(self, listener: ListenerSettings) -> dict[str, bytes]:
        """The metadata of the resources that a listener serves (RFC 9728), by the paths that it is read at."""
        auths = [route.policies["auth"][0] for route in self.served_by(listener) if "auth" in route.policies]
        return {auth.resource.path: auth.resource.document(auth.issuers) for auth in auths if auth.resource is not None}

    def route_sets(self) -> list[tuple[ListenerSettings, tuple[ResolvedRoute, ...]]]:
        """The distinct sets of routes and endpoints that listeners have, each with the first listener that has it."""
        first: dict[object, ListenerSettings] = {}
        for listener in self.gateway.listeners:
            first.setdefault(listener.kind, listener)
        return [(listener, self.served_by(listener)) for listener in first.values()]

    def _route_names(self) -> set[str]:
        """Of all routes, also of those whose service there is not: that is a problem of its own."""
        return {route.name for route in self.all_routes} | {route.name for route in self.routes if route.name}

    @property
    def consumer_rates(self) -> OwnNumbers:
        """What replaces the numbers of rate limits for consumers, by their names."""
        return self.consumer_directory.numbers

    @property
    def consumer_directory(self) -> Consumers:
        """All consumers, with what they may prove themselves by."""
        if self._directory_of_consumers is None:
            self._directory_of_consumers = at_once(directory_of(self.consumers))
        return self._directory_of_consumers

    @property
    def own_policies(self) -> Merged:
        """The policies of the gateway level alone, for what the gateway answers itself."""
        return self._resolved.own_policies

    @property
    def plugins(self) -> dict[str, list[PluginSettings]]:
        """The users' policies that are in use, by the scope of the level whose list they are."""
        merged = [self.own_policies, *(route.policies for route in self.all_routes)]
        return {scope: written for each in merged for written, scope in [each.get("plugins", ([], ""))] if written}

    @property
    def directory(self) -> Path:
        """That of the file: what it names relative to itself is there."""
        return self._directory

    @property
    def source(self) -> Source | None:
        """The texts that it was read from, where it was read from a file; workers have none."""
        return self._source

    @property
    def code(self) -> Code:
        """The text of the files of users' policies with which it was checked: all processes import just that."""
        return self._code

    @property
    def files(self) -> Mapping[Path, bytes]:
        """What was in the files that routes answer with when the configuration was read."""
        return self._files

    @property
    def documents(self) -> Mapping[Path, bytes]:
        """The OpenAPI documents in the files that services name, as JSON, when the configuration was read."""
        return self._documents

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The files that values were from (`${file:PATH}`)."""
        return self._secret_files

    @property
    def read_at(self) -> float:
        """When its file began to be read, in seconds since 1970; 0 where it was read from no file."""
        return self._read_at.seconds

    @property
    def token_settings(self) -> JwtSettings | None:
        """The key and claims of tokens that the gateway itself issues: the gateway level's, or SECRET_KEY alone.

        None where there is no secret.
        """
        auth = self._resolved.own_auth
        return auth.jwt if auth is not None and auth.jwt is not None and auth.jwt.secret is not None else None

    @property
    def secret(self) -> SecretStr | None:
        """What the gateway signs with where nothing else is written: the gateway level's secret, or SECRET_KEY."""
        if self.token_settings is not None:
            return self.token_settings.secret
        auth = self._policy_defaults.get("auth") or {}
        secret = (auth.get("jwt") or {}).get("secret")
        return SecretStr(secret) if secret else None

    @property
    def issues_tokens(self) -> bool:
        """Whether tokens are issued: there is a key, and a consumer has a password, or `tokens` is written."""
        tokens = self.gateway.tokens
        if tokens.algorithm is None and self.token_settings is None:
            return False
        return "tokens" in self.gateway.model_fields_set or bool(self.consumer_directory.passwords)

    @property
    def issuing_secret(self) -> str | None:
        """The secret that issued tokens are signed with; None where they are signed with keys, or there are none."""
        settings = self.token_settings
        if not self.issues_tokens or self.gateway.tokens.algorithm is not None:
            return None
        return settings.secret.get_secret_value() if settings is not None and settings.secret is not None else None

    @property
    def token_issuer(self) -> str | None:
        """What `iss` says in the tokens that it issues."""
        auth = self.token_settings
        return self.gateway.tokens.issuer or (auth.issuer if auth is not None else None)

    @property
    def token_paths(self) -> tuple[str, ...]:
        """The endpoints that it has because it issues tokens."""
        if not self.issues_tokens:
            return ()
        paths = ["/auth/token", "/auth/revoke", "/auth/me"]
        if self.gateway.tokens.algorithm is not None:
            paths.append(KEYS)
        if self.token_issuer is not None and is_origin(self.token_issuer):
            paths.append(METADATA)
        return tuple(paths)

    @property
    def own_auth(self) -> AuthSettings:
        """How callers of `/auth/me` prove who they are: as the gateway level says, or by a token of its own."""
        changed: dict[str, Any] = {"optional": False, "name_encoding": "percent"}
        auth = self._resolved.own_auth
        if self.gateway.tokens.algorithm is not None and (auth is None or auth.jwt is None or not auth.jwt.own):
            changed["jwt"] = JwtSettings(own=True)
        return (auth or AuthSettings(jwt=JwtSettings())).model_copy(update=changed)

    @property
    def _defaults(self) -> Mapping[str, Any]:
        """What completes policies: what the environment says; tokens with keys of its own need no secret."""
        if self.gateway.tokens.algorithm is None:
            return self._policy_defaults
        auth = self._policy_defaults.get("auth") or {}
        return {**self._policy_defaults, "auth": {**auth, "jwt": {"own": True}}}

    @property
    def admitted(self) -> tuple[str, ...]:
        """The services that are not in the file and that `discover` admits."""
        return self._admitted

    def admitting(self, names: Iterable[str]) -> Self:
        """This configuration with a service for each of these names that is not written; none without `discover`."""
        return at_once(self._admitting(names))

    def _admitting(self, names: Iterable[str]) -> Steps[Self]:
        written = {name: service for name, service in self.services.items() if name not in self._admitted}
        routes = self.routes[: len(self.routes) - self._found_routes()]
        found: tuple[str, ...] = ()
        if self.discover is not None:
            found = tuple(name for name in names if name not in written)
            service = self.discover.found_service()
            routes = (*routes, *self.discover.found_routes(found))
            written |= dict.fromkeys(found, service)
        config = self.model_copy(update={"services": written, "routes": routes})
        config._admitted = found
        config._resolved = yield from resolving(written, routes, self.policies, self._defaults, found)
        return config

    def _found_routes(self) -> int:
        """How many of the routes, the last ones, are those of admitted services."""
        return len(self.discover.found_routes(self._admitted)) if self.discover is not None else 0

    def discovery(self, name: str) -> DiscoverSettings | None:
        """Where instances of a service register, written or not, and where they may be; None where none may."""
        top, service = self.discover, self.services.get(name)
        if service is not None and name not in self._admitted:
            own = service.discover
            if own is None or own.allow is not None or top is None:
                return own
            return own.model_copy(update={"allow": top.allow})
        if top is None or name in RESERVED or not top.admits(name):
            return None
        return DiscoverSettings.model_construct(source=top.source, allow=top.allow)

    def networks_allowed(self, name: str) -> tuple[Network, ...]:
        """The networks in which instances of a service may register, written or not."""
        settings = self.discovery(name)
        return networks_of(settings.allow) if settings is not None else ()

    @property
    def directories(self) -> frozenset[str]:
        """What instances are found in."""
        own = {service.discover.directory for service in self.services.values() if service.discover is not None}
        return frozenset(own if self.discover is None else {*own, self.discover.source})

    def parts(self) -> Iterator[object]:
        """All its services, with their instances, routes and consumers, and what is written of them."""
        for service in self.services.values():
            yield service
            yield from service.instances or ()
        yield from self.consumers
        yield from self.consumer_directory
        yield from self.consumer_rates.values()
        yield from self.routes
        yield from self.all_routes
        yield from (self._tree.get("services") or {}).values()
        yield from self._tree.get("routes") or ()

    @property
    def ignored(self) -> tuple[Finding, ...]:
        """What was found in the environment and ignored, in the process that read it."""
        return self._ignored

    @property
    def written(self) -> Mapping[str, Any]:
        """The keys and values as they were written, with what the environment adds."""
        return cast(Mapping[str, Any], self._tree)

    def problem(self, finding: Finding) -> Problem:
        """A finding with the place where it was written, in the process that read it."""
        return self._origin.problem(finding)

    def levels(self) -> Iterator[tuple[KeyPath, Policies]]:
        """What each level that is written says about policies, with where that is."""
        yield ("policies",), self.policies
        for path, part in self.treated():
            yield (*path, "policies"), part.policies

    def treated(self) -> Iterator[tuple[KeyPath, ServiceDefaults | VersionSettings | RouteSettings]]:
        """Every service, version and route that is written, with where that is."""
        for name, service in self.services.items():
            if name in self._admitted:
                continue
            yield ("services", name), service
            for version, own in service.versions.items():
                yield ("services", name, "versions", version), own
        for index, route in enumerate(self.routes):
            yield ("routes", index), route
        if self.discover is not None:
            yield ("discover", "service"), self.discover.service

    @property
    def in_maintenance(self) -> list[str]:
        """The services in maintenance, the versions, as `SERVICE@VERSION`, and the routes that are so by themselves."""
        names = [name for name, service in self.services.items() if service.maintenance is not None]
        for name, service in self.services.items():
            names += [f"{name}@{version}" for version, own in service.versions.items() if own.maintenance is not None]
        rules = (route for route in self.all_routes if not route.is_variant)
        routes = (route for route, written in zip(rules, self.routes, strict=False) if written.maintenance)
        return [*names, *(f"route {route.name}" for route in routes)]

    @property
    def page_texts(self) -> Mapping[str, str]:
        """The texts of the files of error pages, by their names as written."""
        return self._pages

    def _findings(self) -> list[Finding]:
        return [
            *gateway_findings(self.gateway),
            *token_findings(self.gateway, self.all_routes, has_secret=self.token_settings is not None),
            *name_findings(self.services, self.routes),
            *route_findings(self.services, self.routes),
            *trailer_findings(self.all_routes),
            *failover_route_findings(self.all_routes),
            *split_findings(self.services, self.routes),
            *(finding for _, routes in self.route_sets() for finding in match_findings(routes)),
            *agreement_findings(self.all_routes),
            *route_name_findings(self.gateway, self._route_names(), self.discover),
            *consumer_findings(self.consumers),
            *password_findings(self.consumers, self.all_routes),
            *certificate_findings(self.gateway, self.all_routes),
            *cache_findings(self.gateway, self.all_routes),
            *discovery_findings(self.gateway, self.services, self.discover),
            *health_check_findings(self.gateway, self.services),
            *sample_key_findings(self.gateway, self.all_routes, self._policy_defaults),
            *self._resolved.findings,
        ]


def _line_error(finding: Finding) -> InitErrorDetails:
    context = {"message": finding.message, "suggestion": finding.suggestion, "at_key": finding.at_key}
    return InitErrorDetails(type=PydanticCustomError(LOCATED, "{message}", context), loc=finding.path, input=None)
