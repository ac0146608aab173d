"""Names of header fields: which of them govern a message, end at a hop, or are written by the gateway."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import product
from typing import Final

REQUEST_RULES: Final = frozenset({b"connection", b"content-length", b"expect", b"transfer-encoding"})
"""Fields of a request that determine its framing or its connection."""
RESPONSE_RULES: Final = frozenset({b"connection", b"content-length", b"keep-alive", b"transfer-encoding"})
"""Fields of a response that determine the same."""

OF_ONE_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"expect"),
        *(b"proxy-authorization", b"proxy-authenticate"),
    }
)
"""Fields about one connection, of requests or responses: nobody but the gateway edits them."""
FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
"""Fields that follow from the body that is sent: the same holds for them."""
OF_HANDSHAKES: Final = frozenset({b"sec-websocket-key", b"sec-websocket-accept", b"sec-websocket-version"})
"""Fields by which both sides open a WebSocket (RFC 6455, section 4): they hold only as they were sent."""

END_TO_END: Final = frozenset(
    {
        *(b"host", b"authorization", b"cookie", b"content-length", b"content-type", b"content-encoding"),
        *(b"cache-control", b"forwarded", b"via", b"origin", b"expect", b"range", b"date", b"set-cookie"),
        *(b"location", b"etag", b"vary", b"traceparent", b"tracestate", b"x-request-id", b"x-real-ip"),
    }
)
"""Fields that `Connection` may not name: dropping them would change what the request means."""
END_TO_END_PREFIXES: Final = (
    *(b"x-forwarded-", b"x-consumer-", b"x-forwarded_", b"access-control-"),
    *(b"x-auth-request-", b"x-remote-", b"x-authenticated-", b"remote-"),
)


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

METHOD_OVERRIDES: Final = frozenset(
    spelling
    for name in ("x-http-method-override", "x-http-method", "x-method-override")
    for spelling in _spellings(name)
)
"""Fields of a request by which services take it for one with another method."""

OWN_FAMILY: Final = b"x-consumer-"
"""What every name of this beginning says is the gateway's own, also where a trusted proxy says it."""
_FAMILIES: Final = (OWN_FAMILY, b"x-forwarded-", b"x-auth-request-", b"x-remote-", b"x-authenticated-")
"""Beginnings of names under which gateways and authenticating proxies report the client or the user."""
_REPORTS: Final = frozenset(
    {
        *(b"remote-user", b"remote-name", b"remote-email", b"remote-group", b"remote-groups", b"x-webauth-user"),
        *(b"x-script-name", b"x-original-url", b"x-rewrite-url", b"x-vhm-root"),  # another path than was matched
        *(b"x-anonymous-consumer", b"x-credential-identifier", b"x-credential-username"),
        b"x-portico-mirror",  # services may take a request with it for one that is to change nothing
    }
)
"""Further names of that kind."""
_VARIABLES: Final = frozenset({b"proxy", b"script-name", b"path-info"})
"""What servers take for variables of CGI: HTTP_PROXY, through which many programs send their own requests (httpoxy),
and, in gunicorn, SCRIPT_NAME, which cuts the path that was matched here."""
_OTHER_JOINT: Final = re.compile(rb"[^0-9a-z]")
_REMEMBERED_NAMES: Final = 4096
_REMEMBERED_SIZE: Final = 128


def plain_name(name: bytes) -> bytes:
    """A lower-cased name with dashes for all that is no letter or digit.

    Servers that make variables of names, by CGI or WSGI, do not distinguish them.
    """
    return _OTHER_JOINT.sub(b"-", name)


def is_reported(name: bytes) -> bool:
    """Whether a field reports a client or user that only a trusted proxy may report; services get it from that."""
    plain = plain_name(name)
    return not is_owned(name) and (plain in _REPORTS or plain.startswith(_FAMILIES))


def is_owned(name: bytes) -> bool:
    """Whether the gateway writes a field itself, or no service should get it from anyone."""
    plain = plain_name(name)
    return plain in REQUEST_DROP or plain in _VARIABLES or plain.startswith(OWN_FAMILY)


class _Answers(dict[bytes, bool]):
    """Answers to a question about names, worked out once for each name; a lookup of one that is known is done in C."""

    def __init__(self, question: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._question = question

    def __missing__(self, name: bytes) -> bool:
        answer = self._question(name)
        if len(name) <= _REMEMBERED_SIZE:
            if len(self) >= _REMEMBERED_NAMES:
                self.clear()
            self[name] = answer
        return answer


class AsideError(Exception):
    """A field is among those of a request that is for the gateway alone: see `is_aside`."""


_ASIDE: Final = frozenset({b"x-portico-explain", b"x-portico-token"})


def is_aside(name: bytes) -> bool:
    """Whether a field is said to the gateway itself, and is no part of the request for anybody else."""
    return plain_name(name) in _ASIDE


def passing(allowed: Collection[bytes] = (), *, raises: bool = False) -> Callable[[bytes], bool]:
    """Which fields of a client go on to services, by lower-cased name; `allowed` ones do, whatever they report.

    With `raises` it raises AsideError for those that are said to the gateway itself: so requests without them, which
    are nearly all, pay nothing for it.
    """
    known = frozenset(allowed)

    def passes(name: bytes) -> bool:
        if raises and is_aside(name):
            raise AsideError
        return name in known or not (is_owned(name) or is_reported(name) or is_aside(name))

    return _Answers(passes).__getitem__


def passing_named(names: Sequence[str], *, raises: bool = False) -> Callable[[bytes], bool]:
    """The same for names as they are written, of which there are mostly none."""
    if not names:
        return PASSES_OR_RAISES if raises else PASSES
    return passing([name.lower().encode() for name in names], raises=raises)


def naming(names: Iterable[str]) -> Callable[[bytes], bool]:
    """Which fields have one of these names, in any spelling that servers do not distinguish; by lower-cased name."""
    plain = frozenset(plain_name(name.lower().encode()) for name in names)
    return _Answers(lambda name: plain_name(name) in plain).__getitem__


PASSES: Final = passing()
"""The same where none is allowed."""
PASSES_OR_RAISES: Final = passing(raises=True)
"""The same, of clients' requests as they are read."""
REPORTED: Final = _Answers(is_reported).__getitem__
"""`is_reported`, remembered."""

RESPONSE_DROP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        b"x-request-id",
    }
)
"""Fields of a response that end at this hop or that the gateway writes itself."""

REWRITTEN: Final = frozenset({b"location", b"content-location", b"refresh", b"link", b"set-cookie"})
"""Fields of a response that may name the service by an address or a path that its clients do not have."""
RESPONSE_NOTED: Final = RESPONSE_DROP | REWRITTEN
"""Fields of a response on which the gateway acts."""

FORBIDDEN_TRAILERS: Final = REQUEST_DROP | RESPONSE_DROP | END_TO_END
"""Fields that no trailer section may contain: routing, framing, identity and whatever is decided before content."""
