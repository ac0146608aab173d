"""The gateway itself: where it listens, what it accepts, what it logs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from portico.config.acme import AcmeSettings
from portico.config.admin import AdminTokenSettings, Callers, callers_of, check_token, find_caller
from portico.config.directories import ApiServerSettings
from portico.config.endpoints import ALL_OFF, EndpointSettings
from portico.config.listen import Host, ListenerSettings, Port, TlsField, is_loopback, listening_host
from portico.config.problems import KeyPath
from portico.config.section import FilePath, NoneIsEmpty, Secret, Section, Whole, is_word, no_nul, written_as
from portico.config.telemetry import (
    LogExport,
    LogExportSettings,
    MetricsExport,
    MetricsExportSettings,
    Tracing,
    like_tracing,
)
from portico.config.tokens import TokenSettings
from portico.core.fields import REQUEST_DROP, plain_name
from portico.core.networks import NetworkField
from portico.core.settings import Duration, DurationOrZero, HeaderName, NotEmpty, Size, plain_secret
from portico.net.redis.connection import check_url
from portico.observe.access_log import MAX_PENDING
from portico.observe.log_fields import check_field
from portico.observe.log_targets import syslog_address


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[IPv6]:port`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise ValueError("expected host:port, for example 127.0.0.1:9000")
    if "/" in host or not host:
        raise ValueError("expected host:port and nothing else, for example 127.0.0.1:9000")
    if ":" in host and not bracketed:
        raise ValueError("expected host:port; an IPv6 address goes into brackets: [::1]:9000")
    return listening_host(host), int(port)


def _address(text: str) -> str:
    split_address(text)
    return text


def _token(secret: Any) -> Any:
    if secret is not None:
        check_token(secret.get_secret_value())
    return secret


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _access(value: Any) -> Any:
    return "off" if is_word(value, False) else value


def _syslog(text: str) -> str:
    syslog_address(text)
    return text


def _redis_url(secret: Any) -> Any:
    if secret is not None:
        check_url(plain_secret(secret.get_secret_value()))
    return secret


def _passed_header(name: str) -> str:
    if plain_name(name.lower().encode()) in REQUEST_DROP:
        raise ValueError(f"{name} is written by the gateway, or ends here; a client's own cannot pass")
    return name


def _visible(text: str) -> str:
    if not re.fullmatch(r"[ -~]+", text):
        raise ValueError("expected visible ASCII characters, such as edge-1.example.com")
    return text


def _long_proxy_status(value: Any) -> Any:
    return None if is_word(value, False) else {} if is_word(value, True) else value


def _yes_no_or_path(value: Any) -> Any:
    """`true` and `false` from the environment or quoted YAML are booleans, not names of files."""
    return True if is_word(value, True) else False if is_word(value, False) else value


class LimitSettings(Section):
    """What one client may use of the gateway: sizes in bytes, times in seconds."""

    header_size: Annotated[Size, Field(ge=1024, le=1 << 20)] = 32 << 10
    """Bytes of all header lines together; more is a 431."""
    header_count: Annotated[Whole, Field(ge=10, le=10_000)] = 100
    """Number of header lines; more is a 431."""
    url_length: Annotated[Size, Field(ge=256, le=1 << 20)] = 16 << 10
    """Bytes of path and query; more is a 414."""
    body_size: Size = 10 << 20
    """Bytes of a request's body, also of a chunked one; more is a 413. 0 allows none. A service or route may say
    otherwise.
    """
    body_rate: Size = 0
    """Bytes a second that a request's body must make on average, after the first `body_timeout` and while the service
    takes them; 408. 0 asks for none: a slow body then costs its connection for as long as its pauses are short.
    """
    connections: Annotated[Whole, Field(ge=1, le=1_000_000)] = 10_000
    """Open client connections of each worker; one more gets 503 and is closed. With TLS or `proxy_protocol` it is
    closed at once. The limit of open files is raised to suit, as far as the system lets it.
    """
    connections_per_client: Annotated[Whole, Field(ge=0, le=1_000_000)] = 0
    """How many of them may come from one address (IPv6: a /64, as for rate limits), in each worker; one more gets 429
    and is closed. 0: any number. Does not hold for `trusted_proxies`, which bring many clients.
    """
    requests: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None
    """Requests under way in each worker; one more gets 503 at once, before any policy. Open WebSockets do not count,
    event streams do. Without it `connections` is the bound: a connection has one request under way.
    """
    lag: DurationOrZero = 0.2
    """How late a worker may process what it has received; beyond it a part of the requests gets 503. 0: any time."""
    header_timeout: Duration = 10.0
    """For a whole request head, from its first bytes; 408. A new connection that says nothing for this long is closed.
    Before that, for a TLS handshake and a PROXY header together.
    """
    body_timeout: Duration = 30.0
    """The longest pause between two pieces of a request's body; 408. Also how long a client may take less than 4 KiB of
    a response while more is waiting for it.
    """
    idle_timeout: Duration = 75.0
    """How long a connection may be idle between two requests. More than a balancer before the gateway keeps its
    connections: one that closes them no sooner, such as AWS's ALB after 60 s, may send a request on a connection that
    is just being closed, and answers 502.
    """
    drain_delay: DurationOrZero = 0.0
    """How long only `/readyz` fails after SIGTERM, before the drain begins."""
    drain_timeout: Duration = 30.0
    """How long running requests may take after that."""
    hang_timeout: Annotated[Duration, Field(ge=1)] = 30.0
    """After how long a silence a process counts as hung and is replaced."""
    forget_after: Annotated[
        Duration,
        Field(ge=1),
    ] = 1800.0
    """A worker remembers tokens that it has verified, paths, field lines and clients, to be faster or to count them.
    Each store is bounded, and what does not come back for this long is forgotten, except what limits still need:
    buckets that are not full, quotas of the current period.
    """


class RotateSettings(Section):
    """When the file of the access log is moved away: it becomes `FILE.1`, that before it `FILE.2`."""

    size: Annotated[Size, Field(ge=4096)] = 100 << 20
    """Bytes that it has at most."""
    keep: Annotated[Whole, Field(ge=1, le=1000)] = 5
    """How many of those before it are kept."""


class LogSettings(Section):
    """What is logged and where; `access` is stdout, stderr, off, syslog or the path of a file."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = "INFO"
    """The least important event that is logged; also thins out the access log."""
    format: Annotated[Literal["json", "text"], BeforeValidator(_lower)] = "json"
    """How both logs are written, the access log and events."""
    access: Annotated[
        str,
        BeforeValidator(_access, json_schema_input_type=str | bool),
        Field(min_length=1),
        AfterValidator(no_nul),
        AfterValidator(_syslog),
    ] = "stdout"
    """Where the access log goes: `stdout`, `stderr`, `off`, the path of a file, `syslog` (the one of this machine) or
    `syslog://host:port` (RFC 5424 by UDP).
    """
    rotate: RotateSettings | None = None
    """When a file is moved away by the gateway itself; only for a path, which one gateway alone writes to."""
    pending: Annotated[Size, Field(ge=1 << 16)] = MAX_PENDING
    """Bytes of the access log of each worker that may wait to be written, where a disk or a reader is slow. Lines that
    come then are dropped and counted.
    """
    fields: tuple[Annotated[str, AfterValidator(check_field)], ...] = ()
    """What the access log has beside its own fields: `user_agent`, `referer`, `query`, `protocol`, `header.NAME`,
    `claim.NAME`. Parameters whose names say that they are secret are masked; fields that prove who asks are refused.
    """
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share of exchanges without an error (status below 400, nothing refused or retried) that is logged, chosen at
    random; errors always are.
    """
    otlp: LogExport = None
    """Whether both logs are also sent to a collector of OpenTelemetry: `true` for that of `tracing`."""


class MetricsSettings(Section):
    """What `/metrics` counts beyond services and methods; each route and instance has some 20 lines there."""

    routes: bool = False
    """Whether requests are counted by route, with their durations."""
    instances: bool = False
    """Whether requests are counted by instance, with the time until it answered. Instances that are gone vanish."""
    otlp: MetricsExport = None
    """Whether all of them are also sent to a collector of OpenTelemetry: `true` for that of `tracing`."""


class CacheBounds(Section):
    """What all caches of the gateway may use together: bytes in the memory of each worker, bytes in Redis, and how long
    a request may wait for Redis to look for a stored response.
    """

    memory: Annotated[Size, Field(ge=1 << 20)] = 256 << 20
    """Bytes of stored responses in the memory of each worker: four workers may hold four times as much."""
    redis: Annotated[Size, Field(ge=1 << 20)] = 1 << 30
    """Bytes of stored responses in Redis, of all gateways that share it."""
    redis_timeout: Annotated[Duration, Field(ge=0.001, le=1)] = 0.01
    """How long a request may wait until Redis has looked for a stored response; then its service is asked."""


class HistorySettings(Section):
    """How much of the configuration's history is kept in `state_dir`: the newest two entries always are."""

    keep: Annotated[Whole, Field(ge=2, le=1000)] = 50
    """How many configurations that were in force are kept."""
    size: Annotated[Size, Field(ge=1 << 20)] = 16 << 20
    """Bytes of all of them together."""


class ProxyStatusSettings(Section):
    """What `Proxy-Status` says where a service could not answer (RFC 9209).

    `name` is the gateway's. With `next_hop` it names the instance that was asked, which clients otherwise do not see.
    """

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_visible)] = "portico"
    """What the gateway is called."""
    next_hop: bool = False
    """Whether it names the instance that was asked, which clients otherwise do not see."""


LISTENING: Final = ("host", "port", "tls", "proxy_protocol")
"""The keys that `listen` stands in place of."""


class GatewaySettings(Section):
    """The listening side and the process. `workers: auto` is one per core; port 0 picks a free one.

    `listen` names several addresses, in place of `host`, `port`, `tls` and `proxy_protocol`;
    `title` is what the front page at `/` says; `pass_headers` are fields of clients that services get although they
    belong to a gateway; `embedded_redis` says whether a Redis is started for several workers
    without a `redis_url`, or names the valkey-server or redis-server to start.
    """

    title: Annotated[str, Field(min_length=1, max_length=200)] = "Portico API Gateway"
    """The `message` on the page at `/`."""

    host: Host = "0.0.0.0"  # noqa: S104 - a gateway has to be reachable
    """Where to listen; `::` is IPv6 and IPv4."""
    port: Port = 8000
    """Where to listen; 0 picks a free port."""
    listen: Annotated[
        tuple[Annotated[ListenerSettings, written_as(dict, "{port: 8080}")], ...],
        written_as(list, "listen: [{port: 8080}]"),
        NotEmpty("write listen: [{port: 8080}], or leave it out"),
    ] = ()
    """Several addresses, in place of `host`, `port`, `tls` and `proxy_protocol`."""
    workers: Annotated[Whole, Field(ge=1, le=256)] | Literal["auto"] = 1
    """Processes that serve requests; `auto` is one per core."""
    admin: Annotated[str, AfterValidator(_address)] = "127.0.0.1:9000"
    """Where the admin API listens; port 0 picks a free one. An address that is not loopback demands
    `admin_token` or `admin_tokens`.
    """
    admin_token: Annotated[Secret, AfterValidator(_token)] = None
    """What the admin API asks for; without control characters, and white space at its ends. Good for everything."""
    admin_tokens: Annotated[
        tuple[AdminTokenSettings, ...],
        written_as(list, "admin_tokens: [{name: ada, token: '${ADA_TOKEN}', access: read}]"),
        NotEmpty("write admin_tokens: [{name: ada, token: '${ADA_TOKEN}', access: read}], or leave it out"),
    ] = ()
    """Tokens of the admin API that have a name, which the audit log says, and may be read-only: beside `admin_token`,
    or in place of it.
    """
    redis_url: Annotated[Secret, AfterValidator(_redis_url)] = None
    """The Redis or Valkey that workers and gateways share."""
    redis_timeout: Annotated[Duration, Field(ge=0.001, le=1)] = 0.02
    """How long a request may wait for Redis to check its limits; then their `fallback` holds."""
    embedded_redis: Annotated[bool | FilePath, BeforeValidator(_yes_no_or_path)] = True
    """Whether several workers without a `redis_url` are given one of their own, or which valkey-server or redis-server
    is started for them.
    """
    trusted_proxies: tuple[NetworkField, ...] = ()
    """Peers whose forwarded fields are trusted."""
    trusted_headers: Annotated[Literal["x-forwarded", "forwarded"], BeforeValidator(_lower)] = "x-forwarded"
    """By which fields they describe clients: `X-Forwarded-*`, or `Forwarded` (RFC 7239). The other kind is dropped: a
    proxy that sets one forwards a client's own in the other.
    """
    proxy_protocol: bool = False
    """Whether `trusted_proxies` begin each connection with a PROXY header."""
    proxy_status: Annotated[
        ProxyStatusSettings | None,
        BeforeValidator(_long_proxy_status, json_schema_input_type=bool | ProxyStatusSettings),
    ] = ProxyStatusSettings()
    """What `Proxy-Status` (RFC 9209) says where a service could not answer. On by default."""
    pass_headers: tuple[Annotated[HeaderName, AfterValidator(_passed_header)], ...] = ()
    """Fields of clients that services get although they belong to a gateway, exactly as spelt here."""
    tls: TlsField = None
    """Certificates; with it the port speaks HTTPS only."""
    endpoints: Annotated[EndpointSettings, NoneIsEmpty] = EndpointSettings()
    """Who gets the gateway's own paths."""
    limits: Annotated[LimitSettings, NoneIsEmpty] = LimitSettings()
    """What clients may use, and how long everything may take."""
    log: Annotated[LogSettings, NoneIsEmpty] = LogSettings()
    """What is logged, and where."""
    metrics: Annotated[MetricsSettings, NoneIsEmpty] = MetricsSettings()
    """What is counted beyond services and methods."""
    tracing: Tracing = None
    """Whether exchanges have spans, and where these go; `true` for a collector on this machine."""
    cache: Annotated[CacheBounds, NoneIsEmpty] = CacheBounds()
    """What all caches use together."""
    history: Annotated[HistorySettings, NoneIsEmpty] = HistorySettings()
    """How much is kept of the history of this file: what was in force, and who brought it in."""
    state_dir: Annotated[
        FilePath | None,
        Field(),
    ] = None
    """Where what has to outlast a restart is kept: the steps of canaries, API keys, certificates that were ordered, who
    is signed in, which tokens are revoked, keys of tokens, the last known documents of services, and the history of
    this file, with the secrets that stand in it. It is made where it is not there.
    """
    allow_sample_secret_key: Annotated[bool, Field()] = False
    """Whether a key may be used that stands in documentation to be copied, such as `SECRET_KEY=your-secret-key-here`,
    which is refused outside `portico demo`. One that is too short for its algorithm is refused all the same.
    """
    access_token_expire_minutes: Annotated[Whole, Field(ge=1, le=525_600)] = 30
    """How long the tokens live that `/auth/token` issues."""
    tokens: Annotated[TokenSettings, NoneIsEmpty] = TokenSettings()
    """The tokens that the gateway issues, and the keys that sign them."""
    kubernetes: Annotated[ApiServerSettings, NoneIsEmpty] = ApiServerSettings()
    """The API server of Kubernetes for services with `discover: kubernetes`."""

    @property
    def listeners(self) -> tuple[ListenerSettings, ...]:
        """Those of `listen`, or the one address that `host`, `port`, `tls` and `proxy_protocol` say."""
        own = {key: getattr(self, key) for key in LISTENING}
        return self.listen or (ListenerSettings.model_construct(name="", **own),)

    def written_listeners(self) -> Iterator[tuple[KeyPath, ListenerSettings]]:
        """The same, each with where it is written."""
        for index, listener in enumerate(self.listeners):
            yield ("gateway", "listen", index) if self.listen else ("gateway",), listener

    @property
    def ordered_certificates(self) -> dict[str, AcmeSettings]:
        """The certificates that are ordered from authorities, by what they are kept under."""
        sections = [each.tls.acme for each in self.listeners if each.tls is not None and each.tls.acme is not None]
        return {acme.name: acme for acme in reversed(sections)}

    @property
    def metrics_export(self) -> MetricsExportSettings | None:
        """Where metrics are sent, if anywhere."""
        return None if self.metrics.otlp is None else like_tracing(self.metrics.otlp, self.tracing)

    @property
    def log_export(self) -> LogExportSettings | None:
        """Where logs are sent, if anywhere."""
        return None if self.log.otlp is None else like_tracing(self.log.otlp, self.tracing)

    def endpoints_of(self, listener: ListenerSettings) -> EndpointSettings:
        """The endpoints that a listener has."""
        return ALL_OFF if listener.endpoints == "off" else self.endpoints

    @property
    def worker_count(self) -> int:
        """How many workers that is on this machine."""
        if self.workers != "auto":
            return self.workers
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @property
    def admin_address(self) -> tuple[str, int]:
        """Host and port of the admin API."""
        return split_address(self.admin)

    @property
    def admin_callers(self) -> Callers:
        """The tokens of the admin API; none: programs on this machine need none."""
        return callers_of(self.admin_token, self.admin_tokens)

    def finds_caller(self, token: bytes) -> bool:
        """Whether it is a token of the admin API."""
        return find_caller(self.admin_callers, token) is not None

    @property
    def own_admin_token(self) -> str | None:
        """What the commands show that read this configuration: the token that may do most."""
        order = sorted(self.admin_callers, key=lambda each: not each[1].can_write)
        return order[0][0].decode() if order else None

    @property
    def admin_is_local(self) -> bool:
        """Whether only this machine can reach the admin API."""
        return is_loopback(self.admin_address[0])
