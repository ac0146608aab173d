"""HAProxy that only passes on, and with policies."""

from __future__ import annotations

from benchmarks.certificate import certificate
from benchmarks.peer import (
    BULK,
    COMPRESS,
    DUTIES_OF_POLICIES,
    DUTIES_OF_TOKENS,
    PARTS,
    PLAIN,
    POLICIES,
    ROUTES,
    TLS,
    TOKENS,
    WEBSOCKET,
    Duty,
    Peer,
)
from benchmarks.peers import haproxy_policies
from benchmarks.request import SECRET, TENANT
from benchmarks.tokens import public_pem
from support.haproxy import command, version
from support.site import Site

_CONFIGURATION = """\
global
    nbthread {workers}
    maxconn 8000
{tuning}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 600s
    timeout http-keep-alive 60s
    http-reuse always
frontend gateway
    bind 127.0.0.1:{port}{bind}
{routing}
    default_backend service
backend service
    server one 127.0.0.1:{backend} pool-max-conn 128
"""
_HOOK = """\
core.register_action("mark", {{"http-req"}}, function(txn) txn.http:req_set_header("X-Tenant", "{tenant}") end)
"""
_TOKENS = """\
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    acl shared var(txn.token),jwt_verify("HS256","{secret}") -m int 1
    acl public var(txn.token),jwt_verify("RS256","{key}") -m int 1
    acl lasting var(txn.exp),sub(txn.now) -m int gt 0
    http-request return status 401 hdr WWW-Authenticate Bearer unless shared lasting or public lasting
    http-request set-header X-Consumer-Username %[var(txn.token),jwt_payload_query('$.sub')]
    http-request set-header X-Consumer-Scopes %[var(txn.token),jwt_payload_query('$.scope')]
"""


def _plain(site: Site) -> list[str]:
    return _command(site)


def _bulk(site: Site) -> list[str]:
    return _command(site, tuning="    tune.bufsize 65536")


def _routes(site: Site) -> list[str]:
    routes = site.write("routes.map", "".join(f"/api/bench{n}/ service\n" for n in range(site.routes)))
    return _command(site, routing=f"    use_backend %[path,map_beg({routes},service)]")


def _marking(site: Site) -> list[str]:
    return _command(site, routing=f"    http-request set-header X-Tenant {TENANT}")


def _hook(site: Site) -> list[str]:
    script = site.write("hook.lua", _HOOK.format(tenant=TENANT))
    return _command(site, tuning=f"    lua-load {script}", routing="    http-request lua.mark")


def _tokens(site: Site) -> list[str]:
    key = site.write("key.pem", public_pem("RS256").decode())
    return _command(site, routing=_TOKENS.format(secret=SECRET, key=key))


def _compressing(site: Site) -> list[str]:
    rules = "    compression algo gzip\n    compression type application/json"
    return _command(site, tuning="    tune.bufsize 65536", routing=rules)


def _tls(site: Site) -> list[str]:
    return _command(site, bind=f" ssl crt {certificate(site)}")


def _command(site: Site, tuning: str = "", bind: str = "", routing: str = "") -> list[str]:
    text = _CONFIGURATION.format(
        port=site.port, backend=site.backend, workers=site.workers, tuning=tuning, bind=bind, routing=routing
    )
    return command(site, text)


_INSTALL = "apt install haproxy"
PEERS = (
    Peer(
        "haproxy",
        POLICIES,
        version,
        _INSTALL,
        haproxy_policies.configure,
        duties=DUTIES_OF_POLICIES,
        access_log="access.log",
    ),
    Peer("haproxy", COMPRESS, version, _INSTALL, _compressing, duties=frozenset({Duty.REUSE, Duty.COMPRESS})),
    Peer("haproxy", TOKENS, version, _INSTALL, _tokens, duties=DUTIES_OF_TOKENS),
    *(
        Peer(name, PARTS, version, _INSTALL, configure, duties=frozenset({Duty.REUSE, Duty.MARK}))
        for name, configure in (("haproxy, header rule", _marking), ("haproxy, hook", _hook))
    ),
    *(
        Peer("haproxy", stack, version, _INSTALL, configure)
        for stack, configure in (
            (PLAIN, _plain),
            (PARTS, _plain),
            (BULK, _bulk),
            (ROUTES, _routes),
            (TLS, _tls),
            (WEBSOCKET, _plain),
        )
    ),
)
