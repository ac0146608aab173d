"""Traefik's rules: read, and taken apart into the routes that together take the same requests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final, Literal, TypeAlias

from portico.imports.patterns import translated, why_not, without_names

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<mark>&&|\|\||[!(),])|(?P<name>[A-Za-z]\w*)|`(?P<raw>[^`]*)`|\"(?P<text>(?:[^\"\\]|\\.)*)\"|(?P<wrong>\S))"
)
_MOST: Final = 64
"""Routes that one rule may become."""
_DEEPEST: Final = 50
_LABEL: Final = re.compile(r"\{([\w-]*)(?::((?:[^{}]|\{[^{}]*\})*))?\}")
"""A part of a path or a host in the rules of Traefik 2."""


class RuleError(Exception):
    """A rule that Traefik would not read."""


class Unsaid(Exception):  # noqa: N818 - it is no error of the rule
    """A rule that there are no words for here."""


PathKind: TypeAlias = Literal["prefix", "exact", "pattern"]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a route asks for, all of it. `path` is None where every path will do; a host pattern is a field of its own.

    `notes` says what is not quite the same.
    """

    path: tuple[PathKind, str, bool] | None = None
    hosts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, Any], ...] = ()
    networks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    excluded: tuple[tuple[PathKind, str], ...] = ()
    """Prefixes and paths that it leaves to others."""


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Not:
    part: _Tree


@dataclass(frozen=True, slots=True)
class _Both:
    parts: tuple[_Tree, ...]


@dataclass(frozen=True, slots=True)
class _Either:
    parts: tuple[_Tree, ...]


_Tree: TypeAlias = "_Call | _Not | _Both | _Either"
_Token: TypeAlias = tuple[str, str]


def read_rule(text: str) -> list[Conditions]:
    """The routes that a rule is. Raises RuleError for none, and Unsaid for one that there are no words for."""
    reader = _Reader(_tokens(text))
    tree = reader.either(0)
    if reader.next() != ("", ""):
        raise RuleError(f"unexpected {reader.next()[1]}")
    return _joined(_alternatives(tree, negated=False))


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or token["wrong"]:
            raise RuleError(f"unexpected {text[at : at + 10].strip()}")
        at = token.end()
        if token["raw"] is not None:
            found.append(("text", token["raw"]))
        elif token["text"] is not None:
            found.append(("text", re.sub(r"\\(.)", r"\1", token["text"])))
        elif token["name"]:
            found.append(("name", token["name"]))
        else:
            found.append(("mark", token["mark"]))
    return found


@dataclass(slots=True)
class _Reader:
    tokens: list[_Token]
    at: int = 0

    def next(self) -> _Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("", "")

    def take(self, mark: str) -> bool:
        found = self.next() == ("mark", mark)
        self.at += found
        return found

    def either(self, depth: int) -> _Tree:
        parts = [self.both(depth)]
        while self.take("||"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else _Either(tuple(parts))

    def both(self, depth: int) -> _Tree:
        parts = [self.one(depth)]
        while self.take("&&"):
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else _Both(tuple(parts))

    def one(self, depth: int) -> _Tree:
        if depth > _DEEPEST:
            raise RuleError(f"nested more than {_DEEPEST} deep")
        if self.take("!"):
            return _Not(self.one(depth + 1))
        if self.take("("):
            inner = self.either(depth + 1)
            if not self.take(")"):
                raise RuleError("a ( without its )")
            return inner
        kind, name = self.next()
        if kind != "name":
            raise RuleError("it ends where a condition should follow" if not kind else f"unexpected {name}")
        self.at += 1
        return _Call(name, self.arguments(name))

    def arguments(self, name: str) -> tuple[str, ...]:
        if not self.take("("):
            raise RuleError(f"{name} without its arguments")
        found = []
        while not self.take(")"):
            kind, text = self.next()
            if kind != "text":
                raise RuleError(f"the arguments of {name} stand in backticks, one after the other")
            self.at += 1
            found.append(text)
            if not self.take(",") and self.next() != ("mark", ")"):
                raise RuleError(f"{name}( without its )")
        return tuple(found)


def _alternatives(tree: _Tree, *, negated: bool) -> list[Conditions]:
    if isinstance(tree, _Not):
        return _alternatives(tree.part, negated=not negated)
    if isinstance(tree, _Call):
        return [_excluded(tree)] if negated else _conditions(tree)
    parts = [_alternatives(part, negated=negated) for part in tree.parts]
    if isinstance(tree, _Either) is not negated:
        return _few(found for part in parts for found in part)
    combined = [Conditions()]
    for part in parts:
        combined = _few(both for pair in product(combined, part) if (both := _and(*pair)) is not None)
    return combined


def _excluded(call: _Call) -> Conditions:
    """What a path must not be."""
    paths = [each.path for each in _conditions(call)]
    if call.name not in ("Path", "PathPrefix") or any(path is None or path[0] == "pattern" for path in paths):
        raise Unsaid(f"!{call.name} asks for what is not so")
    return Conditions(excluded=tuple((path[0], path[1]) for path in paths if path is not None))


def _few(found: Iterable[Conditions]) -> list[Conditions]:
    alternatives = []
    for each in found:
        alternatives.append(each)
        if len(alternatives) > _MOST:
            raise Unsaid(f"it would be more than {_MOST} routes")
    return alternatives


def _conditions(call: _Call) -> list[Conditions]:
    """What one matcher asks for: an alternative for each argument, where any of them will do."""
    matcher = _MATCHERS.get(call.name)
    if matcher is None:
        raise RuleError(f"there is no matcher {call.name}")
    if not call.arguments:
        raise RuleError(f"{call.name} without an argument")
    return matcher(call.arguments)


# ---- matchers


def _hosts(arguments: tuple[str, ...]) -> list[Conditions]:
    return [_host(host.strip().lower().rstrip(".")) for host in arguments]


def _host(host: str) -> Conditions:
    if host == "*":
        return Conditions()
    if host.startswith("*."):
        return Conditions(hosts=(host,), notes=(f"{host} also takes what is further below",))
    return Conditions(hosts=(host,))


_ANY_LABEL: Final = re.compile(r"(?:\(\?:|\()?(?:\.[+*]|\[[^\]]+\][+*]|\\w\+|\[\^\.\]\+)\)?")


def _host_patterns(arguments: tuple[str, ...]) -> list[Conditions]:
    return [_host_pattern(text) for text in arguments]


def _host_pattern(text: str) -> Conditions:
    pattern, _ = translated(_of_labels(text, "[^.]+") if "{" in text and _LABEL.search(text) else text)
    body = pattern.removeprefix("^").removesuffix("$")
    if re.fullmatch(r"\(?\.[+*]\)?", body):
        return Conditions()
    anchored = pattern.startswith("^") and pattern.endswith("$")
    if anchored and re.fullmatch(r"(?:[\w-]|\\\.)+", body):
        return Conditions(hosts=(body.replace("\\", ""),))
    below = re.fullmatch(r"(.+?)\\\.((?:[\w-]|\\\.)+)", body)
    if below and pattern.endswith("$") and _ANY_LABEL.fullmatch(below[1]):
        host = f"*.{below[2].replace(chr(92), '')}"
        note = () if below[1].strip("()") in (".+", ".*") else (f"{text} is {host}: all that is below",)
        return Conditions(hosts=(host,), notes=note)
    condition = f"{pattern[:-1]}(:[0-9]+)?$" if pattern.endswith("$") else pattern
    if why := why_not(condition, is_path=False, ignores_case=True):
        raise Unsaid(f"HostRegexp(`{text}`): {why}")
    return Conditions(headers=(("Host", f"~* {condition}"),))


def _of_labels(text: str, default: str) -> str:
    """A path or host of Traefik 2 with `{name:pattern}` in it, as a pattern."""
    pieces, at = [], 0
    for label in _LABEL.finditer(text):
        pieces.append(re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", text[at : label.start()]))
        pieces.append(f"(?:{label[2] or default})")
        at = label.end()
    pieces.append(re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", text[at:]))
    return f"^{''.join(pieces)}$"


def _path(kind: PathKind, text: str) -> Conditions:
    if not text.startswith("/"):
        raise RuleError(f"{text} is no path: it begins with /")
    if _LABEL.search(text):
        pattern = _of_labels(text, "[^/]+")
        return _path_pattern(pattern if kind == "exact" else pattern.removesuffix("$"))
    encoded = "".join(
        each if "!" <= each <= "~" else "".join(f"%{byte:02X}" for byte in each.encode()) for each in text
    )
    return Conditions(path=(kind, encoded, False))


def _paths(arguments: tuple[str, ...]) -> list[Conditions]:
    return [_path("exact", text) for text in arguments]


def _prefixes(arguments: tuple[str, ...]) -> list[Conditions]:
    return [_path("prefix", text) for text in arguments]


def _path_patterns(arguments: tuple[str, ...]) -> list[Conditions]:
    return [_path_pattern(text) for text in arguments]


def _path_pattern(text: str) -> Conditions:
    pattern, ignores_case = translated(text)
    pattern = without_names(pattern, set())
    if why := why_not(pattern, ignores_case=ignores_case):
        raise Unsaid(f"{text}: {why}")
    return Conditions(path=("pattern", pattern, ignores_case))


def _methods(arguments: tuple[str, ...]) -> list[Conditions]:
    return [Conditions(methods=tuple(method.upper() for method in arguments))]


def _header(arguments: tuple[str, ...]) -> list[Conditions]:
    name, value = _pair("Header", arguments)
    return [Conditions(headers=((name, value),))]


def _header_pattern(arguments: tuple[str, ...]) -> list[Conditions]:
    name, value = _pair("HeaderRegexp", arguments)
    return [Conditions(headers=((name, _value_pattern(value)),))]


def _query(arguments: tuple[str, ...]) -> list[Conditions]:
    if len(arguments) == 2 and "=" not in arguments[0]:
        return [Conditions(query=(arguments,))]
    pairs = [text.partition("=") for text in arguments]  # as Traefik 2 has it
    return [Conditions(query=tuple((name, value if mark else _empty(name)) for name, mark, value in pairs))]


def _empty(name: str) -> str:  # noqa: ARG001
    return "~ ^$"


def _query_pattern(arguments: tuple[str, ...]) -> list[Conditions]:
    if len(arguments) == 1:
        return _query(arguments)
    name, value = _pair("QueryRegexp", arguments)
    return [Conditions(query=((name, True if value in ("^.*$", ".*") else _value_pattern(value)),))]


def _client(arguments: tuple[str, ...]) -> list[Conditions]:
    return [Conditions(networks=arguments)]


def _pair(name: str, arguments: tuple[str, ...]) -> tuple[str, str]:
    if len(arguments) != 2:
        raise RuleError(f"{name} has two arguments")
    return arguments[0], arguments[1]


def _value_pattern(text: str) -> str:
    pattern, ignores_case = translated(text)
    if why := why_not(pattern, is_path=False, ignores_case=ignores_case):
        raise Unsaid(f"{text}: {why}")
    return f"{'~*' if ignores_case else '~'} {pattern}"


_MATCHERS: Final = {
    "Host": _hosts,
    "HostHeader": _hosts,
    "HostRegexp": _host_patterns,
    "Path": _paths,
    "PathPrefix": _prefixes,
    "PathRegexp": _path_patterns,
    "Method": _methods,
    "Methods": _methods,
    "Header": _header,
    "Headers": _header,
    "HeaderRegexp": _header_pattern,
    "HeadersRegexp": _header_pattern,
    "Query": _query,
    "QueryRegexp": _query_pattern,
    "ClientIP": _client,
}


# ---- conditions put together


def _and(first: Conditions, second: Conditions) -> Conditions | None:
    """Both; None where nothing meets both."""
    hosts = first.hosts or second.hosts
    if first.hosts and second.hosts:
        hosts = tuple(host for host in first.hosts if host in second.hosts)
        if not hosts:
            return None
    methods = first.methods or second.methods
    if first.methods and second.methods:
        methods = tuple(method for method in first.methods if method in second.methods)
        if not methods:
            return None
    path = _both_paths(first.path, second.path)
    if path == "none":
        return None
    headers, query = dict(first.headers), dict(first.query)
    for found, more in ((headers, second.headers), (query, second.query)):
        for name, value in more:
            if found.get(name, value) != value:
                raise Unsaid(f"two conditions for {name}")
            found[name] = value
    if first.networks and second.networks:
        raise Unsaid("two conditions for the address of clients")
    return Conditions(
        path,
        hosts,
        methods,
        tuple(headers.items()),
        tuple(query.items()),
        first.networks or second.networks,
        (*first.notes, *second.notes),
        (*first.excluded, *second.excluded),
    )


_Path: TypeAlias = "tuple[PathKind, str, bool] | None"


def _both_paths(first: _Path, second: _Path) -> _Path | Literal["none"]:
    if first is None or second is None or first == second:
        return first or second
    if "pattern" in (first[0], second[0]):
        for pattern, other in ((first, second), (second, first)):
            if other[0] == "prefix" and pattern[1].replace("\\", "").startswith(f"^{other[1]}"):
                return pattern
        raise Unsaid("a pattern beside another condition for the path")
    longer, shorter = sorted((first, second), key=lambda path: len(path[1]), reverse=True)
    if shorter[0] == "exact" or not longer[1].startswith(shorter[1]):
        return "none"
    return longer


def _joined(found: list[Conditions]) -> list[Conditions]:
    """Those that differ in hosts alone, or in methods alone, are one."""
    by_rest: dict[Conditions, list[Conditions]] = {}
    for each in dict.fromkeys(found):
        by_rest.setdefault(replace(each, hosts=(), notes=()), []).append(each)
    one: dict[Conditions, list[Conditions]] = {}
    for rest, group in by_rest.items():
        any_host = any(not each.hosts for each in group)
        hosts = () if any_host else tuple(dict.fromkeys(host for each in group for host in each.hosts))
        notes = tuple(dict.fromkeys(note for each in group for note in each.notes))
        whole = replace(rest, hosts=hosts, notes=notes)
        one.setdefault(replace(whole, methods=(), notes=()), []).append(whole)
    joined = []
    for rest, group in one.items():
        any_method = any(not each.methods for each in group)
        methods = () if any_method else tuple(dict.fromkeys(method for each in group for method in each.methods))
        notes = tuple(dict.fromkeys(note for each in group for note in each.notes))
        joined.append(replace(rest, methods=methods, notes=notes))
    return joined
