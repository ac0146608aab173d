"""Instances as servers: how requests are shared out among them, retried, checked and timed."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Final

from portico.config import ConsistentHashSettings, CookieKey, HeaderKey, InstanceSettings, ResolvedRoute, Upstream
from portico.config.problems import KeyPath
from portico.config.services import preserved
from portico.core.clients import parsed
from portico.core.hosts import is_internal
from portico.net.tls.certificates import Pair
from portico.render.haproxy.names import Names
from portico.render.haproxy.text import plain, word

_CAUSES: Final = {"connect": ["conn-failure"], "reset": ["empty-response"], "timeout": ["response-timeout"]}
_STATUSES: Final = (401, 403, 404, 408, 425, 500, 501, 502, 503, 504)
"""Those for which HAProxy sends a request again."""
_LARGEST_WEIGHT: Final = 256


def upstream_of(names: Names, route: ResolvedRoute) -> Upstream:
    """The service of a route, or the version of it."""
    return names.service(str(route.service), route.version)


def source_of(route: ResolvedRoute) -> KeyPath:
    """Where the service of a route is written."""
    return ("services", str(route.service))


def forwarding(names: Names, route: ResolvedRoute, section: str) -> Iterator[str]:
    """The lines of a route about its service; `section` is the name of its section."""
    upstream = upstream_of(names, route)
    if not upstream.instances:
        return  # 503
    key = ("service", route.service, route.version, route.preserve_host, id(route.timeouts), id(route.retry))
    known = names.cache.get(key)
    if known is None:  # most routes to a service say the same of it
        names.cache[key] = known = [
            *_host(names, route, upstream),
            *_balancing(names, route, upstream),
            *_retries(names, route),
            *_times(route),
            *_sticking(names, route, upstream),
        ]
    yield from known
    yield from _servers(names, route, upstream, section)


def _host(names: Names, route: ResolvedRoute, upstream: Upstream) -> Iterator[str]:
    own = {"" if preserved(route.preserve_host, each) else each.authority for each in upstream.instances}
    if len(own) > 1:
        names.losses.add(
            (*source_of(route), "instances"), "HAProxy sends the same Host to all of them: the first one's"
        )
    first = upstream.instances[0]
    if not preserved(route.preserve_host, first):
        yield f"http-request set-header Host {word(plain(first.authority))}"


def _balancing(names: Names, route: ResolvedRoute, upstream: Upstream) -> Iterator[str]:
    if len(upstream.instances) == 1:
        return
    chosen = upstream.load_balancing
    if isinstance(chosen, ConsistentHashSettings):
        key = chosen.consistent_hash
        if isinstance(key, HeaderKey):
            yield f"balance hdr({key.header})"
        elif isinstance(key, CookieKey):
            yield f"balance hash req.cook({key.cookie})"
        else:
            yield "balance source"
        yield "hash-type consistent"
    elif chosen == "least_connections":
        yield "balance leastconn"
    elif chosen == "power_of_two":
        yield "balance random(2)"
    elif chosen == "random":
        yield "balance random(1)"
    elif chosen == "round_robin":
        yield "balance roundrobin"
    else:
        names.losses.add((*source_of(route), "load_balancing"), "HAProxy has no such way to balance")


def _retries(names: Names, route: ResolvedRoute) -> Iterator[str]:
    retry = route.retry
    causes: list[str] = []
    for cause in (*retry.on, *(["timeout"] if retry.per_try_timeout is not None else [])):
        if isinstance(cause, int) and cause not in _STATUSES:
            names.losses.add((*source_of(route), "retries", "on"), f"HAProxy sends nothing again for a {cause}")
        else:
            causes += _CAUSES.get(str(cause), [str(cause)])
    if retry.attempts == 0 or not causes:
        yield "retries 0"
        return
    if retry.attempts != 2:
        yield f"retries {retry.attempts}"
    yield f"retry-on {' '.join(dict.fromkeys(causes))}"
    if causes != ["conn-failure"]:
        yield f"http-request disable-l7-retry unless {{ method {' '.join(retry.methods)} }}"


def _times(route: ResolvedRoute) -> Iterator[str]:
    times = route.timeouts
    if times.connect != 5:
        yield f"timeout connect {seconds(times.connect)}"
    if times.response != 30:
        yield f"timeout server {seconds(times.response)}"
    if times.tunnel != 600:
        yield f"timeout tunnel {seconds(times.tunnel)}"


def _sticking(names: Names, route: ResolvedRoute, upstream: Upstream) -> Iterator[str]:
    sticky = upstream.sticky
    if sticky is None:
        return
    at = (*source_of(route), "sticky")
    if sticky.cookie is None:
        names.losses.add((*at, "issued"), "HAProxy keeps clients by a cookie of its own alone")
        return
    if sticky.max_age is not None:
        names.losses.add((*at, "max_age"), "HAProxy's cookie has no Max-Age: clients keep it until they end")
    name = f"portico_{route.service}" if sticky.cookie == "auto" else sticky.cookie
    yield f"cookie {name} insert indirect nocache httponly attr SameSite=Lax"


def _servers(names: Names, route: ResolvedRoute, upstream: Upstream, section: str) -> Iterator[str]:
    version = None if upstream.shared else route.version
    service = (str(route.service), version)
    checked = names.checked.setdefault(service, section)
    is_first = checked == section
    health = upstream.health
    if health is not None and is_first:
        yield from _checks(names, route, upstream)
    options = ["maxconn " + str(upstream.max_connections)] if upstream.max_connections else []
    if upstream.slow_start and len(upstream.instances) > 1:
        options.append(f"slowstart {seconds(upstream.slow_start)}")
    for index, each in enumerate(upstream.instances, 1):
        own = [*options, *_resolved(each), *_weight(names, route, each), *_tls(names, route, each, upstream)]
        if upstream.sticky is not None and upstream.sticky.cookie is not None:
            own.append(f"cookie i{index}")
        if health is not None:
            inter = f"inter {seconds(health.interval)} downinter {seconds(min(health.interval, 1))}"
            counts = f"fall {health.unhealthy_after} rise {health.healthy_after}"
            own += [f"check {inter} {counts}"] if is_first else [f"track {checked}/i{index}"]
        yield " ".join([f"server i{index}", word(_address(each)), *own])


def _checks(names: Names, route: ResolvedRoute, upstream: Upstream) -> Iterator[str]:
    health = upstream.health
    assert health is not None
    yield f"timeout check {seconds(health.timeout)}"
    if health.path is None:
        return
    hosts = {each.authority for each in upstream.instances}
    if len(hosts) > 1 and not all(is_internal(each.host) for each in upstream.instances):
        names.losses.add((*source_of(route), "health_check"), "HAProxy's checks have the same Host for all instances")
    yield "option httpchk"
    host = word(plain(upstream.instances[0].authority))
    yield f"http-check send meth GET uri {word(health.path)} ver HTTP/1.1 hdr Host {host}"
    ranges = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in health.expect)
    yield f"http-check expect status {ranges}"


def _resolved(instance: InstanceSettings) -> list[str]:
    """A name is looked up again and again; one that is not known at the start is no error."""
    is_address = parsed(instance.host) is not None or instance.socket
    return [] if is_address or instance.host == "localhost" else ["resolvers system init-addr libc,none"]


def _weight(names: Names, route: ResolvedRoute, instance: InstanceSettings) -> Iterator[str]:
    if instance.weight != 1:
        if instance.weight > _LARGEST_WEIGHT:
            names.losses.add((*source_of(route), "instances"), f"a server's weight is {_LARGEST_WEIGHT} at most")
        yield f"weight {min(instance.weight, _LARGEST_WEIGHT)}"
    if instance.backup:
        yield "backup"


def _tls(names: Names, route: ResolvedRoute, instance: InstanceSettings, upstream: Upstream) -> Iterator[str]:
    if instance.scheme != "https":
        return
    tls = upstream.tls
    name = tls.server_name or instance.host
    yield f"ssl sni str({name}) check-sni {name} alpn http/1.1"
    yield (
        f"verify required ca-file {word(str(tls.ca or '@system-ca'))} verifyhost {name}"
        if tls.verify
        else "verify none"
    )
    if tls.pair is not None:
        yield f"crt {word(str(tls.pair.certificate))}"
        key_is_found(names, tls.pair, (*source_of(route), "tls", "key"))


def key_is_found(names: Names, pair: Pair, at: KeyPath) -> None:
    """Whether HAProxy finds the key of a certificate: in its file, or in one beside it that is called alike."""
    certificate, key = pair.certificate, pair.key
    beside = certificate.with_suffix(".key") if certificate.suffix == ".crt" else Path(f"{certificate}.key")
    if key not in (certificate, beside):
        names.losses.add(at, f"HAProxy looks for the key in {certificate} itself, or in {beside}")


def _address(instance: InstanceSettings) -> str:
    if instance.socket:
        return f"unix@{instance.socket}"
    host = f"[{instance.host}]" if ":" in instance.host else instance.host
    return f"{host}:{instance.port}"


def seconds(number: float) -> str:
    """A time as HAProxy reads it."""
    return f"{number:g}s" if number == int(number) and number < 1e6 else f"{ceil(number * 1000)}ms"
