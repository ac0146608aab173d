"""Whether a policy lets more or fewer requests through than before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from portico.core.networks import Network
from portico.plan.changes import Effect

GUARDS: Final = frozenset(("auth", "authorize", "deny", "ip_filter", "mcp", "plugins", "rate_limit", "validate"))
"""Policies that refuse requests: without one, more get through."""


def effect_of(key: str, old: Any, new: Any) -> Effect | None:
    """That of a policy whose settings were `old` and are `new`, None where it is off; None where it is neither."""
    if old is None or new is None:
        if key == "cors":  # it lets pages of other origins read responses
            return Effect.LOOSENED if old is None else Effect.TIGHTENED
        if key not in GUARDS:
            return None
        return Effect.TIGHTENED if old is None else Effect.LOOSENED
    compare = _COMPARE.get(key)
    return compare(old, new) if compare is not None else None


def _by_order(old: float, new: float) -> Effect | None:
    """More is looser."""
    if old == new:
        return None
    return Effect.LOOSENED if new > old else Effect.TIGHTENED


def _together(effects: Sequence[Effect | None]) -> Effect | None:
    """What all of them come to: nothing that can be said where some go one way and some the other."""
    found = {effect for effect in effects if effect is not None}
    return found.pop() if len(found) == 1 else None


def _auth(old: Any, new: Any) -> Effect | None:
    if old.optional != new.optional:
        return Effect.LOOSENED if new.optional else Effect.TIGHTENED
    return _by_inclusion(_ways(old), _ways(new))


def _ways(auth: Any) -> set[str]:
    """How callers may show who they are: any of these is enough."""
    names = ("jwt", "api_key", "basic", "introspection", "client_certificate", "forward")
    return {name for name in names if getattr(auth, name) is not None}


def _by_inclusion(old: set[str], new: set[str]) -> Effect | None:
    """More alternatives are looser."""
    if old == new or not (old < new or new < old):
        return None
    return Effect.LOOSENED if old < new else Effect.TIGHTENED


def _rate_limit(old: Any, new: Any) -> Effect | None:
    before, after = _limits(old), _limits(new)
    effects: list[Effect | None] = []
    for name in {**before, **after}:
        if name not in before or name not in after:
            effects.append(Effect.TIGHTENED if name in after else Effect.LOOSENED)
        else:
            effects += _of_limit(before[name], after[name])
    return _together(effects)


def _limits(settings: Any) -> Mapping[str, Any]:
    """Several limits by their names, or by what they count by."""
    several = settings if isinstance(settings, (list, tuple)) else [settings]
    return {str(each.name or each.by): each for each in several}


def _of_limit(old: Any, new: Any) -> list[Effect | None]:
    if old.enforce != new.enforce:
        return [Effect.TIGHTENED if new.enforce else Effect.LOOSENED]
    before, after = old.numbers, new.numbers
    effects: list[Effect | None] = []
    for name in {**before, **after}:
        if name not in before or name not in after:
            effects.append(Effect.TIGHTENED if name in after else Effect.LOOSENED)
        else:
            effects.append(_by_order(before[name], after[name]))
    return effects


def _ip_filter(old: Any, new: Any) -> Effect | None:
    looser = _covers(new.allow, old.allow, empty=True) and _covers(old.deny, new.deny, empty=False)
    tighter = _covers(old.allow, new.allow, empty=True) and _covers(new.deny, old.deny, empty=False)
    if looser == tighter:
        return None
    return Effect.LOOSENED if looser else Effect.TIGHTENED


def _covers(wide: Sequence[Network], narrow: Sequence[Network], *, empty: bool) -> bool:
    """Whether all of `narrow` is in `wide`; no network at all is every address where `empty`, else none."""
    if not wide:
        return empty or not narrow
    if not narrow:
        return not empty
    return all(any(_within(each, other) for other in wide) for each in narrow)


def _within(inner: Any, outer: Any) -> bool:
    return bool(inner.version == outer.version and inner.subnet_of(outer))


def _cors(old: Any, new: Any) -> Effect | None:
    effects = [
        _by_words(old.allow_origins, new.allow_origins),
        _by_words(old.allow_methods, new.allow_methods),
        _by_words(old.allow_headers, new.allow_headers),
        _by_order(old.allow_credentials, new.allow_credentials),
    ]
    return _together(effects)


def _by_words(old: Sequence[str], new: Sequence[str]) -> Effect | None:
    before, after = set(old), set(new)
    if ("*" in before) != ("*" in after):
        return Effect.LOOSENED if "*" in after else Effect.TIGHTENED
    return _by_inclusion(before, after)


_COMPARE: Final[dict[str, Callable[[Any, Any], Effect | None]]] = {
    "auth": _auth,
    "cors": _cors,
    "ip_filter": _ip_filter,
    "rate_limit": _rate_limit,
}
