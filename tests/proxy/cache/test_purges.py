"""Purges are compared with what is stored: none misses an entry that it names, and none takes another."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core.messages import Fields, ResponseHead
from portico.policies.cache import AllBut
from portico.proxy.cache.purges import UNCHECKED, Purge, Purges
from portico.proxy.cache.query import QuerySelection
from portico.proxy.cache.stored import Resource, Stored


def _head() -> ResponseHead:
    head = ResponseHead()
    head.status, head.raw, head.fields = 200, b"", Fields([], [])
    return head


def _resource(path: str, origin: str = "https://a.example", service: str = "news") -> Resource:
    return Resource(path.encode(), f"{origin}{path}".encode(), service)


def _stored(*tags: bytes, since: float = 0.0, lifetime: float = 60.0, born: float = 0.0, checked: int = 0) -> Stored:
    return Stored(head=_head(), since=since, lifetime=lifetime, tags=frozenset(tags), born=born, checked=checked)


def _purged(purge: Purge, resource: Resource, *tags: bytes) -> bool:
    purges = Purges()
    purges.add([purge])
    return purges.verdict(_stored(*tags), resource, 0) == "gone"


@pytest.mark.parametrize(
    ("named", "taken", "left"),
    [
        ("/x", ["/x", "/%78"], ["/x?y", "/x/", "/x?", "/y", "/"]),
        ("/x?y", ["/x?y", "/x?%79"], ["/x", "/x?", "/x?y=", "/x?Y"]),
        ("/a%2fb", ["/a%2Fb", "/a%2fb"], ["/a/b"]),
        ("/käse rot", ["/k%C3%A4se%20rot", "/k%c3%a4se%20rot"], ["/kase"]),
        ("//A.example/x", ["/x"], ["/y"]),
        ("HTTPS://a.example:443/x", ["/x"], ["/y"]),
        ("https://a.example", ["/"], ["/x"]),
        ("https://a.example?q", ["/?q"], ["/"]),
        ("http://a.example/x", [], ["/x"]),
        ("https://b.example/x", [], ["/x"]),
        ("//b.example/x", [], ["/x"]),
        ("//a.example:8443/x", [], ["/x"]),
    ],
)
def test_a_url_names_one_path_and_query(named: str, taken: list[str], left: list[str]) -> None:
    purge = Purge.of("url", named)

    assert [path for path in taken if not _purged(purge, _resource(path))] == []
    assert [path for path in left if _purged(purge, _resource(path))] == []


@pytest.mark.parametrize(
    ("prefix", "taken", "left"),
    [
        ("/a", ["/a", "/a/", "/a/b", "/a?q", "/%61/b"], ["/ab", "/", "/b/a"]),
        ("/a/", ["/a/", "/a/b"], ["/a", "/a?q", "/ab"]),
        ("/a*", ["/a", "/a/b", "/ab", "/a?q"], ["/", "/b"]),
        ("/a?page=*", ["/a?page=", "/a?page=2"], ["/a", "/a?q"]),
        ("/", ["/", "/a", "/?q"], []),
        ("//a.example", ["/", "/a"], []),
        ("//a.example/a", ["/a", "/a/b"], ["/ab", "/"]),
        ("https://a.example/a*", ["/a", "/ab"], ["/"]),
        ("http://a.example/", [], ["/", "/a"]),
        ("//b.example", [], ["/", "/a"]),
    ],
)
def test_a_prefix_ends_with_a_segment_or_with_a_star(prefix: str, taken: list[str], left: list[str]) -> None:
    purge = Purge.of("prefix", prefix)

    assert [path for path in taken if not _purged(purge, _resource(path))] == []
    assert [path for path in left if _purged(purge, _resource(path))] == []


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("url", "x", "expected a path"),
        ("url", "", "expected a path"),
        ("url", "#x", "expected a path"),
        ("url", "/x#y", "fragment"),
        ("url", "ftp://h/x", "not ftp"),
        ("url", "https://a b/x", "host name"),
        ("url", "https://h:port/x", "expected a path"),
        ("prefix", "/a?b", "/a?b*"),
        ("prefix", "a*", "expected a path"),
        ("tag", "", "a tag is not empty"),
        ("service", "", "a service is not empty"),
    ],
)
def test_what_names_nothing_is_refused(kind: Any, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Purge.of(kind, text)


def test_tags_groups_services_and_everything() -> None:
    entry = _resource("/x")
    tags = (b"tag:red", b"group:blue")

    assert _purged(Purge.of("tag", "red"), entry, *tags)
    assert not _purged(Purge.of("tag", "blue"), entry, *tags)
    assert not _purged(Purge.of("tag", "Red"), entry, *tags)
    assert _purged(Purge.of("group", "blue"), entry, *tags)
    assert not _purged(Purge.of("group", "red"), entry, *tags)
    assert _purged(Purge.of("group", "blue", origin="https://A.example:443"), entry, *tags)
    assert not _purged(Purge.of("group", "blue", origin="https://b.example"), entry, *tags)
    assert _purged(Purge.of("service", "news"), entry)
    assert not _purged(Purge.of("service", "new"), entry)
    assert _purged(Purge.of("all"), entry)


# ---- what became of one response


def _since(purges: Purges, stored: Stored, resource: Resource) -> str | None:
    return purges.verdict(stored, resource, stored.checked)


def test_only_what_is_older_than_a_purge_is_subject_to_it() -> None:
    purges, entry = Purges(), _resource("/x")
    before = _stored()
    purges.add([Purge.of("url", "/x")])
    after = _stored(checked=purges.number)

    assert (_since(purges, before, entry), _since(purges, after, entry)) == ("gone", None)
    assert purges.passed(before, entry) is None
    assert purges.passed(after, entry) is after


def test_a_soft_purge_ends_the_freshness_and_leaves_the_rest() -> None:
    purges, entry = Purges(), _resource("/x")
    now = time.monotonic()
    old, fresh = _stored(since=now - 50, lifetime=20), _stored(since=now - 50, lifetime=500)
    purges.add([Purge.of("url", "/x", soft=True)])

    stale = purges.passed(fresh, entry)
    assert stale is not None
    assert 50 <= stale.lifetime < 60
    assert purges.passed(stale, entry) is stale, "once is enough"
    still = purges.passed(old, entry)
    assert still is not None
    assert still.lifetime == 20, "what was stale before is not fresher"


def test_a_hard_purge_counts_more_than_a_soft_one() -> None:
    for kinds in ((True, False), (False, True)):
        purges = Purges()
        purges.add(Purge.of("url", "/x", soft=soft) for soft in kinds)
        assert purges.passed(_stored(), _resource("/x")) is None


def test_a_purge_that_comes_twice_applies_once() -> None:
    purges, purge = Purges(), Purge.of("all")
    purges.add([purge])
    stored = _stored(checked=purges.number)
    purges.add([purge])
    assert purges.passed(stored, _resource("/x")) is stored


def test_entries_without_a_number_are_compared_by_the_clock() -> None:
    purges, entry = Purges(), _resource("/x")
    purges.add([msgspec.structs.replace(Purge.of("tag", "t"), at=100.0)])
    purges.add([msgspec.structs.replace(Purge.of("url", "/x", soft=True), at=200.0)])

    born: dict[float, str | None] = {99.9: "gone", 100.0: "gone", 100.1: "soft", 200.0: "soft", 200.1: None}
    assert {at: _since(purges, _stored(b"tag:t", born=at, checked=UNCHECKED), entry) for at in born} == born


def test_what_is_older_than_every_purge_that_is_known_may_have_been_purged() -> None:
    purges, entry = Purges(), _resource("/y")
    purges.add([Purge.of("url", "/x"), Purge.of("url", "/z")])
    purges.forget(1)

    assert purges.verdict(_stored(), entry, 0) == "gone", "it may have been the one that is forgotten"
    assert purges.verdict(_stored(), entry, 1) is None
    assert purges.verdict(_stored(), _resource("/z"), 1) == "gone"
    assert len(purges) == 1


# ---- properties: against the same, said simply

_PATHS = st.sampled_from(["/", "/a", "/a/", "/a?b", "/a/b", "/ab", "/%61", "/a%2fb", "/a/b?c=/d", "/b/a"])
_ORIGINS = st.sampled_from(["https://a.example", "http://a.example", "https://a.example:8443", "https://b.example"])
_NAMES = st.sampled_from(["red", "blue"])
_URLS = st.builds(str.__add__, st.one_of(st.just(""), _ORIGINS, _ORIGINS.map(lambda o: o.partition(":")[2])), _PATHS)
_PURGES = st.one_of(
    st.builds(lambda url: ("url", url), _URLS),
    st.builds(lambda url, star: ("prefix", url.partition("?")[0] + star), _URLS, st.sampled_from(["", "*"])),
    st.builds(lambda name: ("tag", name), _NAMES),
    st.builds(lambda name: ("group", name), _NAMES),
    st.builds(lambda name: ("service", name), st.sampled_from(["news", "shop"])),
    st.just(("all", "")),
)
_ENTRIES = st.builds(
    lambda origin, path, service, tags: (_resource(path, origin, service), frozenset(tags)),
    *(_ORIGINS, _PATHS, st.sampled_from(["news", "shop"])),
    st.lists(st.builds(lambda kind, name: f"{kind}:{name}".encode(), st.sampled_from(["tag", "group"]), _NAMES)),
)


def _names(kind: str, value: str, entry: Resource, tags: frozenset[bytes]) -> bool:
    """Whether a purge names an entry, in the plainest way there is."""
    if kind in ("tag", "group"):
        return f"{kind}:{value}".encode() in tags
    if kind in ("service", "all"):
        return value in ("", entry.service)
    spelled = re.compile("%[0-9a-f]{2}", re.IGNORECASE)
    url, named = (
        spelled.sub(lambda found: "a" if found[0] == "%61" else found[0].upper(), text)
        for text in (entry.url.decode(), value)
    )
    if named.startswith("//"):
        url = url[url.index("//") :]
    elif named.startswith("/"):
        url = "/" + url.split("/", 3)[3]
    if kind == "url":
        return url == named
    if named.endswith("*"):
        return url.startswith(named[:-1])
    return url == named or url.startswith((named.rstrip("/") + "/", named + "?") if not named.endswith("/") else named)


@given(st.lists(_PURGES, max_size=6), _ENTRIES)
def test_purges_take_what_they_name_and_nothing_else(asked: list[tuple[Any, str]], entry: Any) -> None:
    resource, tags = entry
    purges = Purges()
    purges.add(Purge.of(kind, value) for kind, value in asked)

    expected = any(_names(kind, value, resource, tags) for kind, value in asked)
    assert (purges.passed(_stored(*tags), resource) is None) == expected


@given(st.lists(st.tuples(_PURGES, st.booleans()), max_size=8), _ENTRIES, st.data())
def test_what_was_compared_with_some_is_compared_with_the_rest(steps: list[Any], entry: Any, data: Any) -> None:
    """Whether a variant is looked at after each purge, after a few, or forgets those that it was compared with."""
    resource, tags = entry
    purges, stored, gone, soft = Purges(), _stored(*tags, lifetime=1e9), False, False
    for (kind, value), is_soft in steps:
        purges.add([Purge.of(kind, value, soft=is_soft)])
        if _names(kind, value, resource, tags):
            gone, soft = gone or not is_soft, soft or is_soft
        if data.draw(st.booleans()):
            left = purges.passed(stored, resource)
            assert (left is None) == gone
            if left is None:
                return
            stored = left
            if data.draw(st.booleans()):
                purges.forget(stored.checked)
    left = purges.passed(stored, resource)
    assert (left is None) == gone
    if left is not None:
        assert (left.lifetime < 1e9) == soft


# ---- keys that do not tell all queries apart


@pytest.mark.parametrize(
    ("query", "named", "taken", "left"),
    [
        ("none", "/x?a=2", ["/x", "/x?a=1"], ["/y?a=2", "/x/"]),
        ("none", "/x", ["/x", "/x?a=1"], ["/x/"]),
        (["id"], "/x?b=1&id=2", ["/x?id=2", "/x?id=2&c=3"], ["/x?id=1", "/x"]),
        (["id"], "/x", ["/x", "/x?c=3"], ["/x?id=2"]),
        (AllBut(all_but=["utm_*"]), "/x?utm_a=1&id=2", ["/x?id=2", "/x?id=2&utm_b=3"], ["/x", "/x?id=3"]),
        ("all", "/x?a=1", ["/x?a=1"], ["/x", "/x?a=2"]),
    ],
)
def test_a_url_is_every_url_that_has_its_key(query: Any, named: str, taken: list[str], left: list[str]) -> None:
    selection = QuerySelection.written(query)

    def is_purged(path: str) -> bool:
        purges = Purges()
        purges.selections = {} if selection.keeps_all else {b"s/r": selection}
        purges.add([Purge.of("url", named)])
        url = f"https://a.example{path}".encode()
        return purges.passed(_stored(), Resource(b"s/r " + url, url, "news")) is None

    assert [path for path in taken if not is_purged(path)] == []
    assert [path for path in left if is_purged(path)] == []


def test_a_url_is_every_url_that_has_its_key_by_a_response_s_own_word() -> None:
    """No-Vary-Search: params=("t")."""
    purges = Purges()
    purges.add([Purge.of("url", "/x?t=5&id=2")])
    line = b'No-Vary-Search: params=("t")'

    def is_purged(path: str) -> bool:
        stored = _stored()
        stored.head.fields = Fields([b"no-vary-search"], [line])
        url = f"https://a.example{path}".encode()
        return purges.passed(stored, Resource(b"s/r " + url + b"\nno-vary-search x", url, "news")) is None

    assert [is_purged(path) for path in ("/x?id=2", "/x?id=2&t=9", "/x?id=3&t=5", "/x")] == [True, True, False, False]


def test_tags_beyond_ascii_are_compared_by_their_bytes() -> None:
    assert _purged(Purge.of("tag", "käse"), _resource("/x"), "tag:käse".encode())
