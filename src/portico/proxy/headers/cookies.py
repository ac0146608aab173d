"""Set-Cookie of a service behind a prefix or another name: paths and domains that browsers send cookies back to.

RFC 6265, sections 5.1.3, 5.1.4 and 5.3: a browser ignores a cookie whose Domain does not cover the host that it asked,
and sends none back to a path that its Path does not cover.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from portico.core.hosts import is_internal

_HOST_ONLY: Final = b"__host-"
"""Begins names of cookies that must have `Path=/` and no Domain (RFC 6265bis, section 4.1.3.2), in any case."""
_BLANKS: Final = b" \t"
_PORT: Final = re.compile(rb":[0-9]*\Z")
_ADDRESS: Final = re.compile(rb"\[.*\]|.*:.*|(?:.*\.)?[0-9]+")


@dataclass(frozen=True, slots=True)
class CookieRules:
    """What becomes of the attributes of cookies.

    `path` gives the path as clients see it; None: paths stay. `authority` is what the client asked, `own` are those of
    the service's instances; a Domain that is theirs, or that no browser can ask, goes, or becomes `domain` if there is
    one. Without `own` domains stay.
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
        is_foreign = bool(self.own) and self._is_foreign(attributes)
        for attribute in attributes:
            name = _name_of(attribute)
            if name == b"path" and self.path is not None:
                kept.append(_changed(attribute, self.path))
            elif name == b"domain" and is_foreign:
                if self.domain:
                    kept.append(_changed(attribute, lambda _: self.domain))
            else:
                kept.append(attribute)
        return b";".join(kept)

    def _is_foreign(self, attributes: Sequence[bytes]) -> bool:
        """Whether the Domain, the last one if there are several, is not the client's but the service's side's."""
        domains = [attribute.partition(b"=")[2] for attribute in attributes if _name_of(attribute) == b"domain"]
        domain = host_of(domains[-1].strip().removeprefix(b".")) if domains else b""
        if not domain or covers(domain, host_of(self.authority)):
            return False
        return _is_unseen(domain) or any(covers(domain, host_of(own)) for own in self.own)


def _name_of(attribute: bytes) -> bytes:
    return attribute.partition(b"=")[0].strip().lower()


def _is_unseen(domain: bytes) -> bool:
    """Whether browsers elsewhere cannot ask such a host: an address, `localhost`, or a name under `.internal` etc."""
    name = domain.strip(b"[]").decode("latin-1")
    return ("." in name or name == "localhost" or domain.startswith(b"[")) and is_internal(name)


def covers(domain: bytes, host: bytes) -> bool:
    """Whether cookies of this Domain are sent to a host (RFC 6265, section 5.1.3)."""
    return host == domain or (host.endswith(b"." + domain) and not _ADDRESS.fullmatch(host))


def host_of(authority: bytes) -> bytes:
    """The host of an authority, in lower case, an IPv6 address in brackets."""
    return _PORT.sub(b"", authority.lower()).removesuffix(b".")


def _changed(attribute: bytes, change: Callable[[bytes], bytes]) -> bytes:
    name, mark, written = attribute.partition(b"=")
    if not mark:
        return attribute
    value = written.strip(_BLANKS)
    start = len(written) - len(written.lstrip(_BLANKS))
    return name + mark + written[:start] + change(value) + written[start + len(value) :]
