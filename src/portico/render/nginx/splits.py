"""A split as `split_clients`, and a map for the requests that say themselves which side they take."""

from __future__ import annotations

from collections.abc import Mapping

from portico.config import ResolvedRoute
from portico.config.problems import KeyPath
from portico.config.split import SplitChoice
from portico.render.nginx.denying import expression_of
from portico.render.nginx.names import Names
from portico.render.nginx.text import pattern


def sides(names: Names, route: ResolvedRoute, targets: Mapping[str, str]) -> str:
    """The variable with the location of the side that a request takes; `targets` are those, by the sides' names."""
    split = route.split
    assert split is not None
    at = route.source
    key = "$request_id"
    if split.sticky is not None:
        if split.sticky.by == "client_ip":
            key = "$remote_addr"
        elif split.sticky.header is not None:
            key = "$http_" + split.sticky.header.lower().replace("-", "_")
        else:
            names.losses.add((*at, "sticky"), "nginx keeps no client at its side by this; each request takes its own")
    if split.canary is not None:
        names.losses.add((*at, "canary"), "nginx moves no weights: they stay as they begin")
    total = sum(side.weight for side in split.sides)
    weighted = [side for side in split.sides if side.weight > 0]
    lines = [f"{percent(names, at, side.weight / total)} {targets[side.label]};" for side in weighted[:-1]]
    lines.append(f"* {targets[weighted[-1].label]};")
    shared = names.split(f"side_of_{route.name}", key, lines)
    rules: list[str] = []
    sources: list[str] = []
    for side in split.sides:
        said = [*((f"$http_{name.lower().replace('-', '_')}", value) for name, value in side.headers.items())]
        said += [(f"$cookie_{name}", value) for name, value in side.cookies.items()]
        for source, condition in said:
            test = names.map("says", source, [f"{pattern(expression_of(condition))} 1;", "default 0;"])
            rules.append(f"{pattern('~^' + '.' * len(sources) + '1')} {targets[side.label]};")
            sources.append("${" + test.removeprefix("$") + "}")
    if not rules:
        return shared
    return names.map(f"chosen_of_{route.name}", '"' + "".join(sources) + '"', [*rules, f"default {shared};"])


def percent(names: Names, at: KeyPath, share: float) -> str:
    """A share of all requests, which is not 0."""
    hundredths = round(10_000 * share)
    if hundredths == 0:
        names.losses.add(at, "nginx has no smaller share than 0.01 %")
    return f"{max(hundredths, 1) / 100:.2f}%"


def varying(split: SplitChoice) -> list[str]:
    """The fields of requests on which the side depends."""
    found = {name: None for side in split.sides for name in side.headers}
    if split.sticky is not None and split.sticky.header is not None:
        found[split.sticky.header] = None
    if any(side.cookies for side in split.sides):
        found["Cookie"] = None
    return list(found)
