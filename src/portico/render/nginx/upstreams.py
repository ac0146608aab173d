"""Services as `upstream` blocks, and what a location says of one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from portico.config import ConsistentHashSettings, CookieKey, HeaderKey, ResolvedRoute, Upstream
from portico.config.problems import KeyPath
from portico.config.services import preserved
from portico.policies.auth.acceptance import InQuery
from portico.render.nginx.names import Names
from portico.render.nginx.proxies import scheme_and_host
from portico.render.nginx.text import block, comment, mixed, of_request, pattern, word

SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""Where most systems have the certificates of the authorities that they trust; nginx does not look for them."""
_WORD = re.compile(r"\w+", re.ASCII)
_CAUSES = {"connect": "error", "reset": "error", "timeout": "timeout"}


def upstream_of(names: Names, route: ResolvedRoute) -> Upstream:
    """The service of a route, or the version of it."""
    return names.service(str(route.service), route.version)


def source_of(route: ResolvedRoute) -> KeyPath:
    """Where the service of a route is written."""
    return ("services", str(route.service))


def group(names: Names, service: str, version: str | None) -> str:
    """The name of the `upstream` with the instances of a service, or of a version, which is written once."""
    upstream = names.service(service, version)
    if upstream.shared:
        version = None
    name, is_new = names.once(("upstream", service, version), "_".join(filter(None, (service, version))))
    if is_new:
        label = f"service {service}" + (f", version {version}" if version else "")
        lines = [*_instances(names, ("services", service), upstream, _sticky_key(names, service, version, upstream))]
        names.upstreams[name] = [comment(label), *block(f"upstream {name}", lines)]
    return name


def _instances(names: Names, at: KeyPath, upstream: Upstream, sticky: str) -> Iterator[str]:
    method = [f"hash {sticky} consistent;"] if sticky else _balancing(names, at, upstream)
    yield from method
    backups = [each for each in upstream.instances if each.backup]
    if backups and method and not method[0].startswith("least_conn"):
        names.losses.add((*at, "load_balancing"), "nginx has no backup beside this way to balance")
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


def _balancing(names: Names, at: KeyPath, upstream: Upstream) -> list[str]:
    chosen = upstream.load_balancing
    if isinstance(chosen, ConsistentHashSettings):
        key = chosen.consistent_hash
        if isinstance(key, HeaderKey):
            return [f"hash {of_request(key.header)} consistent;"]
        if isinstance(key, CookieKey):
            return [f"hash $cookie_{key.cookie} consistent;"] if _WORD.fullmatch(key.cookie) else []
        return ["hash $remote_addr consistent;"]
    if chosen == "least_connections":
        return ["least_conn;"]
    if chosen == "power_of_two":
        return ["random two least_conn;"]
    if chosen == "random":
        return ["random;"]
    if chosen != "round_robin":
        names.losses.add((*at, "load_balancing"), "nginx has no such way to balance")
    return []


# ---- clients that stay with an instance


def _cookie_of(names: Names, service: str, version: str | None, upstream: Upstream) -> str:
    """The cookie by which clients stay with an instance; empty where nginx cannot do it."""
    sticky = upstream.sticky
    if sticky is None or sticky.cookie is None:
        return ""
    cookie = "_".join(filter(None, ("portico", service, version))) if sticky.cookie == "auto" else sticky.cookie
    if not _WORD.fullmatch(cookie):
        why = "nginx has no variable for a cookie of this name: no client stays with an instance"
        names.losses.add(("services", service, "sticky"), why)
        return ""
    return cookie


def _sticky_key(names: Names, service: str, version: str | None, upstream: Upstream) -> str:
    """The variable by which an instance is chosen: the client's cookie or, until it has one, what it is given."""
    cookie = _cookie_of(names, service, version, upstream)
    if not cookie:
        return ""
    return names.map(f"stays_by_{cookie}", f"$cookie_{cookie}", ['"" $request_id;', f"default $cookie_{cookie};"])


def sticky_cookie(names: Names, route: ResolvedRoute) -> str:
    """The variable with the cookie that clients without one are given; empty where they are given none."""
    upstream = upstream_of(names, route)
    version = None if upstream.shared else route.version
    cookie = _cookie_of(names, str(route.service), version, upstream)
    if not cookie or upstream.sticky is None:
        return ""
    age = "" if upstream.sticky.max_age is None else f"; Max-Age={int(upstream.sticky.max_age)}"
    secure = names.map("secure", scheme_and_host(names.config).partition(":")[0], ['https "; Secure";', 'default "";'])
    value = f"{cookie}=$request_id; Path=/; HttpOnly; SameSite=Lax{age}{secure}"
    # A response that caches may store is not for one client; nobody should stay with an instance that fails.
    source = f"$cookie_{cookie}:$upstream_status:$upstream_http_cache_control"
    shared = pattern("~*^:[^:]*:(?!.*(?:private|no-store)).*(?:public|max-?age)")
    answered = pattern("~^:(?:[^:]*[ ,])?[1-4]..:")
    lines = [f'{shared} "";', f'{answered} "{value}";', 'default "";']
    return names.map(f"given_{cookie}", f'"{source}"', lines)


def forwarding(names: Names, route: ResolvedRoute, path: str) -> Iterator[str]:
    """The lines that send a request on, to `path` (in nginx's variables) and with its query."""
    upstream = upstream_of(names, route)
    if not upstream.instances:
        yield "return 503;"
        return
    key = (route.service, route.version, route.preserve_host, id(route.timeouts), id(route.retry))
    if key not in names.forwarding:  # routes to one service mostly say the same of it
        names.forwarding[key] = [*_about(names, route, upstream)]
    yield from names.forwarding[key]
    scheme = "https" if "https" in _schemes(upstream) else "http"
    yield f"proxy_pass {mixed(f'{scheme}://{group(names, str(route.service), route.version)}{path}')};"


def query_sent(names: Names, route: ResolvedRoute) -> str:
    """The variable with the query that goes on: credentials in it do not."""
    settings, _ = route.policies.get("auth", (None, ""))
    if names.lua is None or settings is None:
        return "$query"
    of_tokens = settings.jwt is not None and any(isinstance(each, InQuery) for each in settings.jwt.from_)
    return "$kept_query" if settings.withheld_parameters or of_tokens else "$query"


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
        yield from tls_lines(upstream)
    yield from _times(route)
    yield from _retries(route)


def _host(names: Names, route: ResolvedRoute, upstream: Upstream) -> Iterator[str]:
    own = {"" if preserved(route.preserve_host, each) else each.authority for each in upstream.instances}
    if len(own) > 1:
        names.losses.add((*source_of(route), "instances"), "nginx sends the same Host to all of them: the first one's")
    first = upstream.instances[0]
    if not preserved(route.preserve_host, first):
        yield f"set $service_host {word(first.authority)};"


def tls_lines(upstream: Upstream) -> Iterator[str]:
    """How the certificates of a service are checked."""
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
