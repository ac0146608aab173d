"""nginx.conf as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from portico.config import Config
from portico.config.problems import KeyPath
from portico.render.losses import Losses, Rendering
from portico.render.nginx.compression import compressing
from portico.render.nginx.fields import marks_of, told_lines
from portico.render.nginx.keys import TABLE, WITH_LUA
from portico.render.nginx.lua import HTTP, MAIN, Lua
from portico.render.nginx.names import Names
from portico.render.nginx.pages import variables
from portico.render.nginx.proxies import proxies
from portico.render.nginx.servers import server_blocks
from portico.render.nginx.text import block, comment, pattern, word
from portico.render.otherwise import Otherwise, concerning, head
from portico.render.written import unsaid

_OTHERWISE: Final[Otherwise] = (
    (
        "",
        "errors give no reason, detail and instance, but for those that Lua gives; nginx has own pages for what it"
        " cannot read (400, 408, 414)",
    ),
    (
        "",
        "there are no RateLimit, Server-Timing and Age fields, no /metrics, /docs and /openapi.json; /health knows"
        " nothing of services",
    ),
    ("", "TRACE gets 405 for 501, OPTIONS * and methods with small letters get 400"),
    (
        "",
        "two slashes are one where paths are compared: //x is refused with 400 where a route for /x sends it on, and"
        " answered by one that answers itself",
    ),
    ("", "an encoded slash (%2F) is one where paths are compared: /users/a%2Fb is not taken by ~ ^/users/[^/]+$"),
    (
        "",
        "a path that services may read as another one (;, a backslash, %25 and two digits, a space or a control"
        " character at the end of a segment) is refused with 400 where that may lead around a guard, whether it does or"
        " not, and nowhere else",
    ),
    ("prefix", "a percent-encoded letter in a prefix that is taken off (/%61pi for /api) is refused with 400"),
    ("pattern", "a percent-encoded letter that a pattern asks for is refused with 400 where that leads to a service"),
    (
        "service",
        "instances are not checked; one that is down is asked until a request to it fails, and one that is"
        " alone is not asked again",
    ),
    ("service", "one timeout (proxy_read_timeout) is for the head, for pauses in the body and for WebSockets"),
    (
        "service",
        "of a field in headers.request.set, a service gets one line; clients' fields with an underscore in"
        " their name are dropped",
    ),
    (
        "service",
        "of fields by which clients could pose as a proxy or a user (X-Auth-Request-*, X-Remote-*), those in"
        " use are dropped by their names, and not all that begin so",
    ),
    ("prefix", "redirects of a service that name an instance by its address are not rewritten"),
    ("prefix", "browsers at a bare prefix are redirected to its slash before anything is checked"),
    ("fields", "of a field that comes twice, on which a route depends, the first line counts; Portico answers 400"),
    ("", "Authorization that comes twice is refused with 400"),
    (
        "deny",
        "deny compares paths decoded and with doubled slashes made one; a service gets that line alone of a field"
        " that deny looks at",
    ),
    ("redirect", "what a pattern captured stands in the query of a redirect as it is, where Portico encodes & and +"),
    (
        "cache",
        "a cache answers nobody who has credentials or a cookie that is not in its key, stores nothing with"
        " Set-Cookie or CDN-Cache-Control, has no heuristic for responses that say nothing, and a POST empties nothing",
    ),
    ("forward", "of several cookies of a service that decides who may come in, the first is the client's"),
    (
        "mirror",
        "a copy of a request is made once all of its body is there, and the next request on a connection waits for it",
    ),
    ("auth", "a claim that a token has twice is no reason to refuse it: the last one counts"),
    ("rate_limit", "limits count IPv6 clients by their address, not by their /64"),
)
_LOG = (
    '{"timestamp":"$time_iso8601","client_ip":"$remote_addr","method":"$request_method","path":"$path",'
    '"status":$status,"bytes":$body_bytes_sent,"seconds":$request_time,"upstream":"$upstream_addr",'
    '"request_id":"$request_id"}'
)
_USED = (
    *("path", "query", "rest", "prefix", "service_host", "connection_field", "switch_to", "span", "unclear", "dollar"),
    *("wants_page", "vary_by_page", "portico", "wait", "bare", "nothing", "retry_after", "cache", "chosen_first"),
    *("title", "problem", "is_trusted", "usual_port", "port_of_scheme"),
    *("told_scheme", "told_host", "told_prefix", "told_port", "told_for"),
    *("consumer", "scopes", "kept_query"),
)
"""Names that no map, zone or upstream may have."""


def render_nginx(config: Config, *, lua: bool = False) -> Rendering:
    """`nginx.conf` for this configuration; with `lua` a program beside it checks what nginx cannot."""
    losses = Losses(config)
    names = Names(config, losses, Lua(config) if lua else None)
    for name in _USED:
        names.free(name)
    for path, why in unsaid(config.written, WITH_LUA if lua else TABLE):
        if not _is_the_one_timeout(config.written, path):
            losses.add(path, why)
    names.base = marks_of(names, config.own_policies, None).whole()
    servers = list(server_blocks(names))
    otherwise = concerning(config, _OTHERWISE)
    lines = [
        comment("Written by portico render nginx: change portico.yaml instead."),
        "#",
        *map(comment, head("nginx", otherwise)),
        "",
        *_main(names),
        "worker_processes auto;" if config.gateway.workers == "auto" else f"worker_processes {config.gateway.workers};",
        *block("events", [f"worker_connections {config.gateway.limits.connections};"]),
        "",
        *block("http", _http(names, servers)),
    ]
    more = names.lua.files() if names.lua is not None else {}
    return Rendering({"nginx.conf": "\n".join(lines) + "\n", **more}, losses.all(), otherwise=otherwise)


def _is_the_one_timeout(written: Mapping[str, Any], path: KeyPath) -> bool:
    """Whether it is a time between pieces that is also that for the head: nginx has one for both."""
    if path[-2:] != ("timeout", "idle"):
        return False
    timeout: Any = written
    for part in path[:-1]:
        timeout = timeout[part]
    return bool(timeout["idle"] == timeout.get("response"))


def _main(names: Names) -> Iterator[str]:
    if names.lua is not None:
        yield from (*MAIN, *names.lua.environment(), "")


def _http(names: Names, servers: list[list[str]]) -> Iterator[str]:
    config = names.config
    yield from _settings(config)
    yield ""
    yield from _variables()
    yield ""
    yield from variables(config)
    if names.lua is not None:
        yield from ("", *HTTP)
    for lines in names.blocks.values():
        yield from ("", *lines)
    if names.zones:
        yield ""
        yield comment("Limits")
        yield from names.zones.values()
        yield "limit_req_status 429;"
    for lines in names.upstreams.values():
        yield from ("", *lines)
    yield ""
    if "compress" in config.own_policies:
        yield from compressing(names, config.own_policies, ("policies", "compress"))
        yield ""
    yield comment("What services are told")
    yield from told_lines(config)
    yield ""
    yield comment("What all responses have")
    yield from names.base
    for lines in servers:
        yield from ("", *lines)


def _settings(config: Config) -> Iterator[str]:
    limits, log = config.gateway.limits, config.gateway.log
    yield "server_tokens off;"
    yield "absolute_redirect off;"
    yield "recursive_error_pages on;"
    if len(config.all_routes) > 200:
        yield "variables_hash_max_size 65536;"
        yield "map_hash_max_size 65536;"
    yield "variables_hash_bucket_size 256;"
    yield "map_hash_bucket_size 256;"
    yield "server_names_hash_max_size 65536;"
    yield "server_names_hash_bucket_size 256;"
    yield "proxy_headers_hash_max_size 2048;"
    yield "proxy_headers_hash_bucket_size 256;"
    yield "large_client_header_buffers 4 32k;"
    yield f"client_max_body_size {max(limits.body_size, 1)};"
    yield f"client_header_timeout {limits.header_timeout:g}s;"
    yield f"client_body_timeout {limits.body_timeout:g}s;"
    yield f"send_timeout {limits.body_timeout:g}s;"
    yield f"keepalive_timeout {limits.idle_timeout:g}s;"
    yield ""
    yield comment("Bodies stream both ways, and no response of a service steers nginx.")
    yield "proxy_http_version 1.1;"
    yield "proxy_request_buffering off;"
    yield "proxy_buffering off;"
    yield "proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;"
    yield "proxy_pass_header Server;"
    yield "proxy_pass_header Date;"
    yield "proxy_connect_timeout 5s;"
    yield "proxy_read_timeout 30s;"
    yield "proxy_next_upstream error;"
    yield "proxy_next_upstream_tries 3;"
    yield from proxies(config)
    yield ""
    if log.access == "off":
        yield "access_log off;"
    else:
        yield f"log_format portico escape=json '{_LOG}';"
        path = {"stdout": "/dev/stdout", "stderr": "/dev/stderr"}.get(log.access, log.access)
        yield f"access_log {word(path)} portico;"


def _variables() -> Iterator[str]:
    yield comment("A dollar sign: nginx has no other way to write one.")
    yield 'geo $dollar { default "$"; }'
    yield 'geo $nothing { default ""; }'
    yield ""
    yield comment("Path and query as they were sent; paths with dot segments are refused.")
    yield f"map $request_uri $path {{ {pattern('~^(?<sent_path>[^?#]*)')} $sent_path; }}"
    yield f'map $request_uri $query {{ {pattern("~^[^?]*(?<sent_query>[?].*)$")} $sent_query; default ""; }}'
    slash = r"(?:/|\\|%2f|%5c)"
    dots = rf"~*^[^?]*{slash}(?:\.|%2e){{1,2}}(?:;|%3b|{slash}|\?|$)"
    yield f'map $request_uri $unclear {{ {pattern(dots)} 1; {pattern("~[^!-~]|#")} 1; default ""; }}'
    yield ""
    yield comment("What locations set. A server cannot begin with it: subrequests would begin anew.")
    yield "map $http_host $service_host { default $http_host; }"
    yield from (f'map "" ${name} {{ default ""; }}' for name in ("prefix", "wait", "bare"))
    yield ""
    yield comment("WebSockets are the one protocol to which clients may switch.")
    yield f'map $http_upgrade $switch_to {{ {pattern("~*^websocket$")} websocket; default ""; }}'
    yield 'map $switch_to $connection_field { websocket upgrade; default ""; }'
    yield ""
    yield comment("The second half of a request's id is its span (W3C Trace Context).")
    yield f"map $request_id $span {{ {pattern('~^.{16}(?<own_span>.{16})$')} $own_span; }}"
    yield ""
    yield comment("Browsers at a prefix are redirected to the slash behind it: a location says whether that may be.")
    page = pattern(r"~*^1:(?:GET|HEAD):\s*(?:text/html|application/xhtml\+xml)")
    yield f'map "$bare:$request_method:$http_accept" $wants_page {{ {page} 1; default ""; }}'
    yield f'map "$bare:$request_method" $vary_by_page {{ {pattern("~^1:(GET|HEAD)$")} Accept; default ""; }}'
    yield ""
    yield comment("When to come again, where nginx itself refuses: a location says for which status, and how long.")
    waits = pattern(r"~^(\d+):\1 (?<seconds>\d+):$")
    yield f'map "$status:$wait:$upstream_status" $retry_after {{ {waits} $seconds; default ""; }}'
