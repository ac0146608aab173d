"""nginx with Lua, the engine under Kong and APISIX: JWT, limit, counters and log, each in its cheapest form."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from benchmarks.nginx_parts import CACHE, FORWARDED, LOG
from benchmarks.peer import CACHED_POLICIES, DUTIES_OF_POLICIES, DUTIES_OF_TOKENS, PARTS, POLICIES, TOKENS, Duty, Peer
from benchmarks.request import SECRET, TENANT
from benchmarks.tokens import PUBLIC, public_key
from support.nginx import NO_LOG, UPSTREAM, command, module, version
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
_TOKENS = """\
    lua_package_path "/usr/share/lua/5.1/?.lua;;";
    lua_shared_dict counters 1m;
    init_by_lua_block {{
        gateway = assert(loadfile("{script}"))()
        gateway.use_secret("{secret}")
        {keys}
    }}
    proxy_set_header X-Consumer-Username $consumer;
    proxy_set_header X-Consumer-Scopes $scopes;
    server {{
        listen 127.0.0.1:{port};
        location /api/bench/ {{
            set $consumer "";
            set $scopes "";
            access_by_lua_block {{ gateway.authenticate() }}
            proxy_pass http://backend/;
        }}
    }}
"""
_HOOK = """\
    server {{
        listen 127.0.0.1:{port};
        location /api/bench/ {{
            access_by_lua_block {{ ngx.req.set_header("X-Tenant", "{tenant}") }}
            proxy_pass http://backend/;
        }}
    }}
"""


def _configure(site: Site) -> list[str]:
    return _command(site, "null")


def _cached(site: Site) -> list[str]:
    return _command(site, '"$upstream_cache_status"', CACHE.format(directory=site.directory))


def _command(site: Site, cache: str, more: str = "") -> list[str]:
    http = (UPSTREAM + FORWARDED + LOG + _HTTP).format(
        backend=site.backend, port=site.port, user="$consumer", cache=cache, script=_script(site), secret=SECRET
    )
    return _with_lua(site, more + http)


def _tokens(site: Site) -> list[str]:
    keys = " ".join(f'gateway.use_key("{name}", "{b64encode(public_key(name)).decode()}")' for name in PUBLIC)
    http = (UPSTREAM + _TOKENS).format(
        backend=site.backend, port=site.port, script=_script(site), secret=SECRET, keys=keys
    )
    return _with_lua(site, NO_LOG + http)


def _hook(site: Site) -> list[str]:
    http = (UPSTREAM + _HOOK).format(backend=site.backend, port=site.port, tenant=TENANT)
    return _with_lua(site, NO_LOG + http)


def _script(site: Site) -> Path:
    return site.write("gateway.lua", _SCRIPT.read_text())


def _with_lua(site: Site, http: str) -> list[str]:
    paths = [module("ndk_http_module"), module("ngx_http_lua_module")]  # in this order: Lua's needs the kit
    return command(site, http, "\n".join(f"load_module {path};" for path in paths if path))


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
        duties=DUTIES_OF_POLICIES,
        access_log="access.log",
    ),
    Peer(
        "nginx+lua",
        CACHED_POLICIES,
        _version,
        _INSTALL,
        _cached,
        duties=DUTIES_OF_POLICIES | {Duty.CACHE},
        access_log="access.log",
    ),
    Peer(
        "nginx+lua",
        TOKENS,
        _version,
        _INSTALL,
        _tokens,
        duties=DUTIES_OF_TOKENS,
    ),
    Peer("nginx+lua, hook", PARTS, _version, _INSTALL, _hook, duties=frozenset({Duty.REUSE, Duty.MARK})),
)
