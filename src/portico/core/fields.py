"""Names of header fields: which of them govern a message, end at a hop, or are written by the gateway."""

from __future__ import annotations

from itertools import product
from typing import Final

REQUEST_RULES: Final = frozenset({b"connection", b"content-length", b"expect", b"transfer-encoding"})
"""Fields of a request that determine its framing or its connection."""
RESPONSE_RULES: Final = frozenset({b"connection", b"content-length", b"keep-alive", b"transfer-encoding"})
"""Fields of a response that determine the same."""

END_TO_END: Final = frozenset(
    {
        *(b"host", b"authorization", b"cookie", b"content-length", b"content-type", b"content-encoding"),
        *(b"cache-control", b"forwarded", b"via", b"origin", b"expect", b"range", b"date", b"set-cookie"),
        *(b"location", b"etag", b"vary", b"traceparent", b"tracestate", b"x-request-id", b"x-real-ip"),
    }
)
"""Fields that `Connection` may not name: dropping them would change what the request means."""
END_TO_END_PREFIXES: Final = (b"x-forwarded-", b"x-consumer-", b"x-forwarded_", b"access-control-")


def _spellings(name: str) -> set[bytes]:
    """`name` with each dash also as an underscore: CGI and WSGI servers take both for the same field."""
    parts = name.split("-")
    joints = product("-_", repeat=len(parts) - 1)
    return {"".join(a + b for a, b in zip(parts, (*joint, ""), strict=True)).encode() for joint in joints}


_IDENTITY: Final = (
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto"),
    *("x-forwarded-server", "x-forwarded-scheme", "x-forwarded-ssl", "x-forwarded-by", "x-real-ip", "forwarded"),
    *("x-request-id", "traceparent", "tracestate", "x-consumer-username", "x-consumer-scopes"),
    "x-consumer-identity",
    *("x-forwarded-client-cert", "client-cert", "client-cert-chain", "x-client-cert-dn"),
    *("x-ssl-client-cert", "x-ssl-client-s-dn", "x-ssl-client-verify"),
)
_HOP_BY_HOP: Final = (
    *("connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "transfer-encoding"),
    *("upgrade", "expect", "host", "content-length"),
)

REQUEST_DROP: Final = frozenset(spelling for name in (*_IDENTITY, *_HOP_BY_HOP) for spelling in _spellings(name))
"""Fields of a request that the gateway writes itself, or that end at this hop (RFC 9110, section 7.6.1)."""

RESPONSE_DROP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        b"x-request-id",
    }
)
"""Fields of a response that end at this hop or that the gateway writes itself."""

FORBIDDEN_TRAILERS: Final = REQUEST_DROP | RESPONSE_DROP | END_TO_END
"""Fields that no trailer section may contain: routing, framing, identity and whatever is decided before content."""
