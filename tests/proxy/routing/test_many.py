"""Rules that are found by their values: the same as those that a look at each of them finds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from portico.core.conditions import condition_of, field_condition_of
from portico.core.errors import MessageError
from portico.core.messages import Fields
from portico.proxy.routing.conditions import fit
from portico.proxy.routing.many import Many, rank
from portico.proxy.routing.router import Router, Rule

VALUES = ("1", "2", "~ ^[12]$", "~ 2")
FIELDS = ("x-a", "x-b", "cookie", "mcp-name")
WRITTEN = st.fixed_dictionaries(
    {
        "headers": st.dictionaries(st.sampled_from(FIELDS), st.sampled_from((*VALUES, "1, 2", "1; 2")), max_size=3),
        "query": st.dictionaries(st.sampled_from("pq"), st.sampled_from((*VALUES, True)), max_size=2),
        "methods": st.sampled_from((None, frozenset({b"GET"}), frozenset({b"POST", b"PUT"}))),
        "hosts": st.sampled_from(((), (), (), ("a.x",), ("*.x",))),
    }
)
LINES = st.lists(
    st.tuples(st.sampled_from(FIELDS), st.sampled_from(("1", "2", "3", "1, 2", "=?base64?MQ==?=", ""))), max_size=5
)
QUERIES = st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("123")), max_size=4)


def rule(number: int, written: dict[str, Any]) -> Rule[int]:
    return Rule(
        "/a",
        number,
        headers=tuple((name.encode(), field_condition_of(name, each)) for name, each in written["headers"].items()),
        query=tuple((name.encode(), condition_of(each)) for name, each in written["query"].items()),
        methods=written["methods"],
        hosts=written["hosts"],
    )


def request_fields(lines: Iterable[tuple[str, str]]) -> Fields:
    pairs = [*lines]
    return Fields([name.encode() for name, _ in pairs], [f"{name}: {value}".encode() for name, value in pairs])


def first(rules: list[Rule[int]], method: bytes, fields: Fields, query: bytes) -> int | str | None:
    """What the first rule that fits leads to, or why that is in doubt."""
    try:
        for each in rules:
            if (each.methods is None or method in each.methods) and fit(each.headers, each.query, fields, query):
                return each.target
    except MessageError as error:
        return error.detail
    return None


def allowed(rules: list[Rule[int]], fields: Fields, query: bytes) -> list[bytes] | str:
    try:
        fitting = [each for each in rules if fit(each.headers, each.query, fields, query)]
    except MessageError as error:
        return error.detail
    return sorted({method for each in fitting for method in each.methods or ()})


@given(st.lists(WRITTEN, min_size=9, max_size=40), LINES, QUERIES)
@example([{"headers": {}, "query": {}, "methods": None, "hosts": ()}] * 9, [], [])
@settings(max_examples=400, deadline=None)
def test_the_index_and_a_look_at_every_rule_agree(
    written: list[dict[str, Any]], lines: list[tuple[str, str]], asked: list[tuple[str, str]]
) -> None:
    rules = [rule(number, each) for number, each in enumerate(written)]
    router, fields = Router(rules), request_fields(lines)
    query = "&".join(map("=".join, asked)).encode()
    for host in (b"a.x", b"b.x", b"y"):
        own = [each for each in rules if each.hosts == ("a.x",)] if host == b"a.x" else []
        wild = [each for each in rules if each.hosts == ("*.x",)] if host != b"y" else []
        order = [each for part in (own, wild, [r for r in rules if not r.hosts]) for each in sorted(part, key=rank)]
        for method in (b"GET", b"PUT", b"PATCH"):
            try:
                match = router.match((b"a",), host, method, fields, query)
                found = None if match is None else match[0]
            except MessageError as error:
                found = error.detail  # type: ignore[assignment]
            assert found == first(order, method, fields, query)
        try:
            methods: list[bytes] | str = router.allowed_methods((b"a",), host, fields, query)
        except MessageError as error:
            methods = error.detail
        assert methods == allowed(order, fields, query)
        assert [each for each, _, takes in router.asked((b"a",), host) if takes] == order


def test_only_rules_that_ask_for_what_a_request_has_are_looked_at() -> None:
    tenants = [{"headers": {"x-a": str(number), "x-b": "~ ^1"}, "query": {"p": "1"}} for number in range(4000)]
    more = [{"headers": {"x-b": "1"}, "query": {}}, {"headers": {"mcp-name": "1"}, "query": {}}]
    rest: dict[str, Any] = {"methods": None, "hosts": ()}
    many = Many(rule(number, {**each, **rest}) for number, each in enumerate([*tenants, *more]))

    def among(*lines: tuple[str, str], query: bytes = b"p=1") -> list[int]:
        return [each.target for each in many.among(request_fields(lines), query)]

    assert among(("x-a", "77")) == [77]
    assert among(("x-a", "77"), ("x-b", "1")) == [77, 4000]
    assert among(("x-a", "77"), ("x-a", "78")) == [77, 78]
    assert among(("x-a", "77"), query=b"p=2") == []
    assert among(("x-a", "77"), query=b"p=2&p=1&p=1") == [77]
    assert among(("mcp-name", "=?base64?MQ==?=")) == [4001]
    assert among() == []


def test_a_request_with_more_values_than_there_are_rules_has_each_rule_asked() -> None:
    rest: dict[str, Any] = {"methods": None, "hosts": ()}
    keys = [{"headers": {"x-a": str(number), "x-b": str(number)}, "query": {}} for number in range(20)]
    many = Many(rule(number, {**each, **rest}) for number, each in enumerate(keys))
    lines = [(name, str(number)) for name in ("x-a", "x-b") for number in range(10)]
    assert [each.target for each in many.among(request_fields(lines), b"")] == [*range(20)]
