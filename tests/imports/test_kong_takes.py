"""Routes of Kong made at random are taken here by the same requests, which get the same path: by a model of Kong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from imports.support import imported
from render.kong_model import Kong

PREFIXES = st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/b", "/a/c"])
PATTERNS = st.sampled_from(["~/a/[bc]$", "~/(?<x>[ab])/b", "~/a(/|$)", "~/b$", r"~/a/\w", "~/[ab]$"])
ROUTES = st.fixed_dictionaries(
    {"paths": st.lists(PREFIXES | PATTERNS, min_size=1, max_size=2, unique=True), "strip_path": st.booleans()},
    optional={
        "hosts": st.sampled_from([["x.test"], ["y.test"], ["*.test"], ["x.test", "z.test"]]),
        "methods": st.sampled_from([["POST"], ["PUT", "POST"]]),
        "headers": st.sampled_from([{"X-A": ["1"]}, {"X-A": ["1", "2"]}, {"X-B": ["7"]}]),
        "regex_priority": st.sampled_from([0, 5]),
    },
)
REQUESTS = st.tuples(
    st.sampled_from(["GET", "POST", "PUT"]),
    st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/a/c/d", "/b", "/b/b", "/c"]),
    st.sampled_from(["x.test", "y.test", "w.test", "other.example"]),
    st.sampled_from([{}, {"x-a": "1"}, {"x-a": "2", "x-b": "7"}]),
)


STRIPPED = {"paths": ["/a"], "strip_path": True, "hosts": ["x.test"], "headers": {"X-A": ["1"]}, "methods": ["POST"]}
KEPT = {"paths": ["/a"], "strip_path": False, "hosts": ["x.test"], "headers": {"X-A": ["1"]}}
LAST = [{"paths": ["~/a/[bc]$"], "strip_path": False}, {"paths": ["/a"], "strip_path": True, "hosts": ["x.test"]}]


@example([STRIPPED, KEPT, *LAST], [("GET", "/a", "x.test", {"x-a": "1"})])
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROUTES, min_size=1, max_size=5), st.lists(REQUESTS, min_size=4, max_size=12))
def test_the_route_that_kong_would_take(
    tmp_path: Path, routes: list[dict[str, Any]], requests: list[tuple[str, str, str, dict[str, str]]]
) -> None:
    named = [{"name": f"r{chr(97 + index)}", **route} for index, route in enumerate(routes)]
    services = [{"name": "s", "url": "http://s.internal", "routes": named}]
    sizes = {"name": "request-size-limiting", "config": {"allowed_payload_size": 10, "size_unit": "megabytes"}}
    text = yaml.safe_dump({"_format_version": "3.0", "services": services, "plugins": [sizes]}, sort_keys=False)
    kong = Kong(text)
    found = imported("kong", tmp_path / "kong.yaml", text)
    for method, path, host, fields in requests:
        expected = kong.asked(method, path, host, {name: [value] for name, value in fields.items()})
        assume(expected is None or not expected.others)
        own = found.asked(f"{host}{path}", method, **{name.replace("_", "-"): value for name, value in fields.items()})
        if expected is None:
            assert own is None
        else:
            assert own is not None
            assert (own[0].partition("-")[0], own[1]) == (expected.route["name"], expected.path)
