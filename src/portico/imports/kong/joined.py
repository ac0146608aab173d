"""What Kong needs two of, and Portico one: services with several paths, a prefix and its bare form, kinds of hosts."""

from __future__ import annotations

import re
from typing import Any, Final

from portico.imports.draft import Draft, Part

_NUMBERED: Final = re.compile(r"(.+)-\d+")


def same_services(services: dict[str, Part]) -> dict[str, str]:
    """Services that are numbered after one with the same instances and treatment, with that one's name."""
    found = {}
    for name, part in services.items():
        first = _NUMBERED.fullmatch(name)
        if first and first[1] in services and services[first[1]].data == part.data:
            found[name] = first[1]
    return found


def join_routes(draft: Draft) -> None:
    """Leave out routes that are numbered after another one which takes the same and does the same with it."""
    named = {part.data["name"]: part for part in draft.routes}
    gone = []
    for part in draft.routes:
        first = _NUMBERED.fullmatch(part.data["name"])
        other = named.get(first[1]) if first else None
        if other is None or part.comments:
            continue
        if _is_bare_form(other.data, part.data):
            gone.append(part)
        elif _has_other_hosts(other.data, part.data):
            other.data["hosts"] = [*other.data["hosts"], *part.data["hosts"]]
            gone.append(part)
    draft.routes = [part for part in draft.routes if not any(part is each for each in gone)]


def _without(data: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in ("name", *keys)}


def _is_bare_form(prefix: dict[str, Any], exact: dict[str, Any]) -> bool:
    """Whether an exact route sends a prefix where the prefix's own route sends it anyway."""
    path = prefix["path"]
    if exact["path"] != f"= {path}" or _without(prefix, "path", "rewrite") != _without(exact, "path", "rewrite"):
        return False
    rewrite = prefix.get("rewrite", "/{path}")
    bare = path if rewrite == "keep" else rewrite.replace("{path}", "")
    return bool(bare == exact.get("rewrite", path))


def _has_other_hosts(first: dict[str, Any], second: dict[str, Any]) -> bool:
    is_pattern = first["path"].startswith("~")
    return (
        not is_pattern
        and "hosts" in first
        and "hosts" in second
        and _without(first, "hosts") == _without(second, "hosts")
    )
