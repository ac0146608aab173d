"""The matchers of Traefik's rules, of versions 2 and 3: an alternative for each argument, where any of them will do."""

from __future__ import annotations

import re
from typing import Final

from portico.imports.order import literal
from portico.imports.patterns import translated, why_not, without_names
from portico.imports.traefik.conditions import Conditions, PathKind, RuleError, Unsaid

_LABEL: Final = re.compile(r"\{([\w-]*)(?::((?:[^{}]|\{[^{}]*\})*))?\}")
"""A part of a path or a host in the rules of Traefik 2."""


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
        pieces.append(literal(text[at : label.start()]))
        pieces.append(f"(?:{label[2] or default})")
        at = label.end()
    pieces.append(literal(text[at:]))
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


MATCHERS: Final = {
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
