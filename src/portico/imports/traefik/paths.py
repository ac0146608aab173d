"""What a chain of middlewares makes of the paths of a route."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from portico.imports.order import Matching, literal
from portico.imports.patterns import translated, why_not, with_names, without_names
from portico.imports.traefik.effect import PathStep

_GO_GROUP: Final = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the routes that a route with these middlewares is: where only a part of its paths is changed, two."""

    matching: Matching
    rewrite: str
    """What is written of it; empty where that holds anyway."""


def variants(matching: Matching, steps: Sequence[PathStep]) -> list[Variant]:
    """The routes, the more specific first. Raises ValueError for what cannot be said."""
    if any(step.kind in ("strip_pattern", "replace_pattern") for step in steps):
        return _by_pattern(matching, steps)
    if matching.kind == "pattern":
        return [_of_pattern(matching, steps)]
    found = []
    if matching.kind == "prefix":
        for prefix in (step.text for step in steps if step.kind == "strip"):
            deeper = "/" + prefix.strip("/")
            if deeper != matching.prefix and deeper.startswith(matching.prefix.rstrip("/") + "/"):
                inner = _copy(matching, "prefix", deeper)
                found.append(Variant(inner, _rewrite(inner, steps)))
    return [*found, Variant(matching, _rewrite(matching, steps))]


def _copy(matching: Matching, kind: str, path: str, *, ignores_case: bool = False) -> Matching:
    return Matching(
        kind,  # type: ignore[arg-type]
        path,
        ignores_case,
        matching.hosts,
        matching.conditions,
        matching.has_methods,
        matching.guard,
        matching.target,
    )


def _rewrite(matching: Matching, steps: Sequence[PathStep]) -> str:
    """The steps applied to the part of the path that is known: the prefix, or all of it."""
    start = matching.path if matching.kind == "exact" else matching.prefix
    head, rest = start, matching.kind == "prefix"
    stripped = False
    for step in steps:
        if step.kind == "strip":
            prefix = step.text.rstrip("/") or "/"
            beyond = head[len(prefix) :]
            if not stripped and prefix != "/" and head.startswith(prefix) and (not beyond or beyond.startswith("/")):
                head, stripped = beyond or "/", True
        elif step.kind == "add":
            head = f"/{step.text.strip('/')}{head if head != '/' or not rest else ''}" if step.text.strip("/") else head
        else:
            head, rest = step.text or "/", False
    if head == start and rest == (matching.kind == "prefix"):
        return "keep" if rest and head != "/" else ""
    if not rest:
        return head
    return "" if head == "/" else f"{head.rstrip('/')}/{{path}}"


def _of_pattern(matching: Matching, steps: Sequence[PathStep]) -> Variant:
    """Of a pattern, a prefix goes that it begins with."""
    rewrite, pattern = "", matching.path
    for step in steps:
        if step.kind == "replace":
            rewrite = step.text or "/"
        elif step.kind == "add":
            rewrite = f"/{step.text.strip('/')}{rewrite or '/{path}'}"
        elif not rewrite:
            prefix = literal(step.text.rstrip("/"))
            if not pattern.startswith(f"^{prefix}/"):
                raise ValueError(f"{step.text} is taken off paths that begin otherwise")
            rest = pattern[len(prefix) + 2 :]
            inner = rest[:-1] if rest.endswith("$") and not rest.endswith("\\$") else f"{rest}.*"
            pattern, rewrite = f"^{prefix}/(?P<rest>{inner})$", "/{rest}"
        else:
            raise ValueError("a prefix is taken off a path that has been changed")
    if why := why_not(pattern, ignores_case=matching.ignores_case):
        raise ValueError(why)
    return Variant(_copy(matching, "pattern", pattern, ignores_case=matching.ignores_case), rewrite)


def _by_pattern(matching: Matching, steps: Sequence[PathStep]) -> list[Variant]:
    """One step with a pattern of its own: paths that it does not take are left as they are."""
    if len(steps) > 1:
        raise ValueError("several changes of the path, one by a pattern")
    step = steps[0]
    pattern, ignores_case = translated(step.text)
    if step.kind == "strip_pattern" and not pattern.startswith("^"):
        pattern = f"^{pattern}"
    if not _within(pattern, matching):
        raise ValueError(f"{step.text} is a pattern of other paths than the route takes")
    if step.kind == "strip_pattern":
        body = without_names(pattern.removeprefix("^").removesuffix("$"), set()).rstrip("/")
        whole, rewrite = f"^{body}(?:/(?P<rest>.*)|$)", "/{rest}"
    else:
        whole, rewrite = _replacement(pattern, step.by)
    if why := why_not(whole, ignores_case=ignores_case):
        raise ValueError(why)
    changed = Variant(_copy(matching, "pattern", whole, ignores_case=ignores_case), rewrite)
    same = Variant(matching, "keep" if matching.kind == "prefix" and matching.prefix != "/" else "")
    covers = matching.kind == "pattern" and matching.path == pattern
    return [changed] if covers else [changed, same]


def _within(pattern: str, matching: Matching) -> bool:
    """Whether a pattern takes no other paths than a route does."""
    if matching.kind == "pattern":
        return re.sub(r"[()]", "", pattern).startswith(matching.path) and "|" not in pattern
    if not pattern.startswith("^"):
        return False
    return matching.kind == "prefix" and (
        matching.prefix == "/" or pattern.replace("\\", "").startswith(f"^{matching.prefix}")
    )


def _replacement(pattern: str, by: str) -> tuple[str, str]:
    """A pattern with names for what `by` refers to, and the rewrite. A pattern of a part of the path has to be all."""
    if not pattern.startswith("^") or not (pattern.endswith("$") or re.search(r"\.[*+]\)?$", pattern)):
        raise ValueError(f"{pattern} is a pattern of a part of the path")
    used: set[str] = set()

    def name(found: re.Match[str]) -> str:
        key = found[1] or found[2]
        if key is None:
            return "$"
        own = f"g{key}" if key.isdigit() else key
        used.add(own)
        return f"{{{own}}}"

    rewrite = _GO_GROUP.sub(name, by)
    named = without_names(with_names(pattern), used)
    if missing := [each for each in used if f"<{each}>" not in named]:
        raise ValueError(f"{by}: {pattern} captures no {missing[0].removeprefix('g')}")
    return named, rewrite if rewrite.startswith("/") else f"/{rewrite}"


def takes_all_paths(pattern: str) -> bool:
    """Whether a `redirectRegex` is about hosts alone: what it takes of them, it takes whatever the path is."""
    after = re.sub(r"^\^?(?:https?\??|\(https?\|https?\)|\.[*+])?:?(?:\\?/){2}", "", pattern)
    host, slash, path = after.replace("\\/", "/").partition("/")
    return (not slash and bool(host)) or re.fullmatch(r"\(?\.?[*+?]*\)?\??\$?", path) is not None


def redirect_of(matching: Matching, pattern: str, by: str) -> tuple[list[str], Matching, str]:
    """`redirectRegex`: the hosts and paths that it takes, and where to. Raises ValueError for what cannot be said."""
    text, _ = translated(pattern)
    found = re.fullmatch(r"\^?https?\??(?:\(s\)\?)?:(?:\\?/){2}(?P<rest>.*)", text.replace("(http|https)", "https"))
    if found is None:
        raise ValueError("a pattern of URLs begins with ^https?://")
    rest = found["rest"].replace("\\/", "/")
    host, slash, path = rest.partition("/")
    named_host = re.fullmatch(r"(?:\(\?:www\\\.\)\?|\(www\\\.\)\?)?((?:[\w-]|\\?\.)+)", host)
    if named_host is None or (host.startswith("(w") and re.search(r"\$\{?[1-9]", by)):
        raise ValueError("its host is no plain name: write a route with redirect, whose to may have {host}")
    name = named_host[1].replace("\\", "")
    hosts = [name, f"www.{name}"] if host.startswith("(") else [name]
    if matching.kind != "prefix" or matching.prefix != "/":
        raise ValueError("it is for some paths of the router alone: write a route for them with redirect")
    body = f"^/{path}" if slash else "^/"
    used: set[str] = set()

    def group(match: re.Match[str]) -> str:
        key = match[1] or match[2]
        if key is None:
            return "$"
        used.add(f"g{key}" if key.isdigit() else key)
        return f"{{{f'g{key}' if key.isdigit() else key}}}"

    to = _GO_GROUP.sub(group, by)
    named = without_names(with_names(body), used)
    if why := why_not(named):
        raise ValueError(why)
    if missing := [each for each in used if f"<{each}>" not in named]:
        raise ValueError(f"{by}: the path captures no {missing[0].removeprefix('g')}")
    return hosts, _copy(matching, "pattern", named), to
