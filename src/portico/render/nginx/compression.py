"""Compression: gzip is the one coding that every package of nginx has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.config.levels import Merged
from portico.config.problems import KeyPath
from portico.policies.compress import CompressSettings
from portico.policies.compress.rules import DEFAULT_TYPES
from portico.policies.compress.settings import DEFAULT
from portico.render.nginx.names import Names

_KINDS: Final = {
    "text/*": (
        *("text/plain", "text/css", "text/csv", "text/javascript", "text/xml", "text/markdown", "text/calendar"),
        *("text/tab-separated-values", "text/vcard", "text/vtt"),
    ),
    "*+json": (
        *("application/ld+json", "application/problem+json", "application/vnd.api+json", "application/hal+json"),
        *("application/geo+json", "application/manifest+json", "application/feed+json"),
    ),
    "*+xml": ("image/svg+xml", "application/xhtml+xml", "application/rss+xml", "application/atom+xml"),
    "*+yaml": (),
}
"""The usual types of a kind: nginx has no word for all of one."""
_ALWAYS: Final = "text/html"
"""nginx compresses it whatever is written."""


def compressing(names: Names, policies: Merged, at: KeyPath) -> Iterator[str]:
    """The lines of a route, or of the gateway alone, whose `compress` is written at `at`."""
    settings, _ = policies.get("compress", (None, ""))
    if policies is not names.config.own_policies and settings == names.config.own_policies.get("compress", (None,))[0]:
        return  # as everywhere
    if settings is None:
        if "compress" in names.config.own_policies:
            yield "gzip off;"
        return
    if "gzip" not in settings.encodings:
        names.losses.add((*at, "encodings"), "nginx's packages have gzip alone: nothing is compressed")
        return
    if "encodings" in settings.model_fields_set and settings.encodings != ["gzip"]:
        names.losses.add((*at, "encodings"), "nginx's packages have gzip alone: clients that prefer others get that")
    if not settings.cookies:
        names.losses.add(at, "nginx compresses responses with Set-Cookie, too")
    types = [*_types(names, settings, at)]
    yield "gzip on;"
    yield f"gzip_comp_level {settings.levels.gzip};"
    yield f"gzip_min_length {settings.min_size};"
    yield "gzip_proxied any;"
    yield "gzip_vary on;"
    if types:
        yield f"gzip_types {' '.join(types)};"


def _types(names: Names, settings: CompressSettings, at: KeyPath) -> Iterator[str]:
    written = [each for kind in settings.types for each in (DEFAULT_TYPES if kind == DEFAULT else (kind,))]
    if _ALWAYS not in written and "text/*" not in written:
        names.losses.add((*at, "types"), "nginx compresses text/html in any case")
    found: dict[str, None] = {}
    for kind in written:
        if "*" not in kind:
            found[kind] = None
            continue
        if kind not in DEFAULT_TYPES or kind not in _KINDS:
            names.losses.add((*at, "types"), f"nginx has no word for all of {kind}: write the types themselves")
        found |= dict.fromkeys(_KINDS.get(kind, ()))
    found.pop(_ALWAYS, None)
    yield from found
