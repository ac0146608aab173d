"""URLs in a service's response that name the service: rewritten to the address under which the client asked for it.

What a service writes into `Location` and its like it derives from the Host and the path that it got. Behind a prefix,
or under another name, a client cannot use that. nginx does the same by `proxy_redirect default`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

_ABSOLUTE: Final = re.compile(rb"(?:(https?):)?//([^/?#\\@\x00-\x20]+)((?:[/?#][^\x00-\x1f]*)?)", re.IGNORECASE)
"""An absolute URL of HTTP, or a network-path reference (RFC 3986, section 4.2): scheme, authority, what follows."""
_ROOT_RELATIVE: Final = re.compile(rb"/(?![/\\])[^\x00-\x1f]*")
"""A path reference from the root. Browsers read `/\\` as `//`, and leave tabs out."""
_PATH: Final = re.compile(rb"[^?#]*")
_REFRESH: Final = re.compile(
    rb"([ \t]*[0-9.]+(?:[ \t]*[;,][ \t]*|[ \t]+)(?:url[ \t]*=[ \t]*)?([\"']?))(.*)", re.IGNORECASE
)
"""Seconds, and a URL with or without quotes, as browsers read it (HTML: shared declarative refresh)."""
_LINK: Final = re.compile(rb'=[ \t]*"(?:[^"\\]|\\.?)*"?|<([^<>]*)>')
"""A quoted parameter, which stays, to the end if it has none, or the target of a link (RFC 8288, appendix B.2).

It fails nowhere behind a quotation mark: it would try again from each that is escaped."""
_USUAL_PORTS: Final = {b"http": b":80", b"https": b":443"}


@dataclass(frozen=True, slots=True)
class Address:
    """How a client sees a service: scheme and host of its request, and the `path` that leads to one of the service's.

    `hosts` are the authorities under which the service was asked for, `own` those of its instances, all in their
    shortest form and lower case. `path` gets a path and whether it is the service's for certain, and gives None
    where the client has no way to it. With `tls` the service itself may speak https.
    """

    scheme: bytes
    host: bytes
    hosts: Collection[bytes]
    own: Collection[bytes]
    path: Callable[[bytes, bool], bytes | None]
    tls: bool = False

    def url(self, url: bytes) -> bytes:
        """A URI reference as the client can use it; what does not name the service is returned as it is."""
        if _ROOT_RELATIVE.fullmatch(url):
            moved = self._moved(url, is_own=False)
            return moved if moved is not None and _ROOT_RELATIVE.fullmatch(moved) else url
        match = _ABSOLUTE.fullmatch(url)
        if match is None:
            return url
        scheme, authority, rest = match.groups()
        authority = shortest(authority, (scheme or self.scheme).lower())
        is_own = authority in self.own
        if not is_own and authority not in self.hosts:
            return url
        moved = self._moved(rest, is_own)
        if moved is None or (not self.host and not _ROOT_RELATIVE.fullmatch(moved)):  # never //elsewhere
            return url
        return self._start(scheme) + moved

    def link(self, value: bytes) -> bytes:
        """The value of a Link field, with each target as `url` has it."""
        return _LINK.sub(lambda match: match[0] if match[1] is None else b"<%b>" % self.url(match[1]), value)

    def refresh(self, value: bytes) -> bytes:
        """The value of a Refresh field, with its URL as `url` has it."""
        match = _REFRESH.fullmatch(value)
        if match is None:
            return value
        start, quote, rest = match.groups()
        url, end, after = rest.partition(quote) if quote else (rest, b"", b"")
        return start + self.url(url) + end + after

    def _start(self, scheme: bytes | None) -> bytes:
        """What stands before the path; a service that sends clients from http to https means that."""
        if not self.host:  # HTTP/1.0 need not name one
            return b""
        if scheme is None:
            return b"//" + self.host
        is_upgrade = scheme.lower() == b"https" and not self.tls
        return (b"https" if is_upgrade else self.scheme) + b"://" + self.host

    def _moved(self, rest: bytes, is_own: bool) -> bytes | None:
        """A path with query and fragment, of which only the path changes."""
        match = _PATH.match(rest)
        path = match[0] if match else b""
        public = self.path(path or b"/", is_own)
        return None if public is None else public + rest[len(path) :]


def shortest(authority: bytes, scheme: bytes) -> bytes:
    """An authority in lower case, without the port that its scheme implies."""
    return authority.lower().removesuffix(_USUAL_PORTS.get(scheme, b"\0"))
