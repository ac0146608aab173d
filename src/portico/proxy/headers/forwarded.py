"""The client's identity, and what a service is sent about it: X-Forwarded-*, X-Real-IP, Via.

Only a peer inside `trusted_proxies` is believed. The forwarded fields of all other peers are dropped, so that no
client can choose the address that limits and logs see.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from portico.core.caches import remembered
from portico.core.clients import parsed
from portico.core.exchange import Client
from portico.core.messages import Fields, RequestHead
from portico.core.trace_context import trace_context
from portico.proxy.headers.client_certificate import certificate_line
from portico.proxy.headers.forwarded_field import element_text, parse_forwarded

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_Judged: TypeAlias = "tuple[str, bool] | None"

VIA: Final = b"Via: 1.1 portico"
"""RFC 9110, section 7.6.3."""

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_NODE: Final = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,64}")
_PREFIX: Final = re.compile(rb"(?:/(?!\.\.?(?:/|$))(?:[A-Za-z0-9._~:@+-]|%[2-9A-Fa-f][0-9A-Fa-f])+)+")
"""Without dot segments, and without control characters in any form."""
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_SCHEMES: Final = {b"http": b"http", b"https": b"https", b"ws": b"http", b"wss": b"https"}
"""The scheme of HTTP beneath each (RFC 6455, section 3)."""
_USUAL_PORTS: Final = {b"http": b"80", b"https": b"443"}
_LAST_PORT: Final = 65535


def passed_trailers(lines: Sequence[bytes], allowed: frozenset[bytes]) -> list[bytes]:
    """Those field lines of a trailer section that a route allows."""
    return [line for line in lines if line.partition(b":")[0].lower() in allowed]


def announced_trailers(fields: Fields, allowed: frozenset[bytes]) -> list[bytes]:
    """The `Trailer` line for those announced fields that a route allows, if there are any."""
    names = [name for name in fields.tokens(b"trailer") if name in allowed]
    return [b"Trailer: " + b", ".join(names)] if names else []


class Peer:
    """What holds for every request on one connection."""

    __slots__ = (
        *("by_forwarded", "client_ip", "host", "host_line", "judge", "lines", "lines_for_host", "networks", "own"),
        *("secure", "trusted"),
    )

    host_line: bytes
    """How a request line ends, and the Host field, for `host`; and what services are sent about the client with it."""
    lines_for_host: bytes
    judge: Callable[[bytes], _Judged]
    """Of a trusted one: what says of addresses that it reports what they are, and whether they are trusted, too."""

    def __init__(self, client: Client, networks: Sequence[Network], by_forwarded: bool = False) -> None:
        self.by_forwarded = by_forwarded
        self.host: bytes | None = None
        """That of the last request."""
        self.secure = client.secure
        self.client_ip = client.address
        self.networks = networks
        self.trusted = bool(networks) and is_in(client.address, networks)
        address = client.address.encode()
        lines = [
            b"X-Forwarded-For: " + address,
            b"X-Real-IP: " + address,
            b"X-Forwarded-Proto: " + (b"https" if client.secure else b"http"),
            b"X-Forwarded-Port: %d" % client.local_port,
        ]
        if client.certificate is not None:
            lines.append(certificate_line(client.certificate))
        self.lines = b"\r\n".join(lines)
        self.own = dict(line.split(b": ", 1) for line in lines)
        """The same by name."""
        if self.trusted:
            self.judge = _judge_of(networks)

    def came_by_https(self, request: RequestHead) -> bool:
        """Whether the client used https, as a trusted proxy reports it, or else by this connection."""
        return self.asked_at(request).scheme == b"https"

    def reported(self, request: RequestHead) -> Outer:
        """What trusted proxies report of a request as the client sent it."""
        if not self.trusted:
            return _NOTHING
        return _outer(_translated(request.fields, self.networks) if self.by_forwarded else request.fields)

    def asked_at(self, request: RequestHead) -> Outer:
        """Scheme, host and prefix under which the client asked; the port is in the host, if it is not the usual one."""
        scheme, host, port, prefix = self.reported(request)
        scheme = scheme or (b"https" if self.secure else b"http")
        host = host or request.host
        if port and not _port_in(host) and port != _USUAL_PORTS[scheme]:  # many proxies report it apart
            host += b":" + port
        return Outer(scheme, host, port, prefix)

    def is_own_origin(self, origin: bytes, request: RequestHead) -> bool:
        """Whether a page of this origin (RFC 6454) came from the address that services receive for this request.

        A trusted proxy that reports the host and no scheme leaves open which one the client used.
        """
        host, port, schemes = request.host, b"", [b"https" if self.secure else b"http"]
        if self.trusted:
            outer = self.reported(request)
            host, port = outer.host or host, outer.port
            if outer.scheme or outer.host:
                schemes = [outer.scheme] if outer.scheme else [b"http", b"https"]
        own = _origin(origin)
        hosts = [host, host + b":" + port] if port and not _port_in(host) else [host]  # many proxies report it apart
        return own is not None and own in [_origin(scheme + b"://" + host) for scheme in schemes for host in hosts]


def _origin(text: bytes) -> tuple[bytes, bytes, int] | None:
    """Scheme, host and port of an origin, in the form in which they are compared (RFC 6454, section 4)."""
    scheme, mark, authority = text.lower().partition(b"://")
    match = _HOST.fullmatch(authority)
    if not mark or match is None or scheme not in _USUAL_PORTS or not _is_host(authority):
        return None
    host = authority[: match.start(1) - 1] if match[1] else authority
    return scheme, host.removesuffix(b"."), int(match[1] or _USUAL_PORTS[scheme])


def is_in(text: str, networks: Sequence[Network]) -> bool:
    """Whether the address `text` is inside one of `networks`."""
    address = parsed(text)
    return address is not None and any(address in network for network in networks)


def _without_port(text: str) -> str:
    """`192.0.2.1` from `192.0.2.1:5678` and `2001:db8::1` from `[2001:db8::1]:5678`, as some proxies write them."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def client_behind(fields: Fields, peer: Peer, networks: Sequence[Network]) -> str:
    """The client as trusted proxies report it: X-Forwarded-For from the right, to the first address not trusted.

    The same from Forwarded, where that is what they send.
    """
    if peer.by_forwarded:
        fields = _translated(fields, networks)
    client, judge = peer.client_ip, peer.judge
    for entry in reversed(b",".join(fields.all(b"x-forwarded-for")).split(b",")):
        if not (entry := entry.strip()):
            continue
        judged = judge(entry) if len(entry) <= _LONGEST_NODE else _judged(networks, entry)
        if judged is None:
            break  # what is further left comes from an untrusted peer
        client, is_trusted = judged
        if not is_trusted:
            break
    return client


_LONGEST_NODE: Final = 64
"""Bytes of an address as it is reported, with a port, that are remembered."""
_ADDRESSES: Final = 8192
_NETWORKS: Final = 8
_judges: Final[dict[int, tuple[Sequence[Network], Callable[[bytes], _Judged]]]] = {}


def _judge_of(networks: Sequence[Network]) -> Callable[[bytes], _Judged]:
    """What judges reported addresses by these networks, and remembers what it found: clients come again."""
    known = _judges.get(id(networks))
    if known is None:
        if len(_judges) >= _NETWORKS:
            _judges.clear()
        judge = remembered(_ADDRESSES)(partial(_judged, networks))
        known = _judges[id(networks)] = networks, judge  # as long as it is there, no other object has the number
    return known[1]


def _judged(networks: Sequence[Network], entry: bytes) -> _Judged:
    """An address as a proxy reports it, and whether it is a trusted proxy's; None for what is none."""
    address = parsed(_without_port(entry.decode("latin-1")))
    return None if address is None else (str(address), is_in(str(address), networks))


def _first(fields: Fields, name: bytes) -> bytes:
    """The first element of a list, which is about the proxy nearest to the client; several lines are one list."""
    value = fields.get(name) or b""
    if b"," not in value:
        return value
    elements = (element.strip(b" \t") for element in value.split(b","))
    return next(filter(None, elements), b"")


def _is_port(text: bytes) -> bool:
    return text.isdigit() and len(text) <= len(str(_LAST_PORT)) and 0 < int(text) <= _LAST_PORT


def _port_in(host: bytes) -> bytes | None:
    match = _HOST.fullmatch(host)
    return match and match[1]


def _is_host(text: bytes) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and (match[1] is None or _is_port(match[1]))


class Outer(NamedTuple):
    """What trusted proxies report of the request as the client sent it; empty where they report nothing valid."""

    scheme: bytes
    host: bytes
    port: bytes
    prefix: bytes


_NOTHING: Final = Outer(b"", b"", b"", b"")


def _outer(fields: Fields) -> Outer:
    scheme, host = _first(fields, b"x-forwarded-proto"), _first(fields, b"x-forwarded-host")
    port, prefix = _first(fields, b"x-forwarded-port"), _first(fields, b"x-forwarded-prefix")
    is_usual = len(scheme) + len(host) + len(port) + len(prefix) <= _USUAL_SIZE
    return (_valid if is_usual else _valid.__wrapped__)(scheme, host, port, prefix)


_USUAL_SIZE: Final = 256


@remembered(1024)
def _valid(scheme: bytes, host: bytes, port: bytes, prefix: bytes) -> Outer:
    """Those of these that are valid; proxies say the same again and again."""
    prefix = prefix.rstrip(b"/")
    return Outer(
        _SCHEMES.get(scheme.lower(), b""),
        host if _is_host(host) else b"",
        port if _is_port(port) else b"",
        prefix if _PREFIX.fullmatch(prefix) else b"",
    )


def believed_lines(fields: Fields, peer: Peer, client_ip: str, host: bytes, prefix: bytes) -> list[bytes]:
    """The forwarded fields for a request from a trusted proxy: what it reports is kept, this hop is added."""
    said = fields
    if peer.by_forwarded:
        fields = _translated(fields, peer.networks)
    chain = [value for value in fields.all(b"x-forwarded-for") if value]
    own = peer.own
    outer = _outer(fields)
    public_host, full_prefix = outer.host or host, outer.prefix + prefix
    port = outer.port or own[b"X-Forwarded-Port"]
    if outer.scheme and not outer.port:  # the one that belongs to it, as in a URL
        port = _port_in(public_host) or _USUAL_PORTS[outer.scheme]
    return [
        b"X-Forwarded-For: " + b", ".join((*chain, peer.client_ip.encode())),
        b"X-Real-IP: " + client_ip.encode(),
        b"X-Forwarded-Proto: " + (outer.scheme or own[b"X-Forwarded-Proto"]),
        b"X-Forwarded-Port: " + port,
        *([b"X-Forwarded-Host: " + public_host] if public_host else []),
        *([b"X-Forwarded-Prefix: " + full_prefix] if full_prefix else []),
        *_certificate_lines(said, own),
        *_trace_lines(said),
        *([_forwarded_line(said, peer, host)] if peer.by_forwarded else []),
    ]


def _translated(fields: Fields, networks: Sequence[Network]) -> Fields:
    """What `Forwarded` says, as X-Forwarded-* fields; those that came under these names are ignored.

    Scheme and host are those that the client used with the outermost proxy that is trusted.
    """
    elements = parse_forwarded(b",".join(fields.all(b"forwarded")))
    outermost = None
    for element in reversed(elements):
        address = parsed(_without_port(element.node.decode("latin-1")))
        if address is None:
            break
        outermost = element
        if not is_in(str(address), networks):
            break
    nodes = (element.node if _NODE.fullmatch(element.node) else b"unknown" for element in elements)
    translated = {b"X-Forwarded-For": b", ".join(nodes)}
    if outermost is not None:
        scheme = _SCHEMES.get(outermost.proto, b"")
        translated[b"X-Forwarded-Proto"] = scheme
        translated[b"X-Forwarded-Port"] = _USUAL_PORTS.get(scheme, b"")
        if _is_host(outermost.host):
            translated[b"X-Forwarded-Host"] = outermost.host
            translated[b"X-Forwarded-Port"] = _port_in(outermost.host) or translated[b"X-Forwarded-Port"]
    kept = {name: value for name, value in translated.items() if value}
    prefix = fields.get(b"x-forwarded-prefix")
    if prefix:
        kept[b"X-Forwarded-Prefix"] = prefix
    return Fields([name.lower() for name in kept], [b"%b: %b" % pair for pair in kept.items()])


def _forwarded_line(fields: Fields, peer: Peer, host: bytes) -> bytes:
    """The chain as received, if it is well-formed, and this hop appended."""
    values = fields.all(b"forwarded")
    chain = values if parse_forwarded(b",".join(values)) else []
    own = element_text(peer.client_ip, b"https" if peer.secure else b"http", host)
    return b"Forwarded: " + b", ".join((*chain, own))


def _certificate_lines(fields: Fields, own: dict[bytes, bytes]) -> list[bytes]:
    """The client certificate of this connection; if there is none, what the proxy reports of the client's."""
    certificate = own.get(b"X-Forwarded-Client-Cert")
    values = fields.all(b"x-forwarded-client-cert") if certificate is None else [certificate]
    return [b"X-Forwarded-Client-Cert: " + value for value in values]


def _trace_lines(fields: Fields) -> list[bytes]:
    """The trace context as received: this hop reports no span of its own, so the caller's stays the parent."""
    if believed_trace_id(fields) is None:
        return []
    states = fields.all(b"tracestate")
    return [b"traceparent: " + (fields.get(b"traceparent") or b""), *(b"tracestate: " + state for state in states)]


def believed_request_id(fields: Fields) -> str | None:
    """The request id that a trusted proxy sends; None where it is absent or malformed."""
    request_id = fields.get(b"x-request-id")
    return request_id.decode() if request_id and _REQUEST_ID.fullmatch(request_id) else None


def believed_trace_id(fields: Fields) -> str | None:
    """The trace that a trusted proxy's request belongs to (W3C Trace Context); None where there is none."""
    context = trace_context(fields)
    return None if context is None else context.trace_id
