"""What rules make of requests, without a wire: queries byte for byte, paths, fields, values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core.errors import Refusal
from portico.core.exchange import Exchange, RouteMatch
from portico.core.messages import as_received
from portico.policies import Context, Hooks, State
from portico.policies.transform import TransformSettings, build_transform, depends_on_more
from portico.policies.transform.json_values import compiled
from portico.testing.units import exchange_of


def asked(target: str = "/", *lines: str, method: str = "GET", **given: Any) -> Exchange:
    path, mark, query = target.partition("?")
    made = exchange_of(method, target, [line.encode() for line in lines], "192.0.2.7")
    made.match = RouteMatch(SimpleNamespace(name="r"), SimpleNamespace(service_name="s"), path, path.encode())
    made.query = (mark + query).encode()
    for name, value in given.items():
        setattr(made, name, value)
    return made


def transformed(exchange: Exchange, *rules: dict[str, Any]) -> Exchange:
    answer = verdict(exchange, *rules)
    assert answer is None
    return exchange


def verdict(exchange: Exchange, *rules: dict[str, Any]) -> Any:
    policy = build_transform(TransformSettings.model_validate({"request": list(rules)}), Context("gateway", State()))
    assert callable(policy)
    return policy(exchange)


def query_of(query: str, **edits: Any) -> str:
    return transformed(asked(f"/{query}"), {"query": edits}).query.decode()


# ---- queries

NAMES = st.sampled_from(["a", "b", "a b", "é", "%", "+", "a%", "A", "?", "["])
SPELLINGS = st.sampled_from(
    [
        "a",
        "%61",
        "b",
        "a+b",
        "a%20b",
        "%C3%A9",
        "%c3%a9",
        "%",
        "%25",
        "%2B",
        "+",
        "a%",
        "A",
        "%26x",
        "%3D",
        "?",
        "[",
        "%5b",
    ]
)
VALUES = st.sampled_from(["", "=", "=1", "=x%20y", "=a=b", "=?", "=?a=1", "=/?b"])
PAIRS = st.lists(st.tuples(SPELLINGS, VALUES), max_size=6)


def written(pairs: list[tuple[str, str]]) -> str:
    return "?" + "&".join(name + value for name, value in pairs) if pairs else ""


def read(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query[1:], keep_blank_values=True)


@given(PAIRS, NAMES)
def test_remove(pairs: list[tuple[str, str]], name: str) -> None:
    kept = [pair for pair in pairs if read("?" + pair[0]) != [(name, "")]]
    assert query_of(written(pairs), remove=[name]) == written(kept)


@given(PAIRS, NAMES, st.sampled_from(["new", "n w", "é", "a+b"]))
def test_rename(pairs: list[tuple[str, str]], old: str, new: str) -> None:
    expected = [(new if name == old else name, value) for name, value in read(written(pairs))]
    assert read(query_of(written(pairs), rename={old: new})) == expected
    assert query_of(written(pairs), rename={"none": new}) == written(pairs)


@given(PAIRS, NAMES, st.lists(st.text(st.characters(codec="utf-8", exclude_characters="{}"), max_size=5), min_size=1))
def test_set(pairs: list[tuple[str, str]], name: str, values: list[str]) -> None:
    before = read(written(pairs))
    names = [own for own, _ in before]
    at = names.index(name) if name in names else len(names)
    others = [pair for pair in before if pair[0] != name]
    expected = [*others[:at], *((name, value) for value in values), *others[at:]]
    assert read(query_of(written(pairs), set={name: values})) == expected


@pytest.mark.parametrize(
    ("query", "edits", "expected"),
    [
        ("", {"remove": ["a"]}, ""),
        ("?", {"remove": ["a"]}, "?"),
        ("?a", {"remove": ["a"]}, ""),
        ("?", {"add": {"a": "1"}}, "?a=1"),
        ("?x", {"add": {"a": ["1", 2]}}, "?x&a=1&a=2"),
        ("?a=1", {"set": {"a": ""}}, "?a="),
        ("?next=/x?a=1", {"remove": ["a"]}, "?next=/x?a=1"),
        ("?next=/x?a=1", {"rename": {"a": "b"}}, "?next=/x?a=1"),
        ("?next=?a=1", {"set": {"a": "2"}}, "?next=?a=1&a=2"),
        ("??a=1&a=2", {"remove": ["a"]}, "??a=1"),
        ("?%zz=1&a", {"set": {"a": "1"}}, "?%zz=1&a=1"),
        ("?a=1", {"set": {"a": "{consumer}"}}, ""),
        ("?a=1&b", {"set": {"a": ["{consumer}", "x"]}}, "?a=x&b"),
        ("?a=1", {"add": {"a": "{consumer:-no}"}}, "?a=1&a=no"),
        ("?a=1", {"remove": ["b"], "rename": {"a": "b"}, "set": {"b": "2"}, "add": {"b": "3"}}, "?b=2&b=3"),
    ],
)
def test_edges_of_queries(query: str, edits: dict[str, Any], expected: str) -> None:
    assert query_of(query, **edits) == expected


# ---- paths

CAPTURE = {"path": "~ ^/(?P<first>[^/]*)(?:/(?P<rest>.*))?$"}


@pytest.mark.parametrize(
    ("path", "template", "expected"),
    [
        ("/a/b%2Fc", "/{rest}/{first}", b"/b%2Fc/a"),
        ("/a", "/x/{rest}", b"/x/"),
        ("/a", "/x/{path}", b"/x/a"),
        ("/a/", "/x/{path}", b"/x/a/"),
        ("/a", "/x/{consumer}", b"/x/a%2Fb%20%C3%A9"),
        ("/a", "/x/{claim.none:-y z}", b"/x/y%20z"),
        ("/a", "/{{{first}}}", b"/{a}"),
    ],
)
def test_paths(path: str, template: str, expected: bytes) -> None:
    found = transformed(asked(path, consumer="a/b é"), {"when": CAPTURE, "path": template})
    assert (found.match.target, found.match.path) == (expected, path)


@pytest.mark.parametrize(
    ("path", "template", "reason"),
    [
        ("/a/b", "/x/{claim.sub}", "access_denied"),
        ("/a/.b", "/x/.{dot}", "malformed_request"),
        ("/a/b", "/x/{consumer}", "malformed_request"),
    ],
)
def test_paths_that_no_service_gets(path: str, template: str, reason: str) -> None:
    answer = verdict(asked(path, consumer=".."), {"when": {"path": r"~ ^/a/(?P<dot>\.?)"}, "path": template})
    assert isinstance(answer, Refusal)
    assert answer.reason == reason


# ---- fields


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ({"set": {"X-A": "1"}}, ["x_b: b", "X-A: 1"]),
        ({"add": {"X-A": ["1", "2"]}}, ["X-A: a", "x_b: b", "X_A: c", "X-A: 1", "X-A: 2"]),
        ({"remove": ["x-a", "X-B"]}, []),
        ({"rename": {"X-A": "X-C"}}, ["x_b: b", "X-C: a", "X-C: c"]),
        ({"rename": {"X-None": "X-A"}}, ["X-A: a", "x_b: b", "X_A: c"]),
        ({"rename": {"X-B": "X-A"}}, ["X-A: b"]),
        ({"rename": {"X-B": "X-A"}, "set": {"X-A": "1"}}, ["X-A: 1"]),
        ({"remove": ["X-B"], "rename": {"X-B": "X-C"}}, ["X-A: a", "X_A: c"]),
        ({"set": {"X-A": "{consumer}"}}, ["x_b: b"]),
    ],
)
def test_fields(edits: dict[str, Any], expected: list[str]) -> None:
    exchange = asked("/", "X-A: a", "x_b: b", "X_A: c")
    request = exchange.request
    assert request is not None
    for _ in range(2):  # the second time it is remembered
        exchange.request = request
        found = transformed(exchange, {"headers": edits}).request
        assert found is not None
        assert [line.decode() for line in found.fields.unnoted()] == expected
        assert as_received(found) is request
        assert request.fields.get(b"x-a") == b"a"


def test_what_one_client_set_is_not_anothers() -> None:
    rule = {"headers": {"set": {"X-User": "{consumer}"}}}
    policy = build_transform(TransformSettings.model_validate({"request": [rule]}), Context("gateway", State()))
    assert callable(policy)
    exchange = asked()
    request = exchange.request
    for name in ("alice", "bob", "alice", None):
        exchange.request, exchange.consumer = request, name
        assert policy(exchange) is None
        assert exchange.request is not None
        assert exchange.request.fields.get(b"x-user") == (name.encode() if name else None)


def test_rules_look_at_what_the_client_sent() -> None:
    first = {"headers": {"set": {"X-A": "2"}}, "query": {"set": {"q": "2"}}, "method": "PUT"}
    second = {"when": {"headers": {"X-A": "1"}, "query": {"q": "1"}, "methods": "GET"}, "query": {"add": {"fits": "1"}}}
    found = transformed(asked("/?q=1", "X-A: 1"), first, second)
    assert (found.query, found.method) == (b"?q=2&fits=1", "GET")
    assert found.request is not None
    assert found.request.method == b"PUT"


# ---- values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 1.5, None, True, "x", {}], "b": {"c": []}}, b'{"a":[1,1.5,null,true,"x",{}],"b":{"c":[]}}'),
        ("{claim.level}", b"3"),
        ("{claim.roles}", b'["a","b"]'),
        ("{claim.org}", b'{"plan":"pro"}'),
        ("{claim.none}", b"null"),
        ("{claim.none:-0}", b'"0"'),
        ("is {claim.none}", b"null"),
        ('"{claim.quote}" é {{', '"\\"\\\\\\"\\" é {"'.encode()),
        ({"x": ["{consumer}", {"y": "{claim.level} of {claim.roles}"}]}, b'{"x":["alice",{"y":"3 of a,b"}]}'),
    ],
)
def test_json_values(value: Any, text: bytes) -> None:
    claims = {"level": 3, "roles": ("a", "b"), "org": {"plan": "pro"}, "quote": '\\"'}
    made = compiled(value)
    exchange = asked(consumer="alice", claims_or_token=claims)
    assert (made if isinstance(made, bytes) else made(exchange)) == text


@pytest.mark.parametrize(
    ("rule", "does"),
    [
        ({"query": {"set": {"a": "1"}}}, False),
        ({"when": {"path": "/x", "query": {"a": "1"}}, "query": {"set": {"a": "1"}}}, False),
        ({"when": CAPTURE, "path": "/{rest}", "headers": {"set": {"X-A": "{first}"}}}, False),
        ({"query": {"set": {"a": "{client_ip}"}}}, True),
        ({"path": "/{consumer}"}, True),
        ({"headers": {"add": {"X-A": "{claim.a}"}}}, True),
        ({"method": "PUT"}, True),
        ({"when": {"headers": {"X-A": "1"}}, "query": {"set": {"a": "1"}}}, True),
        ({"when": {"methods": "GET"}, "query": {"set": {"a": "1"}}}, True),
        ({"json": {"set": {"/a": "{consumer}"}}}, False),
    ],
)
def test_what_a_cache_has_to_tell_apart(rule: dict[str, Any], does: bool) -> None:
    assert depends_on_more(TransformSettings.model_validate({"request": [rule]})) is does


def test_what_depends_on_fields_varies_by_them() -> None:
    settings = {
        "request": [{"when": {"headers": {"X-A": "1"}, "content_type": "text/*"}, "method": "PUT"}],
        "response": [{"when": {"headers": {"x-a": "1", "X-B": True}, "content_type": "text/*"}, "status": {404: 410}}],
    }
    hooks = build_transform(TransformSettings.model_validate(settings), Context("gateway", State()))
    assert isinstance(hooks, Hooks)
    assert hooks.request is not None
    exchange = asked()
    assert hooks.request(exchange) is None
    assert exchange.response_lines == (b"Vary: X-A, Content-Type, X-B",)
