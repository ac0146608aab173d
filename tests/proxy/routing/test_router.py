"""Routing: the longest prefix first, then host, headers and method; and what the service's path becomes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.core.conditions import is_there, matching
from portico.core.errors import MessageError
from portico.core.messages import Fields
from portico.core.paths import segments_of
from portico.core.patterns.pattern import path_pattern, value_pattern
from portico.proxy.routing.captured import CapturedRewrite, filled
from portico.proxy.routing.route import Rewrite
from portico.proxy.routing.router import Router, Rule

GET = frozenset({b"GET"})
POST = frozenset({b"POST"})


def fields(**values: str) -> Fields:
    return Fields([name.encode() for name in values], [f"{name}: {value}".encode() for name, value in values.items()])


def find(
    rules: list[Rule[str]], path: str, host: str = "a", method: str = "GET", query: str = "", **values: str
) -> str | None:
    asked = segments_of(path.encode()), host.encode(), method.encode(), fields(**values), query.encode()
    match = Router(rules).match(*asked)
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
        ([Rule("/a", "host", hosts=("a",)), Rule("/a", "exact", exact=True)], {"path": "/a"}, "exact"),
        ([Rule("/a", "plain"), Rule("/a", "query", query=((b"v", b"2"),))], {"path": "/a", "query": "v=2"}, "query"),
        ([Rule("/a", "plain"), Rule("/a", "query", query=((b"v", b"2"),))], {"path": "/a", "query": "v=3"}, "plain"),
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


# ---- patterns, and what comes before and after them


def pattern(text: str, target: str, **conditions: Any) -> Rule[str]:
    return Rule(f"~ {text}", target, pattern=path_pattern(text), **conditions)


FORMS = [
    Rule("/", "all"),
    Rule("/users", "users"),
    Rule("/users/me/mail", "mail"),
    pattern("^/users/[a-z]+$", "name"),
    pattern("^/users/(?P<id>[a-z0-9]+)$", "id"),
    pattern("^/users/[0-9]+/", "numbered"),
    pattern(r"\.css$", "style"),
    Rule("/users/me", "me", exact=True),
    Rule("/", "rest", fallback=True),
]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/users/me", "me"),
        ("/users/%6De", "me"),
        ("/users/you", "name"),
        ("/users/y0u", "id"),
        ("/users/7/x", "numbered"),
        ("/users/7/x.css", "numbered"),
        ("/users/me/mail/x.css", "style"),
        ("/users/me/mail/x", "mail"),
        ("/users/me/", "users"),
        ("/users/a%2Fb", "users"),
        ("/x", "all"),
    ],
)
def test_exact_paths_come_before_patterns_and_those_before_prefixes(path: str, target: str) -> None:
    """Patterns among themselves go by the order of the file."""
    assert find(FORMS, path) == target
    others, patterns = FORMS[:3] + FORMS[7:], FORMS[3:7]
    assert find([*patterns, *others], path) == find([*others[::-1], *patterns], path) == target


def test_a_fallback_takes_what_no_other_rule_takes() -> None:
    rules = [
        Rule("/", "rest", fallback=True),
        Rule("/", "rest of a", fallback=True, hosts=("a",)),
        Rule("/a", "posts", methods=POST),
        pattern("^/b$", "b", hosts=("b",)),
    ]
    assert find(rules, "/a", "x") == find(rules, "/b", "x") == find(rules, "/", "x") == "rest"
    assert (find(rules, "/b"), find(rules, "/b", "b"), find(rules, "/a", method="POST")) == ("rest of a", "b", "posts")


def test_rules_with_the_same_pattern_are_narrowed_like_those_of_one_prefix() -> None:
    rules = [
        pattern("^/a", "any"),
        pattern("^/a", "posts", methods=POST),
        pattern("^/a", "host", hosts=("h",)),
        pattern("^/a", "two", query=((b"v", b"2"),)),
        pattern("^/ab", "later", hosts=("h",)),
    ]
    assert find(rules, "/ab") == "any"
    assert find(rules, "/ab", method="POST") == "posts"
    assert find(rules, "/ab", "h") == "host"
    assert find(rules, "/ab", query="v=2") == "two"
    router = Router(rules[1:])
    assert router.allowed_methods(segments_of(b"/a"), b"x", fields()) == [b"POST"]
    assert [router.reads_fields(segments_of(path)) for path in (b"/a", b"/b")] == [True, False]


def matches(text: str) -> Any:
    return matching(value_pattern(text))


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("", "plain"),
        ("v=2", "two"),
        ("a=b&v=2&c", "two"),
        ("%76=%32", "two"),
        ("v=%2B+x", "encoded"),
        ("v=2a", "plain"),
        ("v=31", "pattern"),
        ("debug", "debug"),
        ("debug=&debug=1", "debug"),
        ("v=2&v=2", "two"),
        ("v=5&v=6", "plain"),
        ("w=2", "plain"),
    ],
)
def test_parameters_of_the_query(query: str, target: str) -> None:
    rules = [
        Rule("/a", "plain"),
        Rule("/a", "two", query=((b"v", b"2"),)),
        Rule("/a", "encoded", query=((b"v", b"+ x"),)),
        Rule("/a", "pattern", query=((b"v", matches("^3[0-9]$")),)),
        Rule("/a", "debug", query=((b"debug", is_there),)),
    ]
    assert find(rules, "/a", query=query) == target


@pytest.mark.parametrize("query", ["v=2&v=3", "v=3&v=2", "v=2&%76=", "v=31&v=2"])
def test_a_parameter_that_may_or_may_not_have_its_value_is_refused(query: str) -> None:
    rules = [Rule("/a", "plain"), Rule("/a", "two", query=((b"v", b"2"),))]
    with pytest.raises(MessageError, match="v comes more than once in the query, and a route depends on it"):
        find(rules, "/a", query=query)
    assert find([Rule("/a", "plain"), Rule("/b", "two", query=((b"v", b"2"),))], "/a", query=query) == "plain"


def test_fields_by_pattern() -> None:
    rules = [Rule("/a", "plain"), Rule("/a", "beta", headers=((b"x-beta", matches("^(1|yes)$")),))]
    router = Router(rules)

    def asked(*written: str) -> str:
        match = router.match((b"a",), b"h", b"GET", lines(*written))
        assert match is not None
        return match[0]

    assert [asked("X-Beta: 1"), asked("X-Beta: yes"), asked("X-Beta: no"), asked()] == [
        "beta",
        "beta",
        "plain",
        "plain",
    ]
    for written in (["X-Beta: 1", "X-Beta: no"], ["X-Beta: no", "X-Beta: yes"]):
        with pytest.raises(MessageError, match="x-beta comes more than once"):
            asked(*written)
    starts = Router([Rule("/a", "beta", headers=((b"x-beta", matches("^1")),))])
    with pytest.raises(MessageError, match="x-beta comes more than once"):
        starts.match((b"a",), b"h", b"GET", lines("X-Beta: 1", "X-Beta: no"))


# ---- against a router that looks at every rule

PATTERNS = ["^/a", "^/a$", "^/[ab]/b", "/a$", "^/(a|b)/[^/]+$"]

written_rules: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        dict,
        path=st.sampled_from(["/", "/a", "/b", "/a/b", "/a/b/a", "/b/a", *(f"~ {text}" for text in PATTERNS)]),
        hosts=st.lists(st.sampled_from(["x.y", "*.y", "*.x.y", "y"]), max_size=2, unique=True).map(tuple),
        methods=st.sampled_from([None, None, GET, POST]),
        headers=st.sampled_from([(), (), ((b"h", b"1"),), ((b"h", b"1"), (b"i", b"2"))]),
        query=st.sampled_from([(), (), ((b"q", b"1"),)]),
        exact=st.booleans(),
        fallback=st.sampled_from([False, False, True]),
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


def rule_of(target: int, written: dict[str, Any]) -> Rule[int]:
    if not written["path"].startswith("~"):
        return Rule(target=target, **written)
    given = {**written, "exact": False, "fallback": False}
    return Rule(target=target, **given, pattern=path_pattern(written["path"].removeprefix("~ ")))


def place(rule: Rule[int], path: str, first: dict[str, int]) -> tuple[int, int, int] | None:
    """When a rule's path is asked, and with which depth it fits; None where it does not."""
    segments = segments_of(path.encode())
    if rule.pattern is not None:
        found = re.search(rule.pattern.text, path)
        return (1, first.setdefault(rule.path, len(first)), len(segments)) if found else None
    if rule.exact:
        return (0, 0, len(segments)) if segments_of(rule.path.encode()) == segments else None
    if rule.fallback:
        return (3, 0, 0)
    prefix = () if rule.path == "/" else segments_of(rule.path.encode())
    return (2, -len(prefix), len(prefix)) if segments[: len(prefix)] == prefix else None


def fits(rule: Rule[int], values: dict[str, str], query: str) -> bool:
    asked = [(values.get(name.decode()), value) for name, value in rule.headers]
    asked += [(query.removeprefix("q=") or None, value) for _, value in rule.query]
    return all(isinstance(value, bytes) and given == value.decode() for given, value in asked)


@settings(max_examples=500, deadline=None)
@given(
    written_rules,
    st.sampled_from(["/", "/a", "/a/b", "/a/b/a", "/a/b/c", "/b", "/b/a/a", "/c", "/a/"]),
    st.sampled_from(["x.y", "z.x.y", "y", "z", "w.y"]),
    st.sampled_from([b"GET", b"POST", b"PUT"]),
    st.fixed_dictionaries({}, optional={"h": st.sampled_from("12"), "i": st.sampled_from("12")}),
    st.sampled_from(["", "q=1", "q=2"]),
)
def test_against_looking_at_every_rule(
    written: list[dict[str, Any]], path: str, host: str, method: bytes, values: dict[str, str], query: str
) -> None:
    rules = [rule_of(index, each) for index, each in enumerate(written)]
    first: dict[str, int] = {}
    for rule in rules:
        if rule.pattern is not None:
            first.setdefault(rule.path, len(first))
    found = []
    allowed: set[bytes] = set()
    for rule in rules:
        where, rank = place(rule, path, first), host_rank(rule, host)
        if where is None or rank is None or not fits(rule, values, query):
            continue
        allowed |= rule.methods or set()
        if rule.methods is None or method in rule.methods:
            narrowed = rule.fallback, -len(rule.headers) - len(rule.query), rule.methods is None
            found.append(((*where[:2], -rank, *narrowed, rule.target), where[2]))
    expected = (min(found)[0][-1], min(found)[1]) if found else None
    router, segments = Router(rules), segments_of(path.encode())
    asked = host.encode(), method, fields(**values), query.encode()
    assert router.match(segments, *asked) == expected
    assert router.allowed_methods(segments, host.encode(), fields(**values), query.encode()) == sorted(allowed)


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


@pytest.mark.parametrize(
    ("text", "template", "path", "target"),
    [
        ("^/users/(?P<id>[0-9]+)$", "/u/{id}", b"/users/7", b"/u/7"),
        ("^/users/(?P<id>[^/]+)$", "/u/{id}.json", b"/users/%61%2fb", b"/u/%61%2fb.json"),
        ("^/(?P<lang>en|de)/(?P<rest>.*)$", "/{rest}/{lang}", b"/de/a//b%20c", b"/a//b%20c/de"),
        ("^/(?P<v>v[0-9]+)/", "/api/{v}/{path}", b"/v2/x", b"/api/v2/v2/x"),
        ("^/a(/(?P<b>b))?$", "/x/{b}y", b"/a", b"/x/y"),
        ("^/fixed", "/always", b"/fixed/x", b"/always"),
    ],
)
def test_rewrites_with_what_a_pattern_captured(text: str, template: str, path: bytes, target: bytes) -> None:
    rewrite = CapturedRewrite.by(template, path_pattern(text))
    assert rewrite.apply(path, 1) == target


@given(
    st.sampled_from(["^/u/(?P<id>[^/]+)$", "^/(?P<v>v[0-9])?/?(?P<id>[^/]*)", "^/u(/(?P<id>.*))?$", "^/%75/(?P<id>.)"]),
    st.sampled_from(["/{id}", "/{id}/{path}/{id}", "/a}{b/{id}", "/x/{path}-{id}"]),
    st.lists(st.sampled_from(["u", "v1", "", "7", "%75", "%C3%A9", "{0}"]), min_size=1, max_size=4),
)
@settings(deadline=None)
def test_what_is_captured_is_the_same_with_and_without_encoded_characters(
    text: str, template: str, names: list[str]
) -> None:
    rewrite, path = CapturedRewrite.by(template, path_pattern(text)), ("/" + "/".join(names)).encode()
    assert rewrite.pattern is not None
    assert rewrite.apply(path, 1) == filled(rewrite.pieces, rewrite.pattern, path)


@pytest.mark.parametrize("path", [b"/x-..", b"/x-%2e%2E", b"/x-..%2Fy", b"/x-%252e%252e", b"/x-..;a"])
def test_what_is_captured_makes_no_dot_segment(path: bytes) -> None:
    rewrite = CapturedRewrite.by("/files/{name}", path_pattern("^/x-(?P<name>.*)$"))
    assert segments_of(path), "before it is captured it is none"
    with pytest.raises(MessageError, match="a dot segment"):
        rewrite.apply(path, 1)


@pytest.mark.parametrize(
    ("text", "template", "path", "public"),
    [
        ("^/users/(?P<id>[0-9]+)$", "/u/{id}", b"/u/7", b"/users/7"),
        ("^/users/(?P<id>[^/]+)/x$", "/u-{id}", b"/u-a%2fb", b"/users/a%2fb/x"),
        ("^/(?P<a>[0-9]+)/(?P<b>[a-z]+)$", "/{b}/{a}", b"/x/7", b"/7/x"),
        ("^/users/(?P<id>[0-9]+)$", "/u/{id}", b"/users/7", b"/users/7"),
        ("^/users/(?P<id>[0-9]+)$", "/u/{id}", b"/u/x", None),
        ("^/users/(?P<id>[0-9]+)$", "/u/{id}", b"/u/../x", None),
        ("^/users/(?P<id>[0-9]+)(?:/x)?$", "/u/{id}", b"/u/7", None),
        ("^/users/(?P<id>[0-9]+)", "/u/{id}", b"/u/7", None),
        ("^/(?P<a>[0-9]+)/(?P<b>[a-z]+)$", "/{b}", b"/x", None),
        ("^/users/[0-9]+$", "/fixed", b"/fixed", None),
        ("^/(?P<a>[0-9]+)", "/base/{path}.json", b"/base/7/x.json", b"/7/x"),
        ("^/(?P<a>[0-9]+)", "/base/{path}", b"/elsewhere", None),
    ],
)
def test_what_a_service_calls_its_path_is_undone_where_only_one_can_be_meant(
    text: str, template: str, path: bytes, public: bytes | None
) -> None:
    assert CapturedRewrite.by(template, path_pattern(text)).undo(path) == public
