"""Compression of responses: a filter for each coding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from portico.config import ResolvedRoute
from portico.policies.compress.rules import DEFAULT_TYPES
from portico.policies.compress.settings import DEFAULT, CompressSettings
from portico.render.envoy.names import HTTP, ON, Filter, Names, Section, typed
from portico.render.expressions import literal

_COMPRESSORS: Final = {
    "zstd": ("zstd.compressor.v3.Zstd", "compression_level"),
    "br": ("brotli.compressor.v3.Brotli", "quality"),
    "gzip": ("gzip.compressor.v3.Gzip", ""),
}
_LEAST: Final = 30
"""Bytes of a response that Envoy compresses at the least."""


def compressing(names: Names, route: ResolvedRoute) -> dict[str, Section]:
    """What a route says of these filters."""
    settings: CompressSettings | None = route.policies.get("compress", (None, ""))[0]
    if settings is None:
        return {}
    _, scope = route.policies["compress"]
    known = names.known.get(("compress", id(settings)))
    if known is None:
        known = names.known["compress", id(settings)] = [*_compressors(names, settings, scope)]
    return dict.fromkeys(known, ON)


def _compressors(names: Names, settings: CompressSettings, scope: str) -> Iterator[str]:
    kinds = dict.fromkeys(kind for each in settings.types for kind in (DEFAULT_TYPES if each == DEFAULT else (each,)))
    matchers = [{"safe_regex": {"regex": _one_of(kinds)}}]
    for index, coding in enumerate(settings.encodings):
        message, level = _COMPRESSORS[coding]
        own: Section = {level: getattr(settings.levels, coding)} if level else {}
        if coding == "gzip":
            own = {"compression_level": f"COMPRESSION_LEVEL_{settings.levels.gzip}", "window_bits": 15}
        library = {"name": coding, "typed_config": typed(f"envoy.extensions.compression.{message}", own)}
        common: Section = {
            "min_content_length": max(settings.min_size, _LEAST),
            "content_type_matcher": matchers,
        }
        config = typed(
            f"{HTTP}compressor.v3.Compressor",
            {
                "response_direction_config": {"common_config": common, "weaken_etag_on_compress": True},
                "compressor_library": library,
                **({"choose_first": True} if index == 0 else {}),
            },
        )
        name, _ = names.once(("compress", id(settings), coding), f"compress_{coding}_{scope}")
        # The last one in the chain sees a response first.
        yield names.filter(Filter(150 - index, name, config, f"responses in {coding}"))


def _one_of(kinds: Iterable[str]) -> str:
    """What matches `Content-Type` of these media types; `text/*` is not for events, which come piece by piece."""
    words = [literal(kind).replace(r"\*", r"[^;\s]+") for kind in kinds if kind != "text/*"]
    if "text/*" in kinds:
        words.append("text/(?:[^e;][^;]*|e[^v;][^;]*)")
    return rf"(?i)(?:{'|'.join(words)})\s*(?:;.*)?"
