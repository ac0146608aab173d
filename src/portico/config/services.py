"""Services: their instances, and how the gateway treats them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from portico.config.balancing import LoadBalancing
from portico.config.breakers import (
    CircuitBreakerField,
    CircuitBreakerSettings,
    PassiveHealthField,
    PassiveHealthSettings,
)
from portico.config.discovery import DiscoverField
from portico.config.instances import InstanceField, InstanceSettings, InstanceUrl
from portico.config.levels import Policies
from portico.config.openapi import OpenApiField, OpenApiSettings
from portico.config.overload import MaxRequests, Permits, QueueField, QueueSettings
from portico.config.retries import HedgeSettings, RetryField, RetrySettings
from portico.config.rewrites import VersionRewrite
from portico.config.section import FilePath, NoneIsEmpty, Section, Whole, inherit, is_word
from portico.config.sticky import StickyField, StickySettings
from portico.config.versions import (
    LATEST,
    DeprecationField,
    Source,
    SunsetField,
    VersionBy,
    VersionChoice,
    kind_of,
)
from portico.core.fields import FORBIDDEN_TRAILERS, PASSES
from portico.core.found import Found
from portico.core.hosts import host_name, is_internal
from portico.core.settings import Duration, DurationOrZero, HeaderName, Name, NotEmpty, Size, parse_duration
from portico.core.slices import Steps, at_once
from portico.net.tls.certificates import Pair
from portico.policies.maintenance import MaintenanceSettings


def _long_health_check(value: Any) -> Any:
    if is_word(value, False):
        return None
    if is_word(value, True):
        return {}
    return {"path": value} if isinstance(value, str) else value


def _long_timeout(value: Any) -> Any:
    if value is None or isinstance(value, (dict, Section)):
        return value
    seconds = parse_duration(value)
    if not isinstance(seconds, (int, float)):
        raise ValueError("expected a duration, or connect, response, idle and total")
    return {"connect": min(5.0, seconds), "response": seconds, "idle": seconds}


def _statuses(value: Any) -> Any:
    if isinstance(value, (tuple, list, bool)):
        return value
    match = re.fullmatch(r"\s*([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?\s*", str(value), re.ASCII)
    if not match or int(match[2] or match[1]) < int(match[1]):
        raise ValueError("expected a status such as 204 or a range such as 200-299")
    return int(match[1]), int(match[2] or match[1])


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


def _health_path(text: str) -> str:
    if not re.fullmatch(r"/[!\"$-~]*", text):
        raise ValueError("expected a path that starts with /, without spaces")
    return text


def _protocol(text: str) -> str:
    text = text.lower()
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+(?:/[!#$%&'*+.^_`|~0-9a-z-]+)?", text):
        raise ValueError("expected the name of a protocol, such as websocket")
    if text.startswith(("h2c", "http", "tls")):
        raise ValueError(f"requests inside {text} would bypass every policy; it cannot be allowed")
    return text


Upgrades = Annotated[
    tuple[Annotated[str, AfterValidator(_protocol)], ...],
    BeforeValidator(lambda value: () if is_word(value, False) else value, json_schema_input_type=list[str] | bool),
]
"""Protocols to which a client may switch by `Upgrade` (RFC 9110, section 7.8); `false` for none."""


def _trailer(name: str) -> str:
    plain = name.lower().encode()
    if plain in FORBIDDEN_TRAILERS or not PASSES(plain):
        raise ValueError(f"{name} is needed before the body; it cannot be a trailer")
    return name


Trailers = tuple[Annotated[HeaderName, AfterValidator(_trailer)], ...]
"""Fields that may pass in a trailer section (RFC 9110, section 6.5)."""

StatusRange = Annotated[tuple[int, int], BeforeValidator(_statuses, json_schema_input_type=int | str)]


class HealthCheckSettings(Section):
    """How an instance proves that it is healthy: GET `path` gets a response with a status in `expect`.

    Without a path, accepting a TCP connection is enough. Times in seconds; `healthy_after` and `unhealthy_after`
    count checks in a row.
    """

    path: Annotated[str, AfterValidator(_health_path)] | None = None
    """What is asked for; a query is allowed."""
    interval: Duration = 5.0
    """Between two checks, ±10 %. While an instance is down, 1 s at most."""
    timeout: Duration = 5.0
    """For one check, the connection included."""
    healthy_after: Annotated[Whole, Field(ge=1, le=100)] = 1
    """Passed checks in a row that bring it back."""
    unhealthy_after: Annotated[Whole, Field(ge=1, le=100)] = 3
    """Failed checks in a row that eject it."""
    expect: Annotated[
        tuple[StatusRange, ...],
        BeforeValidator(_listed, json_schema_input_type=int | str | list[int | str]),
        Field(min_length=1),
    ] = ((200, 299),)
    """Statuses that pass."""
    shared: bool = False
    """Whether gateways with the same Redis (`gateway.redis_url`) share what checks find: one of them asks an instance
    in each interval, and all count the result. While Redis is away each asks by itself. Names have to mean the same to
    all of them.
    """

    def expects(self, status: int) -> bool:
        """Whether a response with this status means healthy."""
        return any(low <= status <= high for low, high in self.expect)


class Timeouts(Section):
    """Seconds the gateway waits for a service: to connect, for the response to begin, between two pieces, altogether.

    `tunnel` is how long a WebSocket may be silent on both sides; `total` does not hold for it.
    One number N is short for `response` and `idle` of N and `connect` of N or 5, whichever is less.
    """

    connect: Duration = 5.0
    """Opening a connection, the TLS handshake included."""
    response: Duration = 30.0
    """From the last piece of the request that was sent to the whole head of the response."""
    idle: Duration = 60.0
    """Between two pieces of the response's body. Stands still while the client reads slowly."""
    total: Duration | None = None
    """From the arrival of the request's head to the end of the response, all attempts together."""
    tunnel: Duration = 600.0
    """Silence on both sides of a WebSocket, after which it is closed. The other timeouts hold until it is open."""


def _long_maintenance(value: Any) -> Any:
    return None if is_word(value, False) else {} if is_word(value, True) else value


MaintenanceField = Annotated[
    MaintenanceSettings | None,
    BeforeValidator(_long_maintenance, json_schema_input_type=bool | MaintenanceSettings),
    NotEmpty("write maintenance: true, or false"),
]


def _server_name(text: str) -> str:
    return host_name(text).removeprefix("[").removesuffix("]")


class UpstreamTlsSettings(Section):
    """How the certificate of an https instance is checked; `server_name` is the name expected in it.

    `certificate` and `key` are the client certificate, for instances that ask for one.
    """

    verify: bool = True
    """Whether the certificate of an `https` instance has to be valid."""
    ca: Annotated[
        FilePath | None, NotEmpty("write the file of the authorities, or leave ca out to trust the system's")
    ] = None
    """The file of the only authorities to trust, in place of the system's."""
    server_name: Annotated[str, AfterValidator(_server_name)] | None = None
    """The name to ask for (SNI) and to find in the certificate."""
    certificate: FilePath | None = None
    """What the gateway shows to an instance that asks for a client certificate, also in health checks."""
    key: FilePath | None = None
    """The key of that certificate; both or neither."""

    @model_validator(mode="after")
    def _has_both_or_neither(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("needs both certificate and key, or neither")
        return self

    @property
    def pair(self) -> Pair | None:
        return Pair(self.certificate, self.key) if self.certificate and self.key else None

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.ca, self.certificate, self.key) if path is not None]


HealthCheckField = Annotated[
    HealthCheckSettings | None,
    BeforeValidator(_long_health_check, json_schema_input_type=bool | str | HealthCheckSettings),
]
TimeoutField = Annotated[Timeouts, BeforeValidator(_long_timeout, json_schema_input_type=float | str | Timeouts)]


def _preserve_host(value: Any) -> Any:
    for word in (True, False):
        if is_word(value, word):
            return word
    if value == "auto":
        return value
    raise ValueError("expected auto, true or false")


PreserveHost = Annotated[
    bool | Literal["auto"], BeforeValidator(_preserve_host, json_schema_input_type=bool | Literal["auto"])
]
"""Whether a service gets the client's Host: `auto` where its instance is named as on a network of one's own."""


def preserved(preserve_host: PreserveHost, instance: InstanceSettings) -> bool:
    """Whether an instance gets the client's Host."""
    return is_internal(instance.host) if preserve_host == "auto" else preserve_host


def _default_version(value: Any) -> Any:
    return False if is_word(value, False) else value


class _Treated(Section):
    """How requests to a service, or to a version of it, are treated."""

    redirect_slash: bool = True
    """Whether a browser at the bare prefix of a route is redirected to its slash."""
    case_insensitive: bool = False
    """Whether the service takes `/Admin` and `/admin.` for `/admin`, so that routes and policies have to as well."""
    preserve_host: PreserveHost = "auto"
    """Whether the service gets the client's `Host` instead of the instance's own; `auto`: where the instance's name is
    one of a network of one's own.
    """
    body_size: Size | None = None
    """Body of a request, in place of `gateway.limits.body_size`: more for uploads, less for what takes none."""
    upgrades: Upgrades = ("websocket",)
    """The protocols to which a client may switch; `false` for none."""
    trailers: Trailers = ()
    """Fields that may come behind a chunked body, in both directions; to a client only if it says `TE: trailers`. All
    others are dropped. A field that the route's policies set is none.
    """
    tls: UpstreamTlsSettings = UpstreamTlsSettings()
    """How an `https` instance is verified."""
    max_requests: MaxRequests | None = None
    """Requests under way at the service's instances together, from the first attempt to the end of the response, in
    each worker: a number, or `adaptive` for a limit that is found.
    """
    max_connections: Permits | None = None
    """Connections of requests under way to each instance, WebSockets among them. A full instance is passed over; with
    all of them full a request gets 503.
    """
    queue: QueueField = QueueSettings()
    """How many requests wait for a permit beyond `max_requests`, and for how long."""
    maintenance: MaintenanceField = None
    """All requests get 503 for now."""
    policies: Annotated[Policies, NoneIsEmpty] = Policies()
    """Policies for all of its routes."""


class _Addressed(_Treated):
    """What a service and a version of it have in common: instances of their own, one `url` or a list."""

    url: InstanceUrl | None = None
    """The one instance: `http://host[:port]`, `https://…` or `unix:///path`, without path, user or query. One behind a
    unix socket gets `Host: localhost` where it does not get the client's, and cannot register itself.
    """
    instances: Annotated[tuple[InstanceField, ...], Field(min_length=1)] | None = None
    """Several instances, in place of `url`: each a URL, or a section."""

    @model_validator(mode="before")
    @classmethod
    def _keys_and_values(cls, data: Any) -> Any:
        if isinstance(data, (str, list)):
            example = "{url: http://host:port}" if isinstance(data, str) else "{instances: [http://host:port, …]}"
            raise ValueError(f"expected keys and values: write {example}")
        return data

    @model_validator(mode="after")
    def _one_way_to_write_instances(self) -> Self:
        if self.url is not None and self.instances is not None:
            raise ValueError("has both url and instances; url is short for one instance, keep one of them")
        urls = [instance.url for instance in self.instances or ()]
        if len(set(urls)) < len(urls):
            raise ValueError("names an instance twice; give it a weight of 2 instead")
        return self

    @cached_property
    def all_instances(self) -> tuple[InstanceSettings, ...]:
        """Its own instances, however they were written; none if it has none of its own."""
        if self.url is not None:
            return (InstanceSettings(url=self.url),)
        return self.instances or ()


class VersionSettings(_Addressed):
    """One version of a service: what is not written here is the service's.

    `timeout` and `policies` fall back key by key, everything else as a whole. `rewrite` is that of its routes which
    have none of their own. `deprecated` and `sunset` are told to whoever calls it.
    """

    health_check: HealthCheckField = None
    """In place of the service's."""
    timeout: TimeoutField | None = None
    """In place of the service's, key by key."""
    retries: RetryField | None = None
    """In place of the service's."""
    rewrite: VersionRewrite | None = None
    """The path that the service gets, on all routes to this version that have no `rewrite` of their own."""
    deprecated: DeprecationField = None
    """Since when it is deprecated, or from when on; `url` is a page about that."""
    sunset: SunsetField = None
    """When it ends: from then on its requests get 410, `version_gone`, unless `keep_serving: true`. Not before
    `deprecated`.
    """
    openapi: OpenApiField = None
    """In place of the service's: where it has instances of its own it may have a document of its own, too."""

    @model_validator(mode="after")
    def _ends_after_it_is_deprecated(self) -> Self:
        if self.sunset and self.deprecated and self.sunset.at < self.deprecated.at:
            raise ValueError("its sunset comes before it is deprecated: clients have to be told first (RFC 9745)")
        return self


class ServiceDefaults(_Treated):
    """How instances are checked, balanced, retried and timed, wherever they are.

    Without `health_check` instances are checked by a TCP connection; `false` turns checks off. Beside that, instances
    that fail requests are ejected by `passive_health`, or by `circuit_breaker` even if none is left. One that comes
    back gets its full share after `slow_start` seconds. `idle_connection_timeout` is how long an unused connection to
    an instance is kept, and `dns_refresh` how long the addresses of its name are, in seconds. `openapi` is where its
    document is, which becomes part of the gateway's.
    """

    health_check: HealthCheckField = HealthCheckSettings()
    """How instances are checked: a path, or a section; `true` for a TCP connection, which is the default, `false` for
    no checks.
    """
    timeout: TimeoutField = Timeouts()
    """How long each wait for the service may take."""
    retries: RetryField = RetrySettings()
    """When a request that failed is sent again: a number of attempts, or a section."""
    load_balancing: LoadBalancing = "round_robin"
    """Which instance a request goes to."""
    sticky: StickyField = None
    """Clients stay with the instance that has their session."""
    passive_health: PassiveHealthField = PassiveHealthSettings()
    """Instances that fail requests are ejected for a while, as long as enough are left. On by default."""
    circuit_breaker: CircuitBreakerField = None
    """Instances that fail requests are ejected for a while, even if none is left; in place of `passive_health`."""
    slow_start: DurationOrZero = 0.0
    """Over how long an instance that comes back gets its full share; it begins with a tenth."""
    hedge: Annotated[HedgeSettings | None, NotEmpty("write hedge: {after: 100ms}, or leave it out")] = None
    """A second attempt beside a slow first one, for reads."""
    idle_connection_timeout: Duration = 4.0
    """How long an unused connection to an instance is kept. A service's `Keep-Alive: timeout=N` shortens this to N - 1.
    """
    dns_refresh: Duration = 10.0
    """How long the addresses of a host name hold."""
    openapi: OpenApiField = OpenApiSettings()
    """Where its OpenAPI document is: a path of the service, a section, or `{file: NAME}` beside the configuration;
    `false` for none.
    """

    @model_validator(mode="after")
    def _one_way_to_eject(self) -> Self:
        if self.circuit_breaker and self.passive_health and "passive_health" in self.model_fields_set:
            raise ValueError("has both circuit_breaker and passive_health; the first replaces the second, keep one")
        return self


class ServiceSettings(ServiceDefaults, _Addressed):
    """A named API: its instances, written or, with `discover`, those that register, and how they are treated.

    With `default_routes` off it has only the routes that are written for it. `version_by` says what names the version
    of a request, the first that does so; one that names none gets the `default_version`: without one the first that is
    written, and with `false` an error.
    """

    discover: DiscoverField = None
    """Instances register themselves, or Kubernetes or DNS knows them, beside `url` or `instances` or instead."""
    default_routes: bool = True
    """Whether it has `/api/NAME` and `/VERSION/NAME` beside written routes."""
    versions: dict[Name, Annotated[VersionSettings, NoneIsEmpty]] = Field(default_factory=dict)
    """Versions by name; what one does not say is as in the service."""
    version_by: VersionBy = ("path",)
    """What names the version of a request: `path`, `header`, `media_type` or `query`, the first that does."""
    default_version: Annotated[str | Literal[False] | None, BeforeValidator(_default_version)] = None
    """The version of requests that name none; `latest` is the last that is written, with `false` they get 400."""

    @model_validator(mode="after")
    def _versions_fit(self) -> Self:
        if {"version_by", "default_version"} & self.model_fields_set and not self.versions:
            raise ValueError("has no versions to choose from: write versions: {v1: {}, v2: {}}")
        kinds = [kind_of(source) for source in self.version_by]
        if len(set(kinds)) < len(kinds):
            raise ValueError("version_by has the same kind twice; keep one of them")
        if self.choosing and len({name.lower() for name in (*self.versions, LATEST)}) <= len(self.versions):
            raise ValueError("versions need names that differ in more than the case of letters, and from latest")
        if self.default_version and self.default_version not in (*self.versions, LATEST):
            known = ", ".join((*self.versions, LATEST))
            raise ValueError(f"default_version is none of its versions: write one of {known}")
        if "default_version" in self.model_fields_set and not self.choosing:
            raise ValueError("default_version needs a version_by with header, media_type or query")
        return self

    @model_validator(mode="after")
    def _has_instances(self) -> Self:
        if not self.has_instances:
            without = [name for name, version in self.versions.items() if not version.all_instances]
            if without:
                raise ValueError(f"needs a url, instances or discover: its version {without[0]} has no instances")
            if not self.versions:
                raise ValueError("needs a url, instances or discover")
        return self

    @property
    def choosing(self) -> tuple[Source, ...]:
        """What names the version of requests whose path names none; empty where nothing does."""
        return tuple(source for source in self.version_by if source != "path")

    def choice(self, name: str, path_version: str | None = None) -> VersionChoice | None:
        """What the service's routes choose by, or those whose path names a version; None where they do not."""
        sources = self.choosing
        if path_version is not None:
            sources = self.version_by[: self.version_by.index("path")]
        if not sources:
            return None
        versions = tuple(self.versions)
        default = versions[-1] if self.default_version == LATEST else self.default_version
        if default is None:
            default = versions[0]
        return VersionChoice(name, sources, versions, path_version or default or None)

    @property
    def has_instances(self) -> bool:
        """Whether it has instances beside those of its versions, or may get some."""
        return bool(self.all_instances or self.discover)

    @property
    def health(self) -> HealthCheckSettings | None:
        """How instances are checked; None where they are not."""
        return self.health_check

    @property
    def timeouts(self) -> Timeouts:
        return self.timeout

    @property
    def retry(self) -> RetrySettings:
        return self.retries

    def upstream(self, version: str | None = None, found: Sequence[Found] = ()) -> Upstream:
        """What requests to `version`, or to the service itself, are sent to. Raises KeyError for an unknown version.

        `found` are the service's registered instances.
        """
        return at_once(self.finding(version, found)) if found else self._upstream(version)

    def finding(self, version: str | None, found: Sequence[Found]) -> Steps[Upstream]:
        """The same in steps: there may be thousands of registered instances."""
        upstream, registered = self._upstream(version), list[InstanceSettings]()
        for instance in self._registered(version, upstream.shared, found, upstream.instances):
            registered.append(instance)
            yield
        urls = frozenset(instance.url for instance in registered)
        return replace(upstream, instances=(*upstream.instances, *registered), registered=urls)

    def _upstream(self, version: str | None) -> Upstream:
        if version is None:
            own: _Addressed = self
            health, timeouts, retries = self.health_check, self.timeout, self.retries
        else:
            own = chosen = self.versions[version]
            written = chosen.model_fields_set
            health = chosen.health_check if "health_check" in written else self.health_check
            timeouts = inherit(chosen.timeout, self.timeout) if chosen.timeout else self.timeout
            retries = chosen.retries or self.retries

        shared = version is not None and not own.all_instances

        def either(key: str) -> Any:
            return getattr(own if key in own.model_fields_set else self, key)

        def bound(key: str) -> Any:  # those of shared instances hold for all requests sent there
            return getattr(self, key) if shared else either(key)

        return Upstream(
            instances=self.all_instances if shared else own.all_instances,
            registered=frozenset(),
            shared=shared,
            may_change=self.discover is not None,
            health=health,
            timeouts=timeouts,
            retry=retries,
            rewrite=None if version is None else chosen.rewrite,
            redirect_slash=either("redirect_slash"),
            case_insensitive=either("case_insensitive"),
            preserve_host=either("preserve_host"),
            body_size=either("body_size"),
            trailers=either("trailers"),
            maintenance=either("maintenance"),
            upgrades=either("upgrades"),
            tls=either("tls"),
            openapi=either("openapi"),
            load_balancing=self.load_balancing,
            sticky=self.sticky,
            passive_health=self.passive_health,
            circuit_breaker=self.circuit_breaker,
            slow_start=self.slow_start,
            hedge=self.hedge,
            idle_connection_timeout=self.idle_connection_timeout,
            dns_refresh=self.dns_refresh,
            max_requests=bound("max_requests"),
            max_connections=bound("max_connections"),
            queue=bound("queue"),
        )

    def _registered(
        self, version: str | None, shared: bool, found: Sequence[Found], written: Sequence[InstanceSettings]
    ) -> Iterator[InstanceSettings]:
        """The registered instances of a version, or of the service itself; a written instance with the same URL wins.

        Those without a version belong to the service, as its written instances do; those with one belong to that
        version alone, unless no versions are written at all.
        """
        if self.discover is None:
            return
        urls = {instance.url for instance in written}
        for instance in found:
            named = instance.version if self.versions else None
            if (named == version or (shared and named is None)) and instance.url not in urls:
                urls.add(instance.url)
                yield InstanceSettings(url=instance.url, weight=instance.weight, backup=instance.backup)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A service, or one version of it, with all settings in their long form; `shared` instances are the service's own.

    Where instances register, the set of them `may_change`; `registered` are the URLs of those that did.
    """

    instances: tuple[InstanceSettings, ...]
    registered: frozenset[str]
    shared: bool
    may_change: bool
    health: HealthCheckSettings | None
    timeouts: Timeouts
    retry: RetrySettings
    rewrite: str | None
    redirect_slash: bool
    case_insensitive: bool
    preserve_host: PreserveHost
    body_size: int | None
    upgrades: tuple[str, ...]
    trailers: tuple[str, ...]
    maintenance: MaintenanceSettings | None
    tls: UpstreamTlsSettings
    openapi: OpenApiSettings | None
    load_balancing: LoadBalancing
    sticky: StickySettings | None
    passive_health: PassiveHealthSettings | None
    circuit_breaker: CircuitBreakerSettings | None
    slow_start: float
    hedge: HedgeSettings | None
    idle_connection_timeout: float
    dns_refresh: float
    max_requests: MaxRequests | None
    max_connections: int | None
    queue: QueueSettings
