"""HAProxy with JWT, a limit, a JSON access log and the forwarded fields: what its own rules can do, without Lua."""

from __future__ import annotations

from benchmarks.request import SECRET
from support.haproxy import command
from support.site import Site

# It verifies a token each time: it has no memory of those that it has seen. The limit is one that no request is ever
# refused at.
_CONFIGURATION = """\
global
    nbthread {workers}
    maxconn 8000
    log stdout format raw daemon info
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    http-reuse always
    unique-id-format %[uuid()]
frontend gateway
    bind 127.0.0.1:{port}
    log global
    log-format '{log}'
    stick-table type ip size 100k expire 2m store http_req_rate(60s)
    http-request set-var(txn.path) path
    http-request track-sc0 src
    http-request set-var(txn.rate) sc_http_req_rate(0)
    http-request deny deny_status 429 if {{ var(txn.rate) -m int gt 1000000000 }}
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request set-var(txn.user) var(txn.token),jwt_payload_query('$.sub')
    acl verified var(txn.token),jwt_verify("HS256","{secret}") -m int 1
    acl lasting var(txn.exp),sub(txn.now) -m int gt 0
    http-request return status 401 hdr WWW-Authenticate Bearer unless verified lasting
    http-request set-path %[path,bytes(10)]
    http-request set-header X-Consumer-Username %[var(txn.user)]
    http-request set-header X-Consumer-Scopes %[var(txn.token),jwt_payload_query('$.scope')]
    http-request set-header X-Request-ID %[unique-id]
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-request set-header X-Forwarded-Port {port}
    http-request set-header X-Forwarded-Prefix /api/bench
    http-request del-header Forwarded
    http-response set-var(txn.left) int(1000000000),sub(txn.rate)
    http-response set-header RateLimit-Policy '"client_ip";q=1000000000;w=60'
    http-response set-header RateLimit '"client_ip";r=%[var(txn.left)];t=60'
    http-response set-header X-Request-ID %[unique-id]
    default_backend service
backend service
    server one 127.0.0.1:{backend} pool-max-conn 128
"""
_LOG = (
    '{"timestamp":"%tr","method":"%HM","path":"%[var(txn.path),json]","client_ip":"%ci","status_code":%ST,'
    '"duration_ms":%Ta,"request_id":"%ID","service":"%b","route":"%f","upstream":"%si:%sp","upstream_ms":%Tr,'
    '"bytes_in":%U,"bytes_out":%B,"attempts":1,"user":"%[var(txn.user),json]","reason":"%tsc"}'
)


def configure(site: Site) -> list[str]:
    """Its log is what it writes to the standard output, a line a request."""
    text = _CONFIGURATION.format(workers=site.workers, port=site.port, backend=site.backend, secret=SECRET, log=_LOG)
    return ["sh", "-c", 'exec "$@" > access.log', "sh", *command(site, text)]
