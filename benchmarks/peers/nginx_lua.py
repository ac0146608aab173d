"""nginx with Lua, the engine under Kong and APISIX: JWT, limit, counters and log, each in its cheapest form."""

from __future__ import annotations

from pathlib import Path

from benchmarks.nginx_parts import CACHE, FORWARDED, LOG
from benchmarks.peer import CACHED_POLICIES, POLICIES, Duty, Peer
from benchmarks.request import SECRET
from support.nginx import UPSTREAM, command, module, version
from support.site import Site

_SCRIPT = Path(__file__).with_suffix(".lua")
# All proxy_set_header stand in the http block: one in a location would drop those above it, Connection included.
# The limit is one that no request is ever refused at.
_HTTP = """\
    lua_package_path "/usr/share/lua/5.1/?.lua;;";
    lua_shared_dict counters 10m;
    init_by_lua_block {{
        gateway = assert(loadfile("{script}"))()
        gateway.use_secret("{secret}")
        gateway.use_limit(1000000000, 1000000000)
    }}
    proxy_set_header X-Consumer-Username $consumer;
    proxy_set_header X-Consumer-Scopes $scopes;
    proxy_set_header Forwarded "";
    proxy_set_header Via "1.1 nginx";
    proxy_set_header traceparent $traceparent;
    proxy_set_header tracestate "";
    server {{
        listen 127.0.0.1:{port};
        location /api/bench/ {{
            set $consumer "";
            set $scopes "";
            set $traceparent "";
            access_by_lua_block {{
                gateway.limit()
                gateway.authenticate()
                gateway.trace()
            }}
            header_filter_by_lua_block {{ gateway.show_times() }}
            log_by_lua_block {{ gateway.count() }}
            proxy_pass http://backend/;
        }}
        location = /counters {{ content_by_lua_block {{ gateway.report() }} }}
    }}
"""


def _configure(site: Site) -> list[str]:
    return _command(site, "null")


def _cached(site: Site) -> list[str]:
    return _command(site, '"$upstream_cache_status"', CACHE.format(directory=site.directory))


def _command(site: Site, cache: str, more: str = "") -> list[str]:
    script = site.write("gateway.lua", _SCRIPT.read_text())
    http = (UPSTREAM + FORWARDED + LOG + _HTTP).format(
        backend=site.backend, port=site.port, user="$consumer", cache=cache, script=script, secret=SECRET
    )
    paths = [module("ndk_http_module"), module("ngx_http_lua_module")]  # in this order: Lua's needs the kit
    return command(site, more + http, "\n".join(f"load_module {path};" for path in paths if path))


def _version() -> str | None:
    return version() if module("ngx_http_lua_module") else None


_INSTALL = "apt install nginx-light libnginx-mod-http-lua"
PEERS = (
    Peer(
        "nginx+lua",
        POLICIES,
        _version,
        _INSTALL,
        _configure,
        duties=frozenset(Duty) - {Duty.CACHE},
        access_log="access.log",
    ),
    Peer(
        "nginx+lua",
        CACHED_POLICIES,
        _version,
        _INSTALL,
        _cached,
        duties=frozenset(Duty),
        access_log="access.log",
    ),
)
