"""Routes in another system's order are written so that the same one wins here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from portico.core.messages import Fields
from portico.core.paths import segments_of
from portico.core.patterns.pattern import path_pattern
from portico.imports.order import Matching, settle
from portico.proxy.routing.router import Router, Rule

NOTHING = Fields([], [])
PATHS = st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/a/c"])
PATTERNS = st.sampled_from(["^/a/[bc]$", "^/[ab]", "^/a(/|$)", "^/b/x", "/c$", "^/a/b+/c"])
HOSTS = st.sampled_from([(), ("x.test",), ("y.test",), ("*.test",), ("x.test", "z.test")])


@st.composite
def matchings(draw: st.DrawFn) -> Matching:
    kind = draw(st.sampled_from(["prefix", "prefix", "exact", "pattern"]))
    path = draw(PATTERNS if kind == "pattern" else PATHS)
    has_methods = draw(st.booleans())
    return Matching(kind, path, hosts=draw(HOSTS), has_methods=has_methods)  # type: ignore[arg-type]


def takes(matching: Matching, path: str, host: str, method: str) -> bool:
    """Whether a route takes a request, of prefixes by whole segments."""
    if matching.has_methods and method != "GET":
        return False
    named = (host == each or (each[0] == "*" and host.endswith(each[1:])) for each in matching.hosts)
    if matching.hosts and not any(named):
        return False
    if matching.kind == "exact":
        return path == matching.path
    if matching.kind == "prefix":
        return f"{path}/".startswith(f"{matching.prefix.rstrip('/')}/")
    return re.search(matching.path, path) is not None


def winner(settled: Sequence[Matching], path: str, host: str, method: str) -> int | None:
    found = router(settled).match(segments_of(path.encode()), host.encode(), method.encode(), NOTHING, b"")
    return None if found is None else found[0]


def router(settled: Sequence[Matching]) -> Router[int]:
    return Router(
        [
            Rule(
                f"~ {each.path}" if each.kind == "pattern" else each.path,
                index,
                hosts=each.hosts,
                methods=frozenset({b"GET"}) if each.has_methods else None,
                exact=each.kind == "exact",
                pattern=path_pattern(each.path) if each.kind == "pattern" else None,
            )
            for index, each in enumerate(settled)
        ]
    )


@settings(max_examples=100)
@given(
    st.lists(matchings(), min_size=1, max_size=6),
    st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/a/c/d", "/ab/c", "/b/x", "/b", "/a/bb/c"]),
    st.sampled_from(["x.test", "y.test", "w.test", "other.example"]),
    st.sampled_from(["GET", "POST"]),
)
def test_the_first_of_those_that_take_a_request_gets_it(
    routes: list[Matching], path: str, host: str, method: str
) -> None:
    settle(routes)
    expected = next((index for index, each in enumerate(routes) if takes(each, path, host, method)), None)
    assert winner(routes, path, host, method) == expected


def test_prefixes_stay_prefixes_where_the_longest_wins_anyway() -> None:
    routes = [Matching("prefix", path) for path in ("/a/b/c", "/a/b", "/x", "/a", "/")]
    settle(routes)
    assert [route.kind for route in routes] == ["prefix"] * 5


def test_a_prefix_that_comes_before_a_longer_one_is_a_pattern() -> None:
    routes = [Matching("prefix", "/", hosts=("x.test",)), Matching("prefix", "/a"), Matching("prefix", "/")]
    settle(routes)
    assert [(route.kind, route.path) for route in routes] == [("pattern", "^/"), ("prefix", "/a"), ("prefix", "/")]


def test_what_begins_like_a_guarded_prefix_gets_to_the_same_service_by_no_other_route() -> None:
    def routes(target: str) -> list[Matching]:
        guarded = Matching("prefix", "/admin", guard=frozenset({"auth"}), target="site")
        return [guarded, Matching("prefix", "/", target=target)]

    same, other = routes("site"), routes("other")
    settle(same)
    settle(other)
    assert same[0].path == "^/admin"
    assert other[0].kind == "prefix"
