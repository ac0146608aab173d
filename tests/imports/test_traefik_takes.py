"""Routers made at random take the same requests here, which get the same path: by Traefik's rules, told anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imports.support import imported

HOSTS = st.sampled_from([(), ("x.test",), ("y.test",), ("x.test", "z.test")])
PATHS = st.sampled_from(
    [
        ("PathPrefix", "/"),
        ("PathPrefix", "/a"),
        ("PathPrefix", "/a/b"),
        ("Path", "/a"),
        ("Path", "/a/b"),
        ("PathRegexp", "^/a/[bc]$"),
        ("PathRegexp", "/c$"),
        ("PathRegexp", "^/[ab]/"),
    ]
)
ALTERNATIVES = st.tuples(HOSTS, PATHS, st.sampled_from(["", "POST"]))
ROUTERS = st.tuples(
    st.lists(ALTERNATIVES, min_size=1, max_size=2),
    st.sampled_from([0, 0, 0, 1, 50]),
    st.sampled_from(["", "/a", "/a/b"]),
)
REQUESTS = st.tuples(
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/a/c", "/b/c", "/c"]),
    st.sampled_from(["x.test", "y.test", "z.test", "other.example"]),
)


def rule(alternatives: list[Any]) -> str:
    return " || ".join(f"({_both(*each)})" for each in alternatives)


def _both(hosts: tuple[str, ...], path: tuple[str, str], method: str) -> str:
    parts = [f"{path[0]}(`{path[1]}`)"]
    if hosts:
        parts.append("(" + " || ".join(f"Host(`{host}`)" for host in hosts) + ")")
    return " && ".join([*parts, *([f"Method(`{method}`)"] if method else [])])


def takes(alternatives: list[Any], method: str, path: str, host: str) -> bool:
    return any(
        (not hosts or host in hosts) and own in ("", method) and _fits(kind, text, path)
        for hosts, (kind, text), own in alternatives
    )


def _fits(kind: str, text: str, path: str) -> bool:
    if kind == "Path":
        return path == text
    return path.startswith(text) if kind == "PathPrefix" else re.search(text, path) is not None


def stripped(path: str, prefix: str) -> str:
    return f"/{path[len(prefix) :].lstrip('/')}" if prefix and path.startswith(prefix) else path


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROUTERS, min_size=1, max_size=4), st.lists(REQUESTS, min_size=4, max_size=12))
def test_the_router_that_traefik_would_take(
    tmp_path: Path, routers: list[Any], requests: list[tuple[str, str, str]]
) -> None:
    written: dict[str, Any] = {}
    ranked = []
    for index, (alternatives, priority, prefix) in enumerate(routers):
        name = f"r{chr(97 + index)}"
        text = rule(alternatives)
        written[name] = {"rule": text, "service": "s", "middlewares": [f"m{prefix}"]}
        if priority:
            written[name]["priority"] = priority
        ranked.append((-(priority or len(text)), index, name, alternatives, prefix))
    prefixes = {f"m{prefix}": {"stripPrefix": {"prefixes": [prefix]}} for prefix in ("/a", "/a/b")}
    http = {
        "routers": written,
        "middlewares": {**prefixes, "m": {"compress": {}}},
        "services": {"s": {"loadBalancer": {"servers": [{"url": "http://s.internal"}]}}},
    }
    found = imported("traefik", tmp_path / "dynamic.yaml", yaml.safe_dump({"http": http}, sort_keys=False))
    for method, path, host in requests:
        fitting = (each for each in sorted(ranked, key=lambda each: each[:2]) if takes(each[3], method, path, host))
        expected = next(fitting, None)
        own = found.asked(f"{host}{path}", method)
        if expected is None:
            assert own is None
        else:
            assert own is not None
            if own[0].partition("-")[0] in found.closed() or own[0] in found.closed():
                continue  # a prefix is taken off that a pattern does not begin with
            name, sent = own[0].partition("-")[0], own[1].rstrip("/")  # a bare prefix gets a slash
            assert (name, sent) == (expected[2], stripped(path, expected[4]).rstrip("/"))
