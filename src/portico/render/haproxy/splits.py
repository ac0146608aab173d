"""Which side of a split takes a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from portico.config import ResolvedRoute
from portico.render.haproxy.conditions import meets
from portico.render.haproxy.names import Names
from portico.render.haproxy.text import equals

_WHOLE: Final = 1_000_000


def sides(names: Names, route: ResolvedRoute, targets: Mapping[str, str]) -> Iterator[str]:
    """The lines that choose among `targets`, the sections of the sides by their names."""
    split = route.split
    assert split is not None
    is_this = equals("var(txn.route)", route.name)
    for side in split.sides:
        said = [*((f"req.fhdr({name})", value) for name, value in side.headers.items())]
        said += [(f"req.cook({name})", value) for name, value in side.cookies.items()]
        for source, condition in said:
            test = f"{{ {source} -m found }}" if condition is True else meets(source, str(condition))
            yield f"http-request set-var(txn.route) str({targets[side.label]}) if {is_this} {test}"
    if split.canary is not None:
        names.losses.add((*route.source, "canary"), "HAProxy moves no weights: they stay as they begin")
    yield f"http-request set-var(txn.share) rand({_WHOLE}) if {is_this}"
    if source := _known_by(names, route):
        yield f"http-request set-var(txn.share) {source},xxh32,mod({_WHOLE}) if {is_this} {{ {source} -m found }}"
    total = sum(side.weight for side in split.sides)
    weighted = [side for side in split.sides if side.weight > 0]
    reached = 0.0
    for side in weighted[:-1]:
        reached += side.weight
        limit = round(_WHOLE * reached / total)
        test = f"{{ var(txn.share) -m int lt {limit} }}"
        yield f"http-request set-var(txn.route) str({targets[side.label]}) if {is_this} {test}"
    yield f"http-request set-var(txn.route) str({targets[weighted[-1].label]}) if {is_this}"


def _known_by(names: Names, route: ResolvedRoute) -> str:
    """What a client is known by again; nothing where each request takes a side of its own."""
    sticky = route.split.sticky if route.split is not None else None
    if sticky is None:
        return ""
    if sticky.by == "client_ip":
        return "src"
    if sticky.header is not None:
        return f"req.fhdr({sticky.header})"
    names.losses.add((*route.source, "sticky"), "HAProxy keeps no client at its side by this; each request has its own")
    return ""
