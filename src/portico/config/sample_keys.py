"""Keys that everybody knows, because they stand in documentation to be copied: whoever signs with one signs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from portico.config.gateway import GatewaySettings
from portico.config.problems import ENVIRONMENT, Finding, KeyPath
from portico.config.resolve import ResolvedRoute, scope_path
from portico.policies.auth import AuthSettings

SAMPLE_KEYS: Final = frozenset(
    {
        "your-secret-key-here",
        "your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    }
)
"""That of the first gateway's settings, those of jwt.io, and that of FastAPI's tutorial."""
_MESSAGE: Final = (
    "is the key of a sample, which everybody knows: openssl rand -hex 32 makes one of your own "
    "(gateway.allow_sample_secret_key: true takes it all the same, for a try)"
)


def sample_key_findings(
    gateway: GatewaySettings, routes: Sequence[ResolvedRoute], defaults: Mapping[str, Any]
) -> Iterator[Finding]:
    """Such keys, in SECRET_KEY and in the file, unless it says in so many words that they may be used."""
    if gateway.allow_sample_secret_key:
        return
    if (defaults.get("auth") or {}).get("jwt", {}).get("secret") in SAMPLE_KEYS:
        yield Finding((ENVIRONMENT, "SECRET_KEY"), _MESSAGE)
        return
    for path in dict.fromkeys(_signed_by_samples(routes)):
        yield Finding(path, _MESSAGE)


def _signed_by_samples(routes: Sequence[ResolvedRoute]) -> Iterator[KeyPath]:
    for route in routes:
        auth, scope = route.policies.get("auth", (None, ""))
        jwt = auth.jwt if isinstance(auth, AuthSettings) else None
        if jwt is None or jwt.secret is None or jwt.short_secret is not None:
            continue  # a short one is refused as such
        if jwt.secret.get_secret_value() in SAMPLE_KEYS:
            yield (*scope_path(route, scope), "auth", "jwt", "secret")
