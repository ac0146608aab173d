"""The primary key (RFC 9111, section 2; RFC 10008, section 2.7): what belongs to it, and what does not."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.proxy.cache.keys import key_without, path_key, primary_key, url_of
from portico.proxy.cache.query import NoVarySearch
from proxy.cache.messages import asked, fields, rules


def key(target: str, *lines: str, scheme: str = "https", host: str = "shop.example", **settings: Any) -> bytes:
    compiled = rules(key=settings) if settings else rules()
    return primary_key(compiled, scheme.encode(), host.encode(), target.encode(), asked(*lines))


@pytest.mark.parametrize(
    ("scheme", "host", "url"),
    [
        ("https", "Shop.Example", "https://shop.example/x"),
        ("https", "shop.example:443", "https://shop.example/x"),
        ("http", "shop.example:80", "http://shop.example/x"),
        ("http", "shop.example:443", "http://shop.example:443/x"),
        ("https", "[::1]:443", "https://[::1]/x"),
        ("https", "[::1]", "https://[::1]/x"),
        ("https", "shop.example:8443", "https://shop.example:8443/x"),
    ],
)
def test_urls_that_are_the_same(scheme: str, host: str, url: str) -> None:
    assert url_of(scheme.encode(), host.encode(), b"/x") == url.encode()


def test_it_can_be_shown() -> None:
    shown = key(
        "/x?b=2&a=1&c=3",
        "X-Tenant: t",
        "Cookie: lang=de; session=1",
        headers=["X-Tenant"],
        cookies=["lang"],
        query=["a"],
    )
    assert shown == b"shop https://shop.example/x?a=1\ncookie lang=de\nx-tenant: t"


def test_each_part_of_it_tells_requests_apart() -> None:
    parts: dict[str, Any] = {"headers": ["X-A", "X-B"], "cookies": ["c", "d"]}
    keys = [
        key("/x", **parts),
        key("/y", **parts),
        key("/X", **parts),
        key("/x/", **parts),
        key("/x?", **parts),
        key("/x?a", **parts),
        key("/x", scheme="http", **parts),
        key("/x", host="other.example", **parts),
        key("/x", "X-A: 1", **parts),
        key("/x", "X-B: 1", **parts),
        key("/x", "X-A: ", **parts),
        key("/x", "X_A: 1", **parts),
        key("/x", "X-A: 1", "X_A: 2", **parts),
        key("/x", "Cookie: c=1", **parts),
        key("/x", "Cookie: d=1", **parts),
        key("/x", "Cookie: c=", **parts),
        key("/x", "Cookie: c", **parts),
        key("/x", "Cookie: c=1; c=2", **parts),
        key("/x", "X-A: \\ncookie c=1", **parts),
    ]
    assert len(set(keys)) == len(keys)


def test_what_does_not_belong_to_it() -> None:
    parts: dict[str, Any] = {"headers": ["X-A"], "cookies": ["c"]}
    plain = key("/x", "X-A: 1", "Cookie: c=1", **parts)
    assert key("/x", "Cookie: e=5; c=1", "x-a: 1", "Accept: */*", "Authorization: b", **parts) == plain


def test_routes_have_their_own() -> None:
    one, other = rules(), rules()
    assert primary_key(one, b"http", b"a", b"/", asked()) == primary_key(other, b"http", b"a", b"/", asked())
    request = asked("Cookie: c=1")
    named = rules(key={"cookies": ["c"]})
    assert primary_key(named, b"http", b"a", b"/", request) != primary_key(one, b"http", b"a", b"/", request)
    assert primary_key(named, b"http", b"a", b"/", request).endswith(b"cookie c=1")


SELECTED = ["id", "page"]


@pytest.mark.parametrize(
    ("query", "part"),
    [
        # C03
        ("?id=1&utm_source=a", "?id=1"),
        ("?utm_source=b&id=1", "?id=1"),
        ("?id=1&gclid=Z", "?id=1"),
        ("?id=01", "?id=01"),
        ("?id=1&id=2", "?id=1&id=2"),
        ("?id=2&id=1", "?id=2&id=1"),
        ("?page=2&id=1", "?id=1&page=2"),
        ("?id=1&page=2", "?id=1&page=2"),
        ("?", ""),
        ("", ""),
        ("?&&", ""),
        ("?id", "?id"),
        ("?id=", "?id="),
        ("?ids=1", ""),
        # what services may take for one of them
        ("?ID=1", "?ID=1"),
        ("?%69d=1", "?%69d=1"),
        ("?id[]=1&id[x]=2", "?id[]=1&id[x]=2"),
        ("?+id=1", "?+id=1"),
        # what they read differently
        ("?utm=1;id=2", "?utm=1;id=2"),
        ("?x=%zz&id=1", "?x=%zz&id=1"),
        ("?x%00=1&id=1", "?x%00=1&id=1"),
    ],
)
def test_selected_parameters(query: str, part: str) -> None:
    assert key(f"/p{query}", query=SELECTED) == key(f"/p{part}")


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("?a=1&utm_source=x&b=2", "?a=1&b=2"),
        ("?b=2&a=1", "?b=2&a=1"),
        ("?utm_source=x&gclid=y", ""),
        ("?%75tm_source=x&a=1", "?a=1"),
        ("?gclid2=y", "?gclid2=y"),
        ("?UTM_source=x", "?UTM_source=x"),
        ("?gclid=1;a=2", "?gclid=1;a=2"),
    ],
)
def test_all_parameters_but_some(query: str, part: str) -> None:
    assert key(f"/p{query}", query={"all_but": ["gclid", "utm_*"]}) == key(f"/p{part}")


def test_no_parameter_at_all() -> None:
    assert key("/p?a=1;b", query="none") == key("/p", query="none") == key("/p?", query=[])


PARAMETERS = st.lists(
    st.tuples(st.sampled_from(["id", "page", "utm", "x"]), st.sampled_from(["", "=", "=1", "=2", "=%31"])), max_size=6
)


@given(PARAMETERS, PARAMETERS)
def test_two_queries_share_a_key_if_what_is_selected_of_them_is_the_same(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    queries = ["?" + "&".join(name + value for name, value in each) for each in (one, other)]
    selected = [[[text for name, text in each if name == wanted] for wanted in SELECTED] for each in (one, other)]
    same = key(f"/p{queries[0]}", query=SELECTED) == key(f"/p{queries[1]}", query=SELECTED)
    assert same is (selected[0] == selected[1])


def test_a_query_belongs_to_its_content() -> None:
    """RFC 10008, section 2.7."""
    compiled = rules()
    requests = [
        ((), b""),
        ((), b"a"),
        (("Content-Type: a/b",), b"a"),
        (("Content-Type: a/c",), b"a"),
        (("Content-Encoding: gzip",), b"a"),
        (("Content-Language: de",), b"a"),
        (("Content-Type: a",), b"/ba"),
    ]
    keys = [primary_key(compiled, b"http", b"a", b"/", asked(*lines), b"QUERY", content) for lines, content in requests]
    assert len({*keys, primary_key(compiled, b"http", b"a", b"/", asked())}) == len(keys) + 1
    again = primary_key(compiled, b"http", b"a", b"/", asked("Content-Type: a/b", "Accept: x"), b"QUERY", b"a")
    assert again == keys[2]
    head = primary_key(compiled, b"http", b"a", b"/", asked(), b"HEAD")
    assert head == primary_key(compiled, b"http", b"a", b"/", asked(), b"GET")


def said(value: str) -> NoVarySearch | None:
    return NoVarySearch.of(fields(f"No-Vary-Search: {value}"))


@pytest.mark.parametrize(
    "value",
    [
        *("", "params=()", "key-order=?0", "unknown", 'key-order="x"', 'params="a"', "params=(a)", "params=?0"),
        *(
            "params",
            'params, except=("x")',
            'params=("a"), except=("b")',
            "except=?1",
            'except="x"',
            "except=(1)",
            "((",
        ),
    ],
)
def test_what_says_nothing_of_the_query_or_nothing_unambiguous(value: str) -> None:
    assert said(value) is None


@pytest.mark.parametrize(
    ("value", "one", "other", "is_same"),
    [
        ('params=("a")', "?a=1&b=2", "?b=2", True),
        ('params=("a")', "?a=1&b=2", "?b=3", False),
        ('params=("a")', "?b=2&c=3", "?c=3&b=2", False),
        ('params=("a"), key-order', "?b=2&c=3&a", "?c=3&b=2", True),
        ("key-order", "?b=2&a=1", "?a=1&b=2", True),
        ("key-order", "?a=1&a=2", "?a=2&a=1", False),
        ('except=("id")', "?id=1&x=2&y", "?id=1", True),
        ('except=("id")', "?id=1", "?id=2", False),
        ("except=()", "?id=1", "", True),
        ('params=("%C3%A9+x")', "?%c3%a9%20x=1&b", "?b", True),
        ('params=("a")', "?%61=1", "?", True),
        ('params=("a")', "?a=1;b=2", "", False),
    ],
)
def test_parameters_that_do_not_matter_by_the_response(value: str, one: str, other: str, is_same: bool) -> None:
    found = said(value)
    assert found is not None
    keys = [key_without(found, rules(), b"http", b"a", b"/p" + query.encode(), asked()) for query in (one, other)]
    assert (keys[0] == keys[1]) is is_same


def test_responses_that_say_something_else_are_kept_apart() -> None:
    values = [
        'params=("a")',
        'except=("a")',
        'params=("a" "b")',
        'params=("a"), key-order',
        "key-order",
        'params=("ab")',
    ]
    found = [each for value in values if (each := said(value))]
    keys = {key_without(each, rules(), b"http", b"a", b"/p?x=1", asked()) for each in found}
    assert len(keys) == len(values)
    assert primary_key(rules(), b"http", b"a", b"/p?x=1", asked()) not in keys
    for one, other in combinations(found, 2):
        assert one.text != other.text


def test_where_it_is_remembered() -> None:
    assert path_key(rules(), b"http", b"A:80", b"/p?x") == path_key(rules(), b"http", b"a", b"/p") == b"shop http://a/p"
