"""How a Gateway chooses a rule and rewrites a path, by the words of the Gateway API: written apart from what renders.

Where the API leaves the order to implementations, an expression stands between exact paths and prefixes. A host has no
rules but those of its most specific hostname.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import yaml


@dataclass(frozen=True)
class Found:
    """The rule that takes a request, and the path that its backend gets."""

    rule: Mapping[str, Any]
    path: str
    is_sure: bool
    """Whether no other rule comes as early."""

    @property
    def redirect(self) -> Mapping[str, Any] | None:
        return next((each["requestRedirect"] for each in filters(self.rule) if "requestRedirect" in each), None)

    @property
    def is_closed(self) -> bool:
        return [each["name"] for each in self.rule.get("backendRefs", ())] == ["portico-closed"]


def filters(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(rule.get("filters", ()))


class Gateway:
    """A Gateway that has read a file."""

    def __init__(self, text: str) -> None:
        self.resources = [each for each in yaml.safe_load_all(text) if each is not None]
        self.routes = sorted(
            (each for each in self.resources if each["kind"] == "HTTPRoute"),
            key=lambda each: str(each["metadata"]["name"]),
        )

    def asked(self, method: str, target: str, host: str, fields: Mapping[str, str]) -> Found | None:
        """The rule for a request, by the names of fields in lower case; None for 404."""
        path, _, query = target.partition("?")
        name = host.partition(":")[0].lower()
        ranks = {id(route): rank for route in self.routes if (rank := _host_rank(route, name)) is not None}
        if not ranks:
            return None
        best = max(ranks.values())
        found = []
        for route in self.routes:
            if ranks.get(id(route)) == best:
                for rule in route["spec"]["rules"]:
                    found += [(key, rule, match) for key, match in _fitting(rule, method, path, query, fields)]
        if not found:
            return None
        first = max(key for key, _, _ in found)
        among = [(rule, match) for key, rule, match in found if key == first]
        rule, match = among[0]
        return Found(rule, _sent(rule, match, path), first[0] != 1)


def _host_rank(route: Mapping[str, Any], host: str) -> tuple[int, int] | None:
    hostnames = route["spec"].get("hostnames")
    if not hostnames:
        return (0, 0)
    ranks = [
        (0, len(each)) if each.startswith("*.") else (1, len(each))
        for each in hostnames
        if each == host or (each.startswith("*.") and host.endswith(each[1:]))
    ]
    return max(ranks, default=None)


def _fitting(
    rule: Mapping[str, Any], method: str, path: str, query: str, fields: Mapping[str, str]
) -> Iterator[tuple[tuple[int, ...], Mapping[str, Any]]]:
    parameters = dict(reversed(parse_qsl(query, keep_blank_values=True)))
    for match in rule.get("matches", [{"path": {"type": "PathPrefix", "value": "/"}}]):
        place = _place(match["path"], path)
        headers, params = match.get("headers", []), match.get("queryParams", [])
        if (
            place is not None
            and match.get("method", method) == method
            and all(_is_value(each, fields.get(each["name"].lower())) for each in headers)
            and all(_is_value(each, parameters.get(each["name"])) for each in params)
        ):
            yield (*place, "method" in match, len(headers), len(params)), match


def _place(written: Mapping[str, str], path: str) -> tuple[int, int] | None:
    kind, value = written["type"], written["value"]
    if kind == "Exact":
        return (2, 0) if path == value else None
    if kind == "RegularExpression":
        return (1, 0) if re.fullmatch(value, path) else None
    prefix = value.rstrip("/")
    return (0, len(value)) if path == prefix or path.startswith(prefix + "/") else None


def _is_value(written: Mapping[str, str], value: str | None) -> bool:
    if value is None:
        return False
    if written.get("type") == "RegularExpression":
        return re.fullmatch(written["value"], value) is not None
    return value == written["value"]


def _sent(rule: Mapping[str, Any], match: Mapping[str, Any], path: str) -> str:
    change = next((each["urlRewrite"].get("path") for each in filters(rule) if "urlRewrite" in each), None)
    if change is None:
        return path
    if change["type"] == "ReplaceFullPath":
        return str(change["replaceFullPath"])
    rest = path[len(match["path"]["value"].rstrip("/")) :]
    return change["replacePrefixMatch"].rstrip("/") + rest or "/"
