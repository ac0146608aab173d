"""haproxy.cfg as a whole, and the files beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.config import Config
from portico.render.haproxy.answers import error_lines
from portico.render.haproxy.frontends import Frontends
from portico.render.haproxy.keys import TABLE
from portico.render.haproxy.names import Names
from portico.render.haproxy.routes import route_section
from portico.render.haproxy.servers import seconds
from portico.render.haproxy.text import comment, section
from portico.render.haproxy.tokens import SECRETS
from portico.render.losses import Losses, Rendering
from portico.render.otherwise import Otherwise, concerning, head
from portico.render.written import unsaid

_OTHERWISE: Final[Otherwise] = (
    (
        "",
        "there are no RateLimit, Server-Timing and Cache-Status fields, no /metrics, /docs and /openapi.json; /health"
        " knows nothing of services",
    ),
    ("service", "a service that cannot be reached gets 503, for 502"),
    ("service", "one timeout (timeout server) is for the head and for pauses in the body"),
    ("service", "a body in chunks is measured where it may have less than 48 KiB, and a longer one is not cut off"),
    ("prefix", "Link and Refresh of a service are not rewritten"),
    (
        "auth",
        "keys that portico keys made and tokens that were revoked are not known; of a list in a token 8 entries"
        " count; names and scopes beyond Latin-1 that it writes with escapes are not told to services",
    ),
    ("fields", "of a field that comes twice, on which a route depends, any line counts; Portico answers 400"),
    ("query", "a parameter that comes twice, which a pattern is compared with, is refused with 400 though both fit"),
    (
        "pattern",
        "what a pattern captured is sent without needless percent-encoding, and stands in the query of a"
        " redirect as it is",
    ),
    ("pattern", "a pattern may take PCRE much longer than it takes here, where it has repeats within repeats"),
    (
        "",
        "a path that services may read as one of another route is refused with 400 also where that route takes not"
        " this method",
    ),
    ("rate_limit", "two threads may admit one request more than a bucket has"),
    ("cache", "a cache answers GET alone, nobody with Cookie or Authorization, and stores status 200 alone"),
)
_LOG: Final = (
    '{"timestamp":"%[date,utime(%Y-%m-%dT%H:%M:%SZ)]","client_ip":"%[src]","method":"%HM",'
    '"path":"%[var(txn.path),json(utf8s)]","status":%ST,"bytes":%B,"ms":%Ta,"route":"%b","upstream":"%si:%sp",'
    '"request_id":"%ID"}'
)


def render_haproxy(config: Config) -> Rendering:
    """`haproxy.cfg` and its maps for this configuration."""
    losses = Losses(config)
    names = Names(config, losses)
    for path, why in unsaid(config.written, TABLE):
        losses.add(path, why)
    if config.gateway.log.access not in ("stdout", "stderr", "off"):
        losses.add(("gateway", "log", "access"), "HAProxy logs to stdout, stderr and sockets, and to no file")
    frontends = Frontends(names)
    own_sections = [*frontends.sections()]
    routes = [route_section(names, route, name) for name, route in frontends.targets.items()]
    own = [section(f"backend {name}", lines) for name, lines in frontends.own.items()]
    otherwise = concerning(config, _OTHERWISE)
    lines = [
        comment("Written by portico render haproxy: change portico.yaml instead."),
        "#",
        *map(comment, head("HAProxy", otherwise)),
        "",
        *section("global", _global(config)),
        "",
        *section("defaults", _defaults(config)),
    ]
    if any(" resolvers system " in line for lines in routes for line in lines):
        own_sections.append(section("resolvers system", ["parse-resolv-conf", "hold valid 10s"]))
    for block in (*own_sections, *routes, *own, *names.tables.values()):
        lines += ["", *block]
    files = {"haproxy.cfg": "\n".join(lines) + "\n", **names.files}
    return Rendering(files, losses.all(), frozenset({SECRETS} & files.keys()), otherwise)


def _global(config: Config) -> Iterator[str]:
    limits, log = config.gateway.limits, config.gateway.log
    yield comment(
        "Files are looked for beside this one. Paths are compared normalised, which HAProxy calls experimental."
    )
    yield "default-path config"
    yield "expose-experimental-directives"
    yield f"maxconn {limits.connections}"
    yield "no strict-limits"  # else it would not start where the system allows less
    yield "tune.bufsize 65536"
    yield f"tune.http.maxhdr {max(limits.header_count, 101)}"
    yield "ssl-load-extra-del-ext"
    if config.gateway.workers != "auto":
        yield f"nbthread {config.gateway.workers}"
    if log.access in ("stdout", "stderr"):
        yield f"log {log.access} len 8192 format raw local0"


def _defaults(config: Config) -> Iterator[str]:
    limits = config.gateway.limits
    yield "mode http"
    if config.gateway.log.access in ("stdout", "stderr"):
        yield "log global"
        yield f"log-format '{_LOG}'"
    yield "unique-id-format %[uuid,regsub(-,,g)]"
    yield f"timeout http-request {seconds(limits.header_timeout)}"
    yield f"timeout client {seconds(limits.body_timeout)}"
    yield f"timeout http-keep-alive {seconds(limits.idle_timeout)}"
    yield "timeout connect 5s"
    yield "timeout server 30s"
    yield "timeout tunnel 10m"
    yield "timeout queue 30s"
    yield "retries 2"
    yield "option redispatch 1"
    yield from error_lines()
