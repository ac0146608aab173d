"""Services as `upstream` blocks, and what a location says of one."""

from __future__ import annotations

from collections.abc import Iterator

from portico.config import ConsistentHashSettings, CookieKey, HeaderKey, ResolvedRoute, Upstream
from portico.config.problems import KeyPath
from portico.config.services import preserved
from portico.render.nginx.names import Names
from portico.render.nginx.text import block, comment, mixed, word

SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""Where most systems have the certificates of the authorities that they trust; nginx does not look for them."""
_CAUSES = {"connect": "error", "reset": "error", "timeout": "timeout"}


def upstream_of(names: Names, route: ResolvedRoute) -> Upstream:
    """The service of a route, or the version of it."""
    return names.service(str(route.service), route.version)


def source_of(route: ResolvedRoute) -> KeyPath:
    """Where the service of a route is written."""
    return ("services", str(route.service))


def group(names: Names, route: ResolvedRoute, upstream: Upstream) -> str:
    """The name of the `upstream` with a service's instances, which is written once."""
    version = None if upstream.shared else route.version
    name, is_new = names.once(("upstream", route.service, version), "_".join(filter(None, (route.service, version))))
    if is_new:
        label = f"service {route.service}" + (f", version {version}" if version else "")
        names.upstreams[name] = [comment(label), *block(f"upstream {name}", _instances(names, route, upstream))]
    return name


def _instances(names: Names, route: ResolvedRoute, upstream: Upstream) -> Iterator[str]:
    method = _balancing(names, route, upstream)
    yield from method
    backups = [each for each in upstream.instances if each.backup]
    if backups and method and not method[0].startswith("least_conn"):
        names.losses.add((*source_of(route), "load_balancing"), "nginx has no backup beside this way to balance")
        backups = []
    for each in upstream.instances:
        options = [f"weight={each.weight}"] if each.weight > 1 else []
        options += ["down"] if each.weight == 0 else []
        options += ["backup"] if each in backups else []
        address = f"unix:{each.socket}" if each.socket else _address(each.host, each.port)
        # One failure is no outage: without this, nginx leaves an instance alone for 10 s after it.
        yield " ".join(["server", word(address), *options, "max_fails=0;"])
    yield "keepalive 64;"
    yield f"keepalive_timeout {_seconds(upstream.idle_connection_timeout)};"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _balancing(names: Names, route: ResolvedRoute, upstream: Upstream) -> list[str]:
    chosen, at = upstream.load_balancing, (*source_of(route), "load_balancing")
    if isinstance(chosen, ConsistentHashSettings):
        key = chosen.consistent_hash
        if isinstance(key, HeaderKey):
            return [f"hash $http_{key.header.lower().replace('-', '_')} consistent;"]
        if isinstance(key, CookieKey):
            return [f"hash $cookie_{key.cookie} consistent;"] if key.cookie.replace("_", "").isalnum() else []
        return ["hash $remote_addr consistent;"]
    if chosen == "least_connections":
        return ["least_conn;"]
    if chosen == "power_of_two":
        return ["random two least_conn;"]
    if chosen == "random":
        return ["random;"]
    if chosen != "round_robin":
        names.losses.add(at, "nginx has no such way to balance")
    return []


def forwarding(names: Names, route: ResolvedRoute, path: str) -> Iterator[str]:
    """The lines that send a request on, to `path` (with nginx's variables) and with its query."""
    upstream = upstream_of(names, route)
    if not upstream.instances:
        yield "return 503;"
        return
    key = (route.service, route.version, route.preserve_host, id(route.timeouts), id(route.retry))
    if key not in names.forwarding:  # routes to one service mostly say the same of it
        names.forwarding[key] = [*_about(names, route, upstream)]
    yield from names.forwarding[key]
    scheme = "https" if "https" in _schemes(upstream) else "http"
    yield f"proxy_pass {mixed(f'{scheme}://{group(names, route, upstream)}{path}$query')};"


def _schemes(upstream: Upstream) -> set[str]:
    return {each.scheme.replace("unix", "http") for each in upstream.instances}


def _about(names: Names, route: ResolvedRoute, upstream: Upstream) -> Iterator[str]:
    """What is said of a service in a location."""
    schemes = _schemes(upstream)
    if len(schemes) > 1:
        at = (*source_of(route), "instances")
        names.losses.add(at, "nginx speaks either http or https to all instances; this is https")
    yield from _host(names, route, upstream)
    if "https" in schemes:
        yield from _tls(upstream)
    yield from _times(route)
    yield from _retries(route)


def _host(names: Names, route: ResolvedRoute, upstream: Upstream) -> Iterator[str]:
    own = {"" if preserved(route.preserve_host, each) else each.authority for each in upstream.instances}
    if len(own) > 1:
        names.losses.add((*source_of(route), "instances"), "nginx sends the same Host to all of them: the first one's")
    first = upstream.instances[0]
    if not preserved(route.preserve_host, first):
        yield f"set $service_host {word(first.authority)};"


def _tls(upstream: Upstream) -> Iterator[str]:
    tls = upstream.tls
    yield "proxy_ssl_server_name on;"
    yield f"proxy_ssl_name {word(tls.server_name or upstream.instances[0].host)};"
    if tls.verify:
        yield "proxy_ssl_verify on;"
        yield "proxy_ssl_verify_depth 5;"
        yield f"proxy_ssl_trusted_certificate {word(str(tls.ca or SYSTEM_AUTHORITIES))};"
    if tls.certificate is not None and tls.key is not None:
        yield f"proxy_ssl_certificate {word(str(tls.certificate))};"
        yield f"proxy_ssl_certificate_key {word(str(tls.key))};"


def _times(route: ResolvedRoute) -> Iterator[str]:
    times = route.timeouts
    if times.connect != 5:
        yield f"proxy_connect_timeout {_seconds(times.connect)};"
    if times.response != 30:
        yield f"proxy_read_timeout {_seconds(times.response)};"


def _retries(route: ResolvedRoute) -> Iterator[str]:
    retry = route.retry
    causes = dict.fromkeys(_CAUSES.get(str(cause), f"http_{cause}") for cause in retry.on)
    if retry.per_try_timeout is not None:
        causes["timeout"] = None
    if retry.attempts == 0 or not causes:
        yield "proxy_next_upstream off;"
        return
    if list(causes) != ["error"]:
        yield f"proxy_next_upstream {' '.join(causes)};"
    if retry.attempts != 2:
        yield f"proxy_next_upstream_tries {retry.attempts + 1};"


def _seconds(seconds: float) -> str:
    return f"{seconds:g}s" if seconds == int(seconds) else f"{round(seconds * 1000)}ms"
