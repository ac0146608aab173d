"""The gateway itself: where it listens, what it accepts, what it logs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from portico.config.directories import ApiServerSettings
from portico.config.endpoints import ALL_OFF, EndpointSettings
from portico.config.listen import Host, ListenerSettings, Port, TlsField, is_loopback, listening_host
from portico.config.problems import KeyPath
from portico.config.section import FilePath, NoneIsEmpty, Secret, Section, Whole, is_word, no_nul, written_as
from portico.config.tokens import TokenSettings
from portico.core.fields import REQUEST_DROP, plain_name
from portico.core.networks import NetworkField
from portico.core.settings import Duration, DurationOrZero, HeaderName, NotEmpty, Size, plain_secret
from portico.net.redis.connection import check_url


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


def check_token(token: str) -> str:
    """The token itself. Raises ValueError for one that no `Authorization: Bearer` can carry; it is not repeated."""
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", token) or token != token.strip():
        raise ValueError("holds control characters, or white space at an end, which no header field can carry")
    return token


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

    header_size: Annotated[Size, Field(ge=1024, le=1 << 20, description="Bytes of all header lines together.")] = (
        32 << 10
    )
    header_count: Annotated[Whole, Field(ge=10, le=10_000)] = 100
    url_length: Annotated[Size, Field(ge=256, le=1 << 20)] = 16 << 10
    body_size: Annotated[Size, Field(description="Bytes of a request body; 0 allows none.")] = 10 << 20
    body_rate: Annotated[Size, Field(description="Bytes a second that a body must make on average; 0: any.")] = 0
    connections: Annotated[Whole, Field(ge=1, le=1_000_000, description="Open client connections per worker.")] = 10_000
    connections_per_client: Annotated[
        Whole, Field(ge=0, le=1_000_000, description="Of them from one address, trusted proxies aside; 0: any number.")
    ] = 0
    requests: Annotated[Whole, Field(ge=1, le=1_000_000, description="Requests in flight per worker.")] | None = None
    lag: Annotated[DurationOrZero, Field(description="How late the event loop may be; 0: any.")] = 0.2
    header_timeout: Duration = 10.0
    body_timeout: Annotated[Duration, Field(description="The longest pause between two pieces of a body.")] = 30.0
    idle_timeout: Annotated[Duration, Field(description="How long a connection may be idle between requests.")] = 75.0
    drain_delay: Annotated[DurationOrZero, Field(description="How long only /readyz fails after SIGTERM.")] = 0.0
    drain_timeout: Annotated[Duration, Field(description="How long running requests may take after that.")] = 30.0
    hang_timeout: Annotated[
        Duration, Field(ge=1, description="How long a process may give no heartbeat before it is replaced.")
    ] = 30.0
    forget_after: Annotated[
        Duration,
        Field(ge=1, description="How long a worker remembers clients, tokens and paths that do not come back."),
    ] = 1800.0


class LogSettings(Section):
    """What is logged and where; `access` is stdout, stderr, off or the path of a file."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = "INFO"
    format: Annotated[Literal["json", "text"], BeforeValidator(_lower)] = "json"
    access: Annotated[
        str,
        BeforeValidator(_access, json_schema_input_type=str | bool),
        Field(min_length=1),
        AfterValidator(no_nul),
    ] = "stdout"


class CacheBounds(Section):
    """What all caches of the gateway may use together: bytes in the memory of each worker, bytes in Redis, and how long
    a request may wait for Redis to look for a stored response.
    """

    memory: Annotated[Size, Field(ge=1 << 20, description="Bytes in the memory of each worker.")] = 256 << 20
    redis: Annotated[Size, Field(ge=1 << 20, description="Bytes in Redis, of all gateways together.")] = 1 << 30
    redis_timeout: Annotated[
        Duration, Field(ge=0.001, le=1, description="How long a request may wait for Redis to look for a response.")
    ] = 0.01


class ProxyStatusSettings(Section):
    """What `Proxy-Status` says where a service could not answer (RFC 9209).

    `name` is the gateway's. With `next_hop` it names the instance that was asked, which clients otherwise do not see.
    """

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_visible)] = "portico"
    next_hop: bool = False


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

    host: Host = "0.0.0.0"  # noqa: S104 - a gateway has to be reachable
    port: Port = 8000
    listen: Annotated[
        tuple[Annotated[ListenerSettings, written_as(dict, "{port: 8080}")], ...],
        written_as(list, "listen: [{port: 8080}]"),
        NotEmpty("write listen: [{port: 8080}], or leave it out"),
    ] = ()
    workers: Annotated[Whole, Field(ge=1, le=256)] | Literal["auto"] = 1
    admin: Annotated[str, AfterValidator(_address)] = "127.0.0.1:9000"
    admin_token: Annotated[Secret, AfterValidator(_token)] = None
    redis_url: Annotated[Secret, AfterValidator(_redis_url)] = None
    redis_timeout: Annotated[
        Duration, Field(ge=0.001, le=1, description="How long a request may wait for Redis to check its limits.")
    ] = 0.02
    embedded_redis: Annotated[bool | FilePath, BeforeValidator(_yes_no_or_path)] = True
    trusted_proxies: tuple[NetworkField, ...] = ()
    trusted_headers: Annotated[Literal["x-forwarded", "forwarded"], BeforeValidator(_lower)] = "x-forwarded"
    proxy_protocol: bool = False
    proxy_status: Annotated[
        ProxyStatusSettings | None,
        BeforeValidator(_long_proxy_status, json_schema_input_type=bool | ProxyStatusSettings),
    ] = ProxyStatusSettings()
    pass_headers: tuple[Annotated[HeaderName, AfterValidator(_passed_header)], ...] = ()
    tls: TlsField = None
    endpoints: Annotated[EndpointSettings, NoneIsEmpty] = EndpointSettings()
    limits: Annotated[LimitSettings, NoneIsEmpty] = LimitSettings()
    log: Annotated[LogSettings, NoneIsEmpty] = LogSettings()
    cache: Annotated[CacheBounds, NoneIsEmpty] = CacheBounds()
    state_dir: Annotated[
        FilePath | None,
        Field(description="Where what has to outlast a restart is kept: the steps of canaries, and who is signed in."),
    ] = None
    allow_sample_secret_key: Annotated[
        bool, Field(description="Whether tokens may be signed with a key that stands in documentation.")
    ] = False
    access_token_expire_minutes: Annotated[Whole, Field(ge=1, le=525_600)] = 30
    tokens: Annotated[TokenSettings, NoneIsEmpty] = TokenSettings()
    kubernetes: Annotated[ApiServerSettings, NoneIsEmpty] = ApiServerSettings()

    @property
    def listeners(self) -> tuple[ListenerSettings, ...]:
        """Those of `listen`, or the one address that `host`, `port`, `tls` and `proxy_protocol` say."""
        own = {key: getattr(self, key) for key in LISTENING}
        return self.listen or (ListenerSettings.model_construct(name="", **own),)

    def written_listeners(self) -> Iterator[tuple[KeyPath, ListenerSettings]]:
        """The same, each with where it is written."""
        for index, listener in enumerate(self.listeners):
            yield ("gateway", "listen", index) if self.listen else ("gateway",), listener

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
    def admin_is_local(self) -> bool:
        """Whether only this machine can reach the admin API."""
        return is_loopback(self.admin_address[0])
