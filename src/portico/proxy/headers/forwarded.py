"""The client's identity, and what a service is sent about it: X-Forwarded-*, X-Real-IP, Via.

Only a peer inside `trusted_proxies` is believed. The forwarded fields of all other peers are dropped, so that no
client can choose the address that limits and logs see.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from portico.core.clients import parsed
from portico.core.exchange import Client
from portico.core.messages import Fields
from portico.proxy.headers.client_certificate import certificate_line
from portico.proxy.headers.forwarded_field import element_text, parse_forwarded

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

VIA: Final = b"Via: 1.1 portico"
"""RFC 9110, section 7.6.3."""

_PORT: Final = re.compile(rb"[0-9]{1,5}")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT: Final = re.compile(rb"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_NODE: Final = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,64}")
_PREFIX: Final = re.compile(rb"(?:/[A-Za-z0-9._~%-]+)+")
_HOST: Final = re.compile(rb"[A-Za-z0-9._\-\[\]:]{1,255}")


def passed_trailers(lines: Sequence[bytes], allowed: frozenset[bytes]) -> list[bytes]:
    """Those field lines of a trailer section that a route allows."""
    return [line for line in lines if line.partition(b":")[0].lower() in allowed]


def announced_trailers(fields: Fields, allowed: frozenset[bytes]) -> list[bytes]:
    """The `Trailer` line for those announced fields that a route allows, if there are any."""
    names = [name for name in fields.tokens(b"trailer") if name in allowed]
    return [b"Trailer: " + b", ".join(names)] if names else []


class Peer:
    """What holds for every request on one connection."""

    __slots__ = ("by_forwarded", "client_ip", "lines", "networks", "secure", "trusted")

    def __init__(self, client: Client, networks: Sequence[Network], by_forwarded: bool = False) -> None:
        self.by_forwarded = by_forwarded
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
    client = peer.client_ip
    for entry in reversed(b",".join(fields.all(b"x-forwarded-for")).split(b",")):
        address = parsed(_without_port(entry.strip().decode("latin-1")))
        if address is None:
            break  # what is further left comes from an untrusted peer
        client = str(address)
        if not is_in(client, networks):
            break
    return client


def believed_lines(fields: Fields, peer: Peer, client_ip: str, host: bytes, prefix: bytes) -> list[bytes]:
    """The forwarded fields for a request from a trusted proxy: what it reports is kept, this hop is added."""
    said = fields
    if peer.by_forwarded:
        fields = _translated(fields, peer.networks)
    chain = [value for value in fields.all(b"x-forwarded-for") if value]
    own = dict(line.split(b": ", 1) for line in peer.lines.split(b"\r\n"))
    proto = fields.get(b"x-forwarded-proto")
    port = fields.get(b"x-forwarded-port")
    outer_host = fields.get(b"x-forwarded-host")
    outer_prefix = fields.get(b"x-forwarded-prefix") or b""
    told_host = outer_host if outer_host and _HOST.fullmatch(outer_host) else host
    full_prefix = (outer_prefix if _PREFIX.fullmatch(outer_prefix) else b"") + prefix
    return [
        b"X-Forwarded-For: " + b", ".join((*chain, peer.client_ip.encode())),
        b"X-Real-IP: " + client_ip.encode(),
        b"X-Forwarded-Proto: " + (proto if proto in (b"http", b"https") else own[b"X-Forwarded-Proto"]),
        b"X-Forwarded-Port: " + (port if port and _PORT.fullmatch(port) else own[b"X-Forwarded-Port"]),
        *([b"X-Forwarded-Host: " + told_host] if told_host else []),
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
    told = {b"X-Forwarded-For": b", ".join(nodes)}
    if outermost is not None:
        port = outermost.host.rpartition(b":")[2]
        usual = {b"https": b"443", b"http": b"80"}.get(outermost.proto, b"")
        told[b"X-Forwarded-Proto"] = outermost.proto
        told[b"X-Forwarded-Host"] = outermost.host
        told[b"X-Forwarded-Port"] = port if port.isdigit() else usual
    kept = {name: value for name, value in told.items() if value}
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
    match = _TRACEPARENT.fullmatch(fields.get(b"traceparent") or b"")
    return match[1].decode() if match and match[1] != b"0" * 32 else None
