"""Connections to Redis or Valkey by a URL: one server, Sentinel or Cluster, with TLS and passwords.

Stands alone: services that register themselves use it too. redis-py is loaded when a connection is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    import redis
    import redis.asyncio

_HEALTH_CHECK_INTERVAL: Final = 30
"""Seconds after which an idle connection is checked with PING before it is used."""
_SCHEMES: Final = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
"""The first part of a scheme, and whether it means TLS."""
_PORTS: Final = {"": 6379, "cluster": 6379, "sentinel": 26379}
"""The second part of a scheme, and the port of a host that names none."""
_TLS_OPTIONS: Final = ("ca", "certificate", "key")
_URL: Final = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:(?P<user>.*)@)?(?P<hosts>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>.*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>\d{1,5}))?")
_EXPECTED: Final = (
    "expected redis://, rediss://, redis+sentinel:// or redis+cluster:// and an address, or unix:// and a path"
)


@dataclass(frozen=True, slots=True)
class _Address:
    """What a URL says; `kind` is "" for one server, "unix", "sentinel" or "cluster"."""

    kind: str
    tls: bool
    hosts: list[tuple[str, int]]
    path: str = ""
    master: str = ""
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: dict[str, str] = field(default_factory=dict, repr=False)


def missing_library() -> str:
    """What to do where redis-py or hiredis, the parser of its replies, is not installed; "" where both are."""
    if find_spec("redis") and find_spec("hiredis"):
        return ""
    return "needs redis-py, which is not installed: pip install 'portico-gateway[redis]'"


def check_url(url: str) -> str:
    """The URL itself. Raises ValueError that says what is wrong; no message repeats parts of the URL."""
    _parse(url)
    return url


def tls_files(url: str) -> dict[str, str]:
    """The files that a URL names: `ca`, `certificate`, `key`."""
    return {name: file for name, file in _parse(url).options.items() if name in _TLS_OPTIONS}


def masked(url: str) -> str:
    """A URL that may be shown: user and passwords are `***`. Text that is not a URL is hidden as a whole."""
    match = re.match(r"[a-z+]+://", url)
    if match is None:
        return "***"
    # Greedy up to the last @: a password whose own @ or / is not percent-encoded stays hidden too.
    shown = re.sub(r"^.*@", "***@", url[match.end() :], flags=re.DOTALL)
    return match[0] + re.sub(r"(?i)([?&][^=&]*(?:pass|user)[^=&]*=)[^&]*", r"\1***", shown)


def connect(
    url: str, *, timeout: float, connections: int = 8, decode: bool = False
) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
    """A client for asyncio; nothing is connected before its first command.

    Waiting for one of the `connections` (of each node in a Cluster), connecting, and each reply take `timeout` seconds
    at most. Nothing is retried, except once where a server did not run a command since another one serves now, or a
    node left its Cluster: the caller knows what else may be repeated.
    With `decode` replies are text. A command may raise one of `failures()`. Close the client with `aclose()`.
    Raises ValueError as `check_url` does.
    """
    import redis.asyncio
    from redis.asyncio import sentinel
    from redis.asyncio.cluster import ClusterNode
    from redis.asyncio.retry import Retry

    from portico.net.redis.cluster import Cluster
    from portico.net.redis.sentinel import AsyncPool

    half = _Half(redis.asyncio, Cluster, ClusterNode, Retry, sentinel, AsyncPool)
    return _client(half, _parse(url), timeout, connections, decode)  # type: ignore[no-any-return]


def connect_sync(
    url: str, *, timeout: float, connections: int = 8, decode: bool = False
) -> redis.Redis | redis.RedisCluster:
    """The same for code that is not asynchronous; a Cluster's nodes are looked up now. Close it with `close()`."""
    import redis
    from redis import sentinel
    from redis.cluster import ClusterNode
    from redis.retry import Retry

    from portico.net.redis.sentinel import SyncPool

    half = _Half(redis, redis.RedisCluster, ClusterNode, Retry, sentinel, SyncPool)
    return _client(half, _parse(url), timeout, connections, decode)  # type: ignore[no-any-return]


def failures() -> tuple[type[Exception], ...]:
    """What a command may raise when Redis is down, too slow, or refuses: for `except`."""
    from redis.exceptions import RedisClusterException, RedisError

    return RedisError, RedisClusterException, OSError


def reason(error: BaseException) -> str:
    """One of the `failures()` in a few words."""
    text = str(error).partition(" : ")[0]  # after it, redis-py lists its own objects
    return text or type(error).__name__


class _Half(NamedTuple):
    """redis-py has everything twice: its asynchronous or its synchronous half."""

    library: Any
    cluster: Any
    cluster_node: Any
    retry: Any
    sentinel: Any
    sentinel_pool: Any


def _client(half: _Half, address: _Address, timeout: float, size: int, decode: bool) -> Any:
    from redis.backoff import NoBackoff

    from portico.net.redis.demoted import WrongServerError, dropping

    library = half.library
    retry = half.retry(NoBackoff(), 1, supported_errors=(WrongServerError,))
    common = {**_common(address, timeout), "retry": retry, "decode_responses": decode}
    if address.kind == "cluster":
        nodes = [half.cluster_node(host, port) for host, port in address.hosts]
        common |= {"retry": half.retry(NoBackoff(), 1), "max_connections": size, "ssl": address.tls}
        return half.cluster(startup_nodes=nodes, **common)
    connection = library.SSLConnection if address.tls else library.Connection
    if address.kind == "sentinel":
        return _to_master(half, address, common, connection, size, timeout)
    if address.kind == "unix":
        connection = library.UnixDomainSocketConnection
        target: dict[str, Any] = {"path": address.path}
    else:
        host, port = address.hosts[0]
        target = {"host": host, "port": port}
    pool = library.BlockingConnectionPool(size, timeout, dropping(connection), **target, **common)
    return library.Redis.from_pool(pool)


def _to_master(half: _Half, address: _Address, common: dict[str, Any], plain: Any, size: int, timeout: float) -> Any:
    from portico.net.redis.sentinel import following

    words = half.sentinel
    managed = words.SentinelManagedSSLConnection if address.tls else words.SentinelManagedConnection
    sentinels = half.library.Sentinel(address.hosts, sentinel_kwargs=_to_sentinels(address, common), **common)
    own = {"max_connections": size, "timeout": timeout, "connection_class": following(managed, plain)}
    return sentinels.master_for(address.master, connection_pool_class=half.sentinel_pool, **own)


def _common(address: _Address, timeout: float) -> dict[str, Any]:
    """What every connection is made with.

    RESP2, which every server understands, and no `CLIENT SETINFO`: connecting takes no round trip but AUTH and SELECT.
    Over TLS it has to have one: redis-py takes unread session tickets for a reply left over.
    """
    options = address.options
    tls = {
        "ssl_ca_certs": options.get("ca"),
        "ssl_certfile": options.get("certificate"),
        "ssl_keyfile": options.get("key"),
    }
    return {
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": _HEALTH_CHECK_INTERVAL,
        "protocol": 2,
        **({"db": address.db} if address.kind != "cluster" else {}),
        **(tls if address.tls else {"driver_info": None}),
    }


def _to_sentinels(address: _Address, common: dict[str, Any]) -> dict[str, Any]:
    """How Sentinels themselves are connected to: by the same TLS, with a password of their own."""
    password = address.options.get("sentinel_password")
    own = {"username": None, "password": password, "db": 0, "ssl": address.tls, "decode_responses": True}
    return {**common, **own}


def _parse(url: str) -> _Address:
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(_EXPECTED)
    base, _, kind = match["scheme"].partition("+")
    if match["scheme"] == "unix":
        kind, tls = "unix", False
    elif base in _SCHEMES and (kind in _PORTS and not match["scheme"].endswith("+")):
        tls = _SCHEMES[base]
    else:
        raise ValueError(_EXPECTED)
    username, password = _credentials(match["user"])
    options = _options(match["query"] or "", kind, tls)
    path = unquote(match["path"] or "")
    if kind == "unix":
        if match["hosts"] or path in ("", "/"):
            raise ValueError(
                "a unix:// URL holds an absolute path, so it begins with three slashes: unix:///run/redis.sock"
            )
        return _Address(kind, tls, [], path, "", _db(options.pop("db", "")), username, password, options)
    hosts = [_host(text, _PORTS[kind]) for text in match["hosts"].split(",")]
    if kind == "" and len(hosts) > 1:
        raise ValueError("several hosts need redis+sentinel:// or redis+cluster://")
    master, _, db = path[1:].partition("/") if kind == "sentinel" else ("", "", path[1:])
    if kind == "sentinel" and not master:
        raise ValueError("a Sentinel URL ends with the name of the master: redis+sentinel://host:26379/mymaster")
    if db and "db" in options:
        raise ValueError("the number of the database is given twice")
    number = _db(options.pop("db", "") or db)
    if kind == "cluster" and number:
        raise ValueError("a Cluster has no numbered databases")
    return _Address(kind, tls, hosts, "", master, number, username, password, options)


def _credentials(text: str | None) -> tuple[str | None, str | None]:
    """`user:password`, `:password` or `user`, percent-encoded."""
    if text is None:
        return None, None
    if "/" in text or "@" in text or "?" in text or "#" in text:
        raise ValueError("a user or password with @ / ? or # in it has to be percent-encoded: %40 %2F %3F %23")
    user, _, password = text.partition(":")
    return unquote(user) or None, unquote(password) or None


def _host(text: str, default_port: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if match is None or not 1 <= int(match["port"] or default_port) <= 65535:
        raise ValueError("expected host or host:port; an IPv6 address goes into brackets, several hosts between commas")
    return match["host"].strip("[]"), int(match["port"] or default_port)


def _options(query: str, kind: str, tls: bool) -> dict[str, str]:
    known = [
        *(["db"] if kind != "cluster" else []),
        *_TLS_OPTIONS,
        *(["sentinel_password"] if kind == "sentinel" else []),
    ]
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError("what follows the ? has to be name=value, with & between several") from None
    for name in options:
        if name not in known:
            raise ValueError(f"an unknown option follows the ?; known here: {', '.join(known)}")
        if name in _TLS_OPTIONS and not tls:
            raise ValueError(f"the option {name} needs TLS: write rediss instead of redis")
        if not options[name]:
            raise ValueError(f"the option {name} is empty")
    if "key" in options and "certificate" not in options:
        raise ValueError("the option key needs certificate beside it")
    return options


def _db(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"\d{1,5}", text):
        raise ValueError("the database is a number, as in redis://host/0")
    return int(text)
