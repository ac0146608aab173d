"""Set-Cookie of a service behind a prefix or another name: paths and domains that browsers send cookies back to.

RFC 6265, sections 5.1.3, 5.1.4 and 5.3: a browser ignores a cookie whose Domain does not cover the host that it asked,
and sends none back to a path that its Path does not cover.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

_HOST_ONLY: Final = b"__host-"
"""Begins names of cookies that must have `Path=/` and no Domain (RFC 6265bis, section 4.1.3.2), in any case."""
_VALUE: Final = re.compile(rb"([^=]*=[ \t]*)(.*?)([ \t]*)", re.DOTALL)
_PORT: Final = re.compile(rb":[0-9]*\Z")
_ADDRESS: Final = re.compile(rb"\[.*\]|.*:.*|(?:.*\.)?[0-9]+")


@dataclass(frozen=True, slots=True)
class CookieRules:
    """What becomes of the attributes of cookies.

    `path` gives the path as clients see it; None: paths stay. `authority` is what the client asked, `own` are those of
    the service's instances; a Domain that is theirs goes, or becomes `domain` if there is one. Without `own` domains
    stay.
    """

    path: Callable[[bytes], bytes] | None
    authority: bytes = b""
    own: Collection[bytes] = ()
    domain: bytes = b""

    def cookie(self, value: bytes) -> bytes:
        """The value of a Set-Cookie field; order and spelling of all else stay."""
        pair, *attributes = value.split(b";")
        if not attributes or pair.lstrip().lower().startswith(_HOST_ONLY):
            return value
        kept = [pair]
        for attribute in attributes:
            name = attribute.partition(b"=")[0].strip().lower()
            changed: bytes | None = attribute
            if name == b"path" and self.path is not None:
                changed = _changed(attribute, self.path)
            elif name == b"domain" and self.own:
                changed = self._domain(attribute)
            if changed is not None:
                kept.append(changed)
        return b";".join(kept)

    def _domain(self, attribute: bytes) -> bytes | None:
        """A Domain attribute; None where the cookie is to be that of the host alone."""
        domain = attribute.partition(b"=")[2].strip().lower().removeprefix(b".")
        if not domain or covers(domain, host_of(self.authority)):
            return attribute
        if not any(covers(domain, host_of(own)) for own in self.own):
            return attribute
        return _changed(attribute, lambda _: self.domain) if self.domain else None


def covers(domain: bytes, host: bytes) -> bool:
    """Whether cookies of this Domain are sent to a host (RFC 6265, section 5.1.3)."""
    return host == domain or (host.endswith(b"." + domain) and not _ADDRESS.fullmatch(host))


def host_of(authority: bytes) -> bytes:
    """The host of an authority, in lower case, an IPv6 address in brackets."""
    return _PORT.sub(b"", authority.lower())


def _changed(attribute: bytes, change: Callable[[bytes], bytes]) -> bytes:
    match = _VALUE.fullmatch(attribute)
    return match[1] + change(match[2]) + match[3] if match else attribute
