"""What targets have in common where they render policies."""

from __future__ import annotations

import re
from typing import Final

from portico.config import ResolvedRoute
from portico.config.problems import KeyPath
from portico.config.resolve import scope_path

SECURITY: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Permitted-Cross-Domain-Policies": "none",
}
"""What `headers.security` adds to responses that have none of their own."""
OPEN: Final = frozenset(
    {
        *("cache", "compress", "cors", "decompress", "errors", "headers", "identity", "ip_filter", "rate_limit"),
        *("rewrite_cookies", "rewrite_location", "transform"),
    }
)
"""Policies without which a route is no less guarded, and those that each target looks at itself."""
_TEMPLATE: Final = re.compile(r"\{\{|\}\}|\{([^{}:]*)(:-[^{}]*)?\}|[^{}]+")


def policy_path(route: ResolvedRoute | None, scope: str, key: str) -> KeyPath:
    """Where a policy is written, of a route or of the gateway alone."""
    return (*(("policies",) if route is None else scope_path(route, scope)), key)


def guards_of(route: ResolvedRoute) -> list[str]:
    """The keys of what guards a route: a policy of which nobody has thought is one."""
    return sorted(key for key, (settings, _) in route.policies.items() if settings and key not in OPEN)


def is_guarded(route: ResolvedRoute) -> bool:
    """Whether something of a route refuses requests for who sends them, or what they are."""
    return bool(guards_of(route) or route.policies.get("ip_filter", (None, ""))[0])


def filled(written: str, route: ResolvedRoute) -> str | None:
    """A value of a field with what is known beforehand in place of names in braces; None where it names more."""
    known = {"route": route.name, "service": route.service or ""}
    parts = []
    for found in _TEMPLATE.finditer(written):
        if found[1] is None:
            parts.append({"{{": "{", "}}": "}"}.get(found[0], found[0]))
        elif found[1] in known:
            parts.append(known[found[1]])
        else:
            return None
    return "".join(parts)
