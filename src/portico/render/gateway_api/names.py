"""Names that Kubernetes takes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_LABEL: Final = 63
"""Letters of the name of a Service."""
_ENDING: Final = 8
"""Letters that are left for what makes a name unique."""
HOSTNAME: Final = re.compile(r"(?:\*\.)?[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
"""What the API takes for a hostname; addresses are none, although they look like one."""


@dataclass(slots=True)
class Names:
    """Each once: lower case, letters, digits and hyphens (RFC 1123), beginning with a letter (RFC 1035)."""

    _taken: set[tuple[str, str]] = field(default_factory=set)
    _last: dict[tuple[str, str], int] = field(default_factory=dict)
    """The number that a name was last given."""
    _known: dict[tuple[str, object], str] = field(default_factory=dict)

    def free(self, kind: str, name: str) -> str:
        """`NAME`, or `NAME-2` where a resource of that kind has it."""
        plain = plain_name(name)
        found, number = plain, self._last.get((kind, plain), 1)
        while (kind, found) in self._taken:
            number += 1
            found = f"{plain}-{number}"
        self._taken.add((kind, found))
        self._last[kind, plain] = number
        return found

    def once(self, kind: str, key: object, name: str) -> str:
        """The name of a thing, the same each time."""
        if (kind, key) not in self._known:
            self._known[kind, key] = self.free(kind, name)
        return self._known[kind, key]


def plain_name(name: str) -> str:
    """A name in the letters that are allowed; others become hyphens."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not plain[:1].isalpha():
        plain = f"x-{plain}".strip("-")
    return plain[: _LABEL - _ENDING].strip("-")


def is_hostname(host: str) -> bool:
    """Whether the API takes it: a name of at most 253 letters, no address."""
    return HOSTNAME.fullmatch(host) is not None and len(host) <= 253 and not re.fullmatch(r"[0-9.]+", host)
