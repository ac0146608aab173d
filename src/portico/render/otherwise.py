"""What a target does otherwise, whatever is written: each difference is a sentence, said where it concerns somebody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from textwrap import wrap
from types import MappingProxyType
from typing import Final, TypeAlias

from portico.config import KEEP, Config, RedirectSettings, ResolvedRoute
from portico.core.route_paths import is_pattern
from portico.render.policies import is_guarded

Otherwise: TypeAlias = Sequence[tuple[str, str]]
"""Sentences, each behind what has to be in use: a key of `_USES`, a policy, or nothing."""
_WIDTH: Final = 116


def _takes_prefix_off(route: ResolvedRoute) -> bool:
    return route.service is not None and route.rewrite != KEEP and route.path.startswith("/") and route.path != "/"


_USES: Final[Mapping[str, Callable[[ResolvedRoute], bool]]] = MappingProxyType(
    {
        "service": lambda route: route.service is not None,
        "prefix": _takes_prefix_off,
        "pattern": lambda route: is_pattern(route.path),
        "redirect": lambda route: isinstance(route.answer, RedirectSettings),
        "mirror": lambda route: bool(route.mirrors),
        "fields": lambda route: bool(route.headers),
        "query": lambda route: bool(route.query),
        "forward": lambda route: getattr(route.policies.get("auth", (None, ""))[0], "forward", None) is not None,
        "guards": is_guarded,
    }
)


def concerning(config: Config, sentences: Otherwise) -> tuple[str, ...]:
    """Those of the sentences that concern a route of this configuration, or all."""
    return tuple(text for key, text in sentences if not key or any(_is_in_use(each, key) for each in config.all_routes))


def _is_in_use(route: ResolvedRoute, key: str) -> bool:
    test = _USES.get(key)
    return test(route) if test is not None else route.policies.get(key, (None, ""))[0] is not None


def head(target: str, sentences: Sequence[str]) -> Iterator[str]:
    """The lines that say so at the top of a file."""
    yield f"What {target} does otherwise, whatever is written:"
    for sentence in sentences:
        first, *others = wrap(sentence, _WIDTH - 2)
        yield f"- {first}"
        yield from (f"  {line}" for line in others)
