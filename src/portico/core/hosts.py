"""Host names and origins in the form in which clients send them: lower case, ASCII, no port that the scheme implies."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:]*)(?::(?P<port>\d{1,5}|\*))?", re.ASCII)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*|\*")
_DEFAULT_PORTS: Final = {"http": "80", "ws": "80", "https": "443", "wss": "443"}
_NO_PAGES: Final = frozenset({"ftp", "ftps", "sftp", "ssh", "git", "ldap", "mailto", "redis", "tcp", "udp", "unix"})
_OPAQUE: Final = frozenset({"about", "blob", "data", "file", "javascript"})
_OWN_NAMES: Final = frozenset({"localhost", "local", "internal", "test"})
"""Last labels of names that nobody can buy a domain under (RFC 6761, RFC 6762)."""
_INTERNAL: Final = frozenset(
    {
        *("localhost", "local", "internal", "test"),  # RFC 6761, RFC 6762, ICANN 2024
        *("localdomain", "lan", "home", "corp", "private", "intranet", "intra"),  # RFC 6762, appendix G, and their like
        *("svc", "consul", "nomad", "docker", "mesh"),  # names that platforms give to services
    }
)
"""Last labels of names that mean something on a network of one's own only."""
_NO_ORIGIN: Final = "expected an origin such as https://app.example.com or https://*.example.com"


def host_and_port(host: str, port: int) -> str:
    """Both in one, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_name(text: str, *, wildcard: bool = False) -> str:
    """A host name or address in its shortest form, an IPv6 address in brackets; with `wildcard` `*.example.com` too.

    Names beyond ASCII become what is sent for them (UTS 46). Raises ValueError, which says how it is written.
    """
    written = text.lower()
    bare = _without_scheme_and_port(written)
    star = "*." if wildcard and bare.startswith("*.") else ""
    try:
        name = star + _shortest(bare.removeprefix(star))
    except ValueError:
        also = " or *.example.com" if wildcard else ""
        raise ValueError(f"expected a host name without port, such as api.example.com{also}") from None
    if bare != written:
        raise ValueError(f"a host has no scheme, port or path: write {name}")
    return name


def web_origin(text: str) -> str:
    """An origin as browsers send it (RFC 6454, section 6.1), `*` in it for parts of a host; or `*` or `null` alone.

    Raises ValueError, which says how it is written.
    """
    if text.lower() in ("*", "null"):
        return text.lower()
    scheme, separator, rest = text.lower().partition("://")
    if not separator:
        raise ValueError(f"an origin begins with its scheme: write {web_origin(f'https://{text}')}")
    if scheme in _NO_PAGES:
        raise ValueError(f"browsers load no pages over {scheme}: write https:// or http://")
    if scheme in _OPAQUE:
        raise ValueError(f'browsers send the origin of a {scheme}: page as null: write "null"')
    authority, _, path = rest.partition("/")
    match = _AUTHORITY.fullmatch(authority)
    if match is None or not _SCHEME.fullmatch(scheme):
        raise ValueError(_NO_ORIGIN)
    host, port = match["host"], match["port"] or ""
    try:
        host = _host_pattern(host)
    except ValueError:
        raise ValueError(_NO_ORIGIN) from None
    if port.isdigit() and not 0 < int(port) < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    port = str(int(port)) if port.isdigit() else port
    shown = f"{scheme}://{host}" if port in ("", _DEFAULT_PORTS.get(scheme)) else f"{scheme}://{host}:{port}"
    if path:
        raise ValueError(f"an origin ends after host and port: write {shown}")
    if scheme in ("ws", "wss"):
        raise ValueError(f"browsers send the origin of the page: write http{shown[2:]}")
    return shown


def is_address(host: str) -> bool:
    """Whether a host is an address and no name; an IPv6 address has no brackets here."""
    for family in (AF_INET, AF_INET6):
        try:
            inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


def is_internal(host: str) -> bool:
    """Whether a host is named as on a network of one's own: by an address, without a dot, or under `.internal` etc.

    An IPv6 address has no brackets here.
    """
    name = host.lower().removesuffix(".")
    last = name.rpartition(".")[2]
    return is_address(name) or "." not in name or last in _INTERNAL or name.endswith(".home.arpa")


def is_open_pattern(origin: str) -> bool:
    """Whether anyone could own a host that matches an origin's pattern: no domain is fixed behind its last `*`."""
    match = _AUTHORITY.fullmatch(origin.partition("://")[2])
    if match is None or "*" not in match["host"]:
        return False
    domain = match["host"].rpartition("*")[2].partition(".")[2]
    return "." not in domain and domain not in _OWN_NAMES


def _without_scheme_and_port(host: str) -> str:
    host = host.partition("://")[2] if "://" in host else host
    host = host.partition("/")[0]
    match = _AUTHORITY.fullmatch(host)
    return match["host"] if match is not None else host


def _host_pattern(host: str) -> str:
    if host.startswith("*."):
        return "*." + _host_pattern(host[2:])
    if "*" not in host:
        return _shortest(host)
    if "**" in host or not _NAME.fullmatch(host.replace("*", "x")):
        raise ValueError("not a pattern of host names")
    return host


def _shortest(host: str) -> str:
    if ":" in host:
        address = IPv6Address(host.removeprefix("[").removesuffix("]"))
        if address.scope_id is not None:
            raise ValueError("a zone has a meaning on its own host only")
        return f"[{address}]"
    if not host.isascii():
        import idna  # large, and rarely needed

        host = idna.encode(host, uts46=True).decode()
    host = host.removesuffix(".")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise ValueError("not a host name")
    return host
