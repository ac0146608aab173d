"""What is looked at in every request, whatever its route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.config import Config
from portico.render.haproxy.answers import not_implemented, too_long
from portico.render.haproxy.text import comment, found_in, word

_SLASH: Final = r"(?:/|\\|%2f|%5c)"
_UNCLEAR: Final = rf"(?i){_SLASH}(?:\.|%2e){{1,2}}(?:;|%3b|{_SLASH}|$)|%00|%(?![0-9a-f]{{2}})|#"
"""Paths that services may read in several ways."""
_PAGE: Final = r"(?i)^\s*(?:text/html|application/xhtml\+xml)"
"""What browsers ask for first when they go to a page."""
_HOPS: Final = 4
"""Proxies in front, one behind the other."""
_HOST: Final = r"req.fhdr(host),host_only,lower,regsub(\.$,)"


def request_lines(config: Config) -> Iterator[str]:
    """The lines that keep what is needed of a request, and refuse one that is not clear."""
    limits = config.gateway.limits
    yield "http-request return status 204 if METH_OPTIONS { url * }"
    yield "http-request deny deny_status 400 if { url * }"
    yield "http-request set-uri %[pathq] if { url -m beg http:// https:// }"
    yield not_implemented("METH_TRACE")
    yield too_long(f"{{ pathq,length gt {limits.url_length} }}")
    yield f"http-request deny deny_status 400 if {found_in('path', _UNCLEAR)}"
    yield "http-request set-var(txn.path) path"
    yield "http-request set-var(txn.query) pathq,regsub(^[^?]*,)"
    yield "http-request normalize-uri percent-to-uppercase strict"
    yield "http-request normalize-uri percent-decode-unreserved strict"
    yield "http-request set-var(txn.at) path"
    yield "http-request set-pathq %[var(txn.path)]%[var(txn.query)]"
    yield "http-request set-var(txn.host_field) req.fhdr(host)"
    yield f"http-request set-var(txn.host) {word(_HOST)}"
    yield f"http-request set-var(txn.page) bool(true) if {found_in('req.fhdr(Accept)', _PAGE)}"
    yield "http-request set-var(txn.unavailable) str(no_healthy_upstream)"
    yield "http-request set-var(txn.scheme) str(http)"
    yield "http-request set-var(txn.scheme) str(https) if { ssl_fc }"


def proxy_lines(config: Config) -> Iterator[str]:
    """The lines that believe proxies in front whose requests they bring."""
    networks = " ".join(map(str, config.gateway.trusted_proxies))
    if not networks:
        return
    yield ""
    yield comment("Proxies in front, which say whose requests they bring.")
    for hop in range(1, _HOPS + 1):
        field = f"req.hdr_ip(x-forwarded-for,-{hop})"
        yield f"http-request set-src {field} if {{ src {networks} }} {{ {field} -m found }}"
