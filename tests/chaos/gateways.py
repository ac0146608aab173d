"""What stands between the load and the instances: Portico, a peer in its place, or two of Portico and a balancer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from portico.net.redis.server import find_server
from support import haproxy as haproxy_parts
from support import nginx as nginx_parts
from support.instance_process import InstanceProcess
from support.proc import children
from support.process import free_port
from support.redis_process import RedisProcess, SlowWay
from support.server import Server, at
from support.site import Site, program
from support.waiting import until
from support.world import Gateway

from .configs import config_of, merged
from .redis_pair import RedisPair, redis_pair

HA: Final = Path(__file__).parents[2] / "deploy" / "ha"

# Both peers with the time-outs, the workers and the number of tries that Portico is given in `configs`, and their other
# defaults; what are workers to Portico and nginx are threads to HAProxy.
# HAProxy repeats no POST, and marks down who gives five errors in a row; nginx knows no checks of its own.
# Where Portico has a bound on requests under way, they have the same, and refuse at once, too.
_NGINX: Final = """\
    access_log off;
    map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
    map $status $retry_after {{ default ''; 503 1; }}
    limit_conn_zone $server_port zone=gateway:1m;
    upstream chaos {{
{servers}
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /livez {{ return 200; }}
        location = /readyz {{ return 200; }}
        location / {{
            {bound}
            proxy_pass http://chaos;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_field;
            proxy_connect_timeout 1s;
            proxy_read_timeout 2s;
            proxy_buffering off;
        }}
    }}
"""
_NGINX_BOUND: Final = "limit_conn gateway {}; limit_conn_status 503; add_header Retry-After $retry_after always;"
_HAPROXY: Final = """\
global
    nbthread {workers}
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 2s
    timeout tunnel 60s
    retries 2
    option redispatch 1
    retry-on conn-failure empty-response response-timeout
frontend gateway
    bind 127.0.0.1:{port}
    http-request return status 200 if {{ path /livez /readyz }}
    http-after-response set-header Retry-After 1 if {{ status 503 }}
    {bound}
    default_backend chaos
backend chaos
    http-request disable-l7-retry if METH_POST
    option httpchk GET /health
    default-server check inter 1s fall 2 observe layer7 error-limit 5 on-error mark-down
{servers}
"""
_HAPROXY_BOUND: Final = "http-request deny deny_status 503 if {{ be_conn(chaos) ge {} }}"


@dataclass(frozen=True)
class CacheStore:
    """The Redis that a cache is kept in, and the way there."""

    server: RedisProcess
    way: SlowWay


@dataclass
class Subject:
    """What is played to: the ports that the load goes to, and the processes of Portico behind them.

    `workers` gives the ids of the processes that serve, where one gateway stands alone.
    """

    name: str
    ports: list[int]
    workers: Callable[[], Sequence[int]] = list
    gateways: list[Gateway] = field(default_factory=list)
    config: Mapping[str, Any] = field(default_factory=dict)
    redis: RedisPair | None = None
    mirror: InstanceProcess | None = None
    store: CacheStore | None = None

    @property
    def is_judged(self) -> bool:
        """Whether promises are made for it; others are there to compare with."""
        return bool(self.gateways)


Start = Callable[[str, Sequence[int]], AbstractContextManager[Subject]]
"""Starts a subject for a fault before the instances at these ports."""


@contextmanager
def portico(fault: str, instances: Sequence[int]) -> Iterator[Subject]:
    """One gateway."""
    config = config_of(fault, instances)
    with _gateway(config) as gateway:
        yield Subject("portico", [gateway.port], gateway.workers, [gateway], config)


@contextmanager
def portico_with_redis(fault: str, instances: Sequence[int]) -> Iterator[Subject]:
    """One gateway, that knows its instances from Redis."""
    with redis_pair(instances) as pair:
        config = merged(config_of(fault, instances), {"gateway": {"redis_url": pair.url}})
        del config["services"]["chaos"]["instances"]
        config["services"]["chaos"]["discover"] = "redis"
        with _gateway(config) as gateway:
            until(lambda: gateway.get("/small/ready").status == 200, "an instance has registered")
            yield Subject("portico with redis", [gateway.port], gateway.workers, [gateway], config, pair)


@contextmanager
def portico_caching_in_redis(fault: str, instances: Sequence[int]) -> Iterator[Subject]:
    """One gateway, that keeps its cache in Redis."""
    with RedisProcess() as server, SlowWay(server.port) as way:
        cached = {"policies": {"cache": {"ttl": "1s", "store": "redis"}}}
        config = merged(
            config_of(fault, instances), {"gateway": {"redis_url": f"redis://127.0.0.1:{way.port}"}, **cached}
        )
        with _gateway(config) as gateway:
            store = CacheStore(server, way)
            yield Subject("portico, cache in redis", [gateway.port], gateway.workers, [gateway], config, store=store)


@contextmanager
def portico_mirroring(fault: str, instances: Sequence[int]) -> Iterator[Subject]:
    """One gateway, that sends copies of all requests to a service beside."""
    with InstanceProcess("mirror") as mirror:
        config = config_of(fault, instances)
        shadow = {**config["services"]["chaos"], "instances": [f"http://127.0.0.1:{mirror.port}"]}
        where = {"services": {"shadow": shadow}, "routes": [{"service": "chaos", "path": "/", "mirror": "shadow"}]}
        config = merged(config, where)
        with _gateway(config) as gateway:
            until(lambda: gateway.get("/small/ready").status == 200 and mirror.count(), "copies arrive")
            yield Subject("portico", [gateway.port], gateway.workers, [gateway], config, mirror=mirror)


@contextmanager
def two_porticos(fault: str, instances: Sequence[int]) -> Iterator[Subject]:
    """Two gateways; the load looks at their readiness itself."""
    config = config_of(fault, instances)
    with _gateway(config) as one, _gateway(config) as two:
        yield Subject("two porticos", [one.port, two.port], gateways=[one, two], config=config)


@contextmanager
def two_porticos_with_redis(fault: str, instances: Sequence[int]) -> Iterator[Subject]:
    """The same with one Redis, by which they know which keys and tokens are revoked."""
    with RedisProcess() as server:
        config = merged(config_of(fault, instances), {"gateway": {"redis_url": server.url}})
        with _gateway(config) as one, _gateway(config) as two:
            name, ports = "two porticos with redis", [one.port, two.port]
            yield Subject(name, ports, gateways=[one, two], config=config)


@contextmanager
def _gateway(config: Mapping[str, Any]) -> Iterator[Gateway]:
    """Ended in any state: what became of it is the fault's to judge."""
    gateway = Gateway(config, port=free_port())
    try:
        gateway.start()
        gateway.wait_for_control()
        yield gateway
    finally:
        gateway.end()


@contextmanager
def nginx(fault: str, instances: Sequence[int]) -> Iterator[Subject]:
    """nginx in Portico's place."""
    servers = "\n".join(f"        server 127.0.0.1:{port};" for port in instances)
    most = _bound(fault, instances)
    bound = _NGINX_BOUND.format(most) if most else ""
    with _site(_workers(fault, instances)) as site:
        command = nginx_parts.command(site, _NGINX.format(port=site.port, servers=servers, bound=bound))
        with _running(command, site) as master:
            yield Subject("nginx", [site.port], lambda: children(master.pid))


@contextmanager
def haproxy(fault: str, instances: Sequence[int]) -> Iterator[Subject]:
    """HAProxy in Portico's place."""
    servers = "\n".join(f"    server i{port} 127.0.0.1:{port}" for port in instances)
    most = _bound(fault, instances)
    bound = _HAPROXY_BOUND.format(most) if most else ""
    with _site(_workers(fault, instances)) as site:
        text = _HAPROXY.format(port=site.port, workers=site.workers, servers=servers, bound=bound)
        with _running(haproxy_parts.command(site, text), site) as process:
            yield Subject("haproxy", [site.port], lambda: [process.pid])


@contextmanager
def behind_haproxy(fault: str, instances: Sequence[int]) -> Iterator[Subject]:
    """Two gateways behind HAProxy as `deploy/ha` has it."""
    with _site(1) as site, _pair(fault, instances, "portico-behind-haproxy.yaml") as (one, two, config):
        where = {"HA_BIND": f"127.0.0.1:{site.port}", **_named("HA_GATEWAY_{}", "127.0.0.1:{}", (one, two))}
        settings = [f"{name}={value}" for name, value in where.items()]
        command = ["env", *settings, *haproxy_parts.run(str(HA / "haproxy.cfg"))]
        with _running(command, site, "/readyz"):
            yield Subject("behind haproxy", [site.port], gateways=[one, two], config=config)


@contextmanager
def behind_nginx(fault: str, instances: Sequence[int]) -> Iterator[Subject]:
    """Two gateways behind nginx as `deploy/ha` has it."""
    with (
        _site(2) as site,
        _pair(fault, instances, "portico-behind-nginx.yaml") as (one, two, config),
        _running(nginx_of_ha(site, [one.port, two.port]), site, "/readyz"),
    ):
        yield Subject("behind nginx", [site.port], gateways=[one, two], config=config)


def missing(start: Start) -> str:
    """The program that an arrangement needs and that is not installed; empty where there is none."""
    if "redis" in start.__name__ and find_server() is None:
        return "valkey-server"
    return next((name for name in ("nginx", "haproxy") if name in start.__name__ and not program(name)), "")


def nginx_of_ha(site: Site, gateways: Sequence[int]) -> list[str]:
    """The command that serves `deploy/ha/nginx.conf` before the gateways at these ports."""
    servers = [f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;\n" for port in gateways]
    site.write("portico-gateways.inc", "".join(servers))
    site.write("portico-listen.inc", f"listen 127.0.0.1:{site.port} backlog=4096;\n")
    return nginx_parts.command(site, f"    access_log off;\n    include {HA / 'nginx.conf'};")


@contextmanager
def _pair(fault: str, instances: Sequence[int], name: str) -> Iterator[tuple[Gateway, Gateway, Mapping[str, Any]]]:
    """Two gateways with the `gateway` section of a file of `deploy/ha`."""
    own = {"gateway": yaml.safe_load((HA / name).read_text())["gateway"]}
    config = merged(config_of(fault, instances), own)
    with ExitStack() as stack:
        env = {"HA_BALANCER": "127.0.0.1"}
        pair = [Gateway(config, env=env, port=free_port(), wait=False) for _ in range(2)]
        for gateway in pair:
            stack.callback(gateway.end)
            gateway.start()
        for gateway in pair:
            gateway.wait_until_ready(lambda gateway=gateway: len(gateway.workers()) == 2)  # type: ignore[misc]
        yield pair[0], pair[1], config


def _named(name: str, value: str, pair: Sequence[Gateway]) -> dict[str, str]:
    return {name.format(number): value.format(gateway.port) for number, gateway in enumerate(pair, 1)}


def _workers(fault: str, instances: Sequence[int]) -> int:
    """As many as Portico has for this fault."""
    workers: int = config_of(fault, instances)["gateway"]["workers"]
    return workers


def _bound(fault: str, instances: Sequence[int]) -> int | None:
    """How many requests Portico may have under way in this fault."""
    most: int | None = config_of(fault, instances)["gateway"]["limits"].get("requests")
    return most


@contextmanager
def _site(workers: int) -> Iterator[Site]:
    with TemporaryDirectory(prefix="portico-chaos-") as name:
        yield Site(free_port(), 0, Path(name), workers)


def _running(command: list[str], site: Site, path: str = "/small/ready") -> Server:
    """The process, ready once it passes requests on."""
    return at(site, command, path)
