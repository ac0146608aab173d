"""Routing: the longest prefix first, then host, headers and method; and what the service's path becomes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.core.errors import MessageError
from portico.core.messages import Fields
from portico.core.paths import segments_of
from portico.proxy.routing.route import Rewrite
from portico.proxy.routing.router import Router, Rule

GET = frozenset({b"GET"})
POST = frozenset({b"POST"})


def fields(**values: str) -> Fields:
    return Fields([name.encode() for name in values], [f"{name}: {value}".encode() for name, value in values.items()])


def find(rules: list[Rule[str]], path: str, host: str = "a", method: str = "GET", **values: str) -> str | None:
    match = Router(rules).match(segments_of(path.encode()), host.encode(), method.encode(), fields(**values))
    return None if match is None else match[0]


PREFIXES = [Rule("/", "root"), Rule("/api", "api"), Rule("/api/gemini", "gemini"), Rule("/api/gemini/v2", "v2")]


@pytest.mark.parametrize(
    ("path", "target", "depth"),
    [
        ("/", "root", 0),
        ("/x", "root", 0),
        ("/api", "api", 1),
        ("/api/", "api", 1),
        ("/apis", "root", 0),
        ("/api/x", "api", 1),
        ("/api/gemini", "gemini", 2),
        ("/api/geminis", "api", 1),
        ("/api/gemini/health", "gemini", 2),
        ("/api/gemini/v2/x", "v2", 3),
        ("/api/gemini/v22", "gemini", 2),
        ("/%61pi/gem%69ni/x", "gemini", 2),
        ("/api%2Fgemini", "root", 0),
        ("/API/gemini", "root", 0),
        ("//api", "root", 0),
    ],
)
def test_the_longest_prefix_wins_by_whole_segments(path: str, target: str, depth: int) -> None:
    for rules in (PREFIXES, PREFIXES[::-1]):
        assert Router(rules).match(segments_of(path.encode()), b"a", b"GET", fields()) == (target, depth)


def test_no_rule_no_match() -> None:
    assert find([], "/") is None
    assert find([Rule("/api", "api")], "/") is None
    assert find([Rule("/api/x", "api")], "/api") is None


HOSTS = [
    Rule("/", "any"),
    Rule("/", "exact", hosts=("a.example.com",)),
    Rule("/", "wild", hosts=("*.example.com",)),
    Rule("/", "deep", hosts=("*.b.example.com",)),
    Rule("/", "six", hosts=("[::1]",)),
]


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("a.example.com", "exact"),
        ("A.EXAMPLE.com", "exact"),
        ("a.example.com:8000", "exact"),
        ("a.example.com.", "exact"),
        ("a.example.com.:80", "exact"),
        ("c.example.com", "wild"),
        ("x.c.example.com", "wild"),
        ("x.b.example.com", "deep"),
        ("b.example.com", "wild"),
        ("example.com", "any"),
        ("notexample.com", "any"),
        ("a.example.com.evil", "any"),
        ("[::1]:8000", "six"),
        ("[::2]", "any"),
        ("", "any"),
    ],
)
def test_the_most_specific_host_wins(host: str, target: str) -> None:
    for rules in (HOSTS, HOSTS[::-1]):
        assert find(rules, "/x", host) == target


@pytest.mark.parametrize(
    ("rules", "request_", "target"),
    [
        ([Rule("/", "wide"), Rule("/a", "narrow", methods=POST)], {"path": "/a"}, "wide"),
        ([Rule("/", "wide"), Rule("/a", "narrow", hosts=("b",))], {"path": "/a"}, "wide"),
        ([Rule("/", "wide"), Rule("/a", "narrow", headers=((b"x", b"1"),))], {"path": "/a"}, "wide"),
        ([Rule("/", "wide"), Rule("/a", "narrow", exact=True)], {"path": "/a/b"}, "wide"),
        ([Rule("/a", "plain"), Rule("/a", "headers", headers=((b"x", b"1"),))], {"path": "/a", "x": "1"}, "headers"),
        ([Rule("/a", "plain"), Rule("/a", "headers", headers=((b"x", b"1"),))], {"path": "/a", "x": "2"}, "plain"),
        (
            [Rule("/a", "one", headers=((b"x", b"1"),)), Rule("/a", "two", headers=((b"x", b"1"), (b"y", b"2")))],
            {"path": "/a", "x": "1", "y": "2"},
            "two",
        ),
        ([Rule("/a", "all"), Rule("/a", "get", methods=GET)], {"path": "/a"}, "get"),
        ([Rule("/a", "all"), Rule("/a", "get", methods=GET)], {"path": "/a", "method": "PUT"}, "all"),
        ([Rule("/a", "prefix"), Rule("/a", "exact", exact=True)], {"path": "/a"}, "exact"),
        ([Rule("/a", "prefix"), Rule("/a", "exact", exact=True)], {"path": "/a/"}, "prefix"),
        ([Rule("/", "front", exact=True)], {"path": "/"}, "front"),
        ([Rule("/", "front", exact=True)], {"path": "/x"}, None),
        ([Rule("/", "front", exact=True), Rule("/", "rest")], {"path": "/"}, "front"),
        ([Rule("/a", "first"), Rule("/a", "second")], {"path": "/a"}, "first"),
        ([Rule("/a", "host", hosts=("a",), methods=POST), Rule("/a", "any")], {"path": "/a"}, "any"),
    ],
)
def test_what_does_not_fit_falls_back(rules: list[Rule[str]], request_: dict[str, str], target: str | None) -> None:
    assert find(rules, **request_) == target


@pytest.mark.parametrize(
    ("path", "host", "values", "allowed"),
    [
        ("/a", "a", {}, [b"GET", b"POST"]),
        ("/a/b", "a", {}, [b"DELETE", b"GET", b"POST"]),
        ("/a", "b", {}, [b"GET", b"POST", b"PUT"]),
        ("/a", "a", {"x": "1"}, [b"GET", b"PATCH", b"POST"]),
        ("/c", "a", {}, []),
        ("/exact", "a", {}, [b"GET"]),
        ("/exact/x", "a", {}, []),
    ],
)
def test_allowed_methods(path: str, host: str, values: dict[str, str], allowed: list[bytes]) -> None:
    router = Router(
        [
            Rule("/a", "1", methods=GET),
            Rule("/a", "2", methods=POST),
            Rule("/a/b", "3", methods=frozenset({b"DELETE"})),
            Rule("/a", "4", methods=frozenset({b"PUT"}), hosts=("b",)),
            Rule("/a", "5", methods=frozenset({b"PATCH"}), headers=((b"x", b"1"),)),
            Rule("/exact", "6", methods=GET, exact=True),
        ]
    )
    assert router.allowed_methods(segments_of(path.encode()), host.encode(), fields(**values)) == allowed


def lines(*written: str) -> Fields:
    return Fields([line.partition(":")[0].lower().encode() for line in written], [line.encode() for line in written])


NARROWED = Router(
    [
        Rule("/a", "all"),
        Rule("/a", "one", headers=((b"x", b"1"),), methods=GET),
        Rule("/a", "list", headers=((b"x", b"2, 3"),)),
        Rule("/a", "biscuit", headers=((b"cookie", b"a=1; b=2"),)),
    ]
)


@pytest.mark.parametrize(
    ("written", "target"),
    [
        (["X: 1"], "one"),
        (["X: 2, 3"], "list"),
        (["X: 2", "X: 3"], "list"),
        (["X: 3", "X: 2"], "all"),
        (["X: 4", "X: 5"], "all"),
        (["Y: 1", "Y: 1"], "all"),
        (["Cookie: a=1", "Cookie: b=2"], "biscuit"),
    ],
)
def test_a_field_on_several_lines_is_one_value(written: list[str], target: str) -> None:
    assert NARROWED.match((b"a",), b"h", b"GET", lines(*written)) == (target, 1)


@pytest.mark.parametrize("written", [["X: 1", "X: 4"], ["X: 4", "X: 1"], ["X: 1", "X: 1"], ["X: 4", "X: 1", "X:"]])
def test_where_one_of_several_lines_has_the_value_of_a_route_it_is_refused(written: list[str]) -> None:
    """A service may read the first line, the last one or all: no route would be right for it."""
    with pytest.raises(MessageError, match="x comes more than once, and a route depends on it"):
        NARROWED.match((b"a",), b"h", b"GET", lines(*written))
    with pytest.raises(MessageError, match="x comes more than once"):
        NARROWED.allowed_methods((b"a",), b"h", lines(*written))
    assert NARROWED.match((b"a",), b"h", b"PUT", lines(*written)) == ("all", 1), "here nothing depends on it"


# ---- against a router that looks at every rule

written_rules: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        dict,
        path=st.sampled_from(["/", "/a", "/b", "/a/b", "/a/b/a", "/b/a"]),
        hosts=st.lists(st.sampled_from(["x.y", "*.y", "*.x.y", "y"]), max_size=2, unique=True).map(tuple),
        methods=st.sampled_from([None, None, GET, POST]),
        headers=st.sampled_from([(), (), ((b"h", b"1"),), ((b"h", b"1"), (b"i", b"2"))]),
        exact=st.booleans(),
    ),
    max_size=10,
)


def host_rank(rule: Rule[int], host: str) -> int | None:
    """How specifically the rule names the host; None where it does not admit it."""
    if not rule.hosts:
        return 0
    ranks = [1000 if name == host else len(name) for name in rule.hosts if name == host or is_under(host, name)]
    return max(ranks, default=None)


def is_under(host: str, name: str) -> bool:
    return name.startswith("*.") and host.endswith(name[1:])


def fits(rule: Rule[int], segments: tuple[bytes, ...], values: dict[str, str]) -> int | None:
    """The depth at which the rule's path and headers fit; None where they do not."""
    prefix = () if rule.path == "/" and not rule.exact else segments_of(rule.path.encode())
    if segments[: len(prefix)] != prefix or (rule.exact and len(segments) != len(prefix)):
        return None
    if any(values.get(name.decode()) != value.decode() for name, value in rule.headers):
        return None
    return len(prefix)


@settings(max_examples=300, deadline=None)
@given(
    written_rules,
    st.sampled_from(["/", "/a", "/a/b", "/a/b/a", "/a/b/c", "/b", "/b/a/a", "/c", "/a/"]),
    st.sampled_from(["x.y", "z.x.y", "y", "z", "w.y"]),
    st.sampled_from([b"GET", b"POST", b"PUT"]),
    st.fixed_dictionaries({}, optional={"h": st.sampled_from("12"), "i": st.sampled_from("12")}),
)
def test_against_looking_at_every_rule(
    written: list[dict[str, Any]], path: str, host: str, method: bytes, values: dict[str, str]
) -> None:
    rules = [Rule(target=index, **each) for index, each in enumerate(written)]
    segments = segments_of(path.encode())
    found = []
    allowed: set[bytes] = set()
    for rule in rules:
        depth, rank = fits(rule, segments, values), host_rank(rule, host)
        if depth is None or rank is None:
            continue
        allowed |= rule.methods or set()
        if rule.methods is None or method in rule.methods:
            order = (-depth, -rank, not rule.exact, -len(rule.headers), rule.methods is None, rule.target)
            found.append((order, depth))
    expected = (min(found)[0][-1], min(found)[1]) if found else None
    router = Router(rules)
    assert router.match(segments, host.encode(), method, fields(**values)) == expected
    assert router.allowed_methods(segments, host.encode(), fields(**values)) == sorted(allowed)


def test_a_fallback_comes_after_all_other_rules_for_its_path_and_hosts() -> None:
    rules = [
        Rule("/", "front", methods=GET, exact=True, fallback=True),
        Rule("/", "any", exact=True, headers=((b"h", b"1"),)),
        Rule("/", "named", exact=True, hosts=("x.y",)),
        Rule("/", "posts", exact=True, methods=POST),
    ]
    router = Router(rules)
    for host, method, values, target in (
        (b"x.y", b"GET", {}, "named"),
        (b"y", b"GET", {"h": "1"}, "any"),
        (b"y", b"POST", {}, "posts"),
        (b"y", b"GET", {}, "front"),
    ):
        assert router.match((b"",), host, method, fields(**values)) == (target, 1)


# ---- rewriting


@pytest.mark.parametrize(
    ("template", "path", "depth", "rewritten"),
    [
        ("/{path}", b"/api/gemini/health", 2, b"/health"),
        ("/{path}", b"/api/gemini", 2, b"/"),
        ("/{path}", b"/api/gemini/", 2, b"/"),
        ("/{path}", b"/api/gemini/a/b/", 2, b"/a/b/"),
        ("/{path}", b"/api/gemini//x", 2, b"//x"),
        ("/{path}", b"/%61pi/gem%69ni/a%2Fb%20", 2, b"/a%2Fb%20"),
        ("/{path}", b"/a/b", 0, b"/a/b"),
        ("/{path}", b"/", 0, b"/"),
        ("/api/{path}", b"/v1/gemini/x", 2, b"/api/x"),
        ("/api/{path}", b"/v1/gemini", 2, b"/api/"),
        ("/pre-{path}.json", b"/a/x/y", 1, b"/pre-x/y.json"),
        ("/pre-{path}.json", b"/a", 1, b"/pre-.json"),
        ("/health", b"/a/x/y", 1, b"/health"),
        ("/", b"/a/x/y", 1, b"/"),
    ],
)
def test_rewrite(template: str, path: bytes, depth: int, rewritten: bytes) -> None:
    assert Rewrite.of(template).apply(path, depth) == rewritten


@given(st.lists(st.sampled_from(["a", "", "%2F", "b;c", "%c3%A9"]), min_size=1, max_size=6), st.integers(0, 6))
def test_not_a_byte_of_what_follows_the_prefix_changes(names: list[str], depth: int) -> None:
    depth = min(depth, len(names))
    path = "/" + "/".join(names)
    assert Rewrite.of("/{path}").apply(path.encode(), depth).decode() == "/" + "/".join(names[depth:])
