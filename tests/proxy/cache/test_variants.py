"""Which requests a stored response answers (RFC 9111, section 4.1), and who asks (section 3.5)."""

from __future__ import annotations

from typing import Any

import pytest

from portico.proxy.cache.stored import Resource
from portico.proxy.cache.variants import Asking, asker_of, variance_of
from proxy.cache.messages import asked, response, rules, stored

FRESH = "Cache-Control: max-age=60"


def answers(vary: str, first: list[str], second: list[str], *lines: str) -> bool:
    """Whether the response to a first request, which varies on these fields, answers the second one."""
    return stored(FRESH, f"Vary: {vary}", *lines, to=tuple(first)).matches(asked(*second), None)


@pytest.mark.parametrize(
    ("vary", "first", "second", "is_same"),
    [
        ("Foo", ["Foo: 1"], ["Foo: 1"], True),
        ("Foo", ["Foo: 1"], ["Foo: 2"], False),
        ("Foo", ["Foo: 1"], [], False),
        ("Foo", [], ["Foo: 1"], False),
        ("Foo", [], ["Foo: "], False),
        ("Foo", [], ["Bar: 1"], True),
        ("foo, BAR", ["Foo: 1", "Bar: a"], ["bar: a", "fOO: 1"], True),
        ("Foo, Bar", ["Foo: 1", "Bar: a"], ["Foo: 1", "Bar: b"], False),
        ("Foo, Bar", ["Foo: 1"], ["Foo: 1"], True),
        ("Foo, Bar", ["Foo: 1"], ["Foo: 1", "Bar: "], False),
        ("Foo", ["Foo: 1", "Foo: 2"], ["Foo: 1, 2"], True),
        ("Foo", ["Foo: 1"], ["Foo: 1", "F00: 1"], True),
        ("X-Foo", ["X-Foo: 1"], ["X-Foo: 1", "X_Foo: 2"], False),
        ("Host, X-Forwarded-Host", ["Host: a"], ["Host: b"], True),  # the key has it
        ("Via", ["Via: 1.1 a"], ["Via: 1.1 b"], False),
        ("Accept", ["Accept: a/b, c/d"], ["Accept: a/b,c/d"], True),
        ("Cookie", [], [], True),
    ],
)
def test_values_of_what_it_varies_on(vary: str, first: list[str], second: list[str], is_same: bool) -> None:
    assert answers(vary, first, second) is is_same


@pytest.mark.parametrize(
    ("coding", "first", "second", "is_same"),
    [
        # C02: what was chosen from more is chosen from less
        (None, "gzip, deflate, br, zstd", "gzip, deflate, br", True),
        (None, "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.8", True),
        (None, "gzip, deflate, br, zstd", None, True),
        (None, "gzip", "gzip, br", False),
        (None, None, "gzip", False),
        ("gzip", "gzip, deflate", "gzip,deflate", True),
        ("gzip", "gzip, br", "gzip", True),
        ("gzip", "gzip", "gzip, br", False),
        ("gzip", "gzip, br", "br", False),
        ("gzip", "gzip", None, False),
        ("gzip", "gzip", "x-gzip", True),
        ("gzip", "gzip, br", "gzip;q=0, br", False),
        ("gzip", "gzip, *", "*", True),
        ("gzip", "gzip, *", "*, gzip;q=0", False),
        ("gzip", "gzip", "*", False),
        ("identity", "gzip", "gzip", True),
        (None, "gzip", "gzip, identity;q=0", False),
        ("gzip, br", "gzip, br", "br, gzip", True),
        ("gzip, br", "gzip, br", "gzip", False),
    ],
)
def test_codings(coding: str | None, first: str | None, second: str | None, is_same: bool) -> None:
    one, other = ([] if value is None else [f"Accept-Encoding: {value}"] for value in (first, second))
    lines = [] if coding is None else [f"Content-Encoding: {coding}"]
    assert answers("Accept-Encoding", one, other, *lines) is is_same


@pytest.mark.parametrize(
    ("language", "first", "second", "is_same"),
    [
        (None, "en, de", "EN,de", True),
        (None, "en, de", "de, en", False),
        ("de", "en, de", "fr;q=0.5, de;q=1.0", True),
        ("de", "en, de", "de", True),
        ("de", "en, de", "de, en", False),
        ("de", "en, de", "de;q=0.5, fr", False),
        ("de", "en, de", "de-AT", False),
        ("de, en", "en, de", "de", False),
    ],
)
def test_languages(language: str | None, first: str, second: str, is_same: bool) -> None:
    one, other = ([f"Accept-Language: {value}"] for value in (first, second))
    lines = [] if language is None else [f"Content-Language: {language}"]
    assert answers("Accept-Language", one, other, *lines) is is_same


def test_fields_that_connection_takes_away_are_absent() -> None:
    """Else a client could have others get the response to a request without the field."""
    found = stored(FRESH, "Vary: Foo")
    assert found.matches(asked("Foo: 1", connection="foo"), None)
    assert not found.matches(asked("Foo: 1"), None)


def test_what_the_configuration_changes_is_the_same_for_all() -> None:
    compiled = rules(changes=frozenset({b"x-tenant", b"accept-encoding"}))
    head = response(FRESH, "Vary: X-Tenant, Accept-Encoding, Foo")
    variance = variance_of(compiled, Asking(asked("X-Tenant: a", "Foo: 1")), head)
    assert variance is not None
    assert (variance.vary, variance.codings, variance.is_apart) == (((b"foo", b"1"),), None, False)


def test_what_a_policy_tells_of_nobody_in_particular_is_not_compared() -> None:
    told = (b"X-Client: 10.0.0.1",)
    head = response(FRESH, "Vary: X-Client")
    assert variance_of(rules(), Asking(asked(), told=told), head) is None
    variance = variance_of(rules(), Asking(asked(), b"GET", b"someone", None, told), head)
    assert variance is not None
    assert variance.is_apart


NAMED = {"key": {"cookies": ["lang", "theme"]}}


@pytest.mark.parametrize(
    ("lines", "settings", "has_credentials"),
    [
        ([], {}, False),
        (["Accept: */*"], {}, False),
        (["Authorization: Bearer a"], {}, True),
        (["Authorization: "], {}, True),
        (["Cookie: lang=de"], {}, True),
        (["Cookie: lang=de"], NAMED, False),
        (["Cookie: lang=de; theme=dark"], NAMED, False),
        (["Cookie: lang=de", "Cookie: theme=dark;"], NAMED, False),
        (["Cookie: lang=de; session=1"], NAMED, True),
        (["Cookie: LANG=de"], NAMED, True),
        (['Cookie: lang="a; theme=b"'], NAMED, True),
        (["Cookie: de"], NAMED, True),
        (["Cookie: "], NAMED, False),
    ],
)
def test_what_credentials_are(lines: list[str], settings: dict[str, Any], has_credentials: bool) -> None:
    assert (asker_of(rules(**settings), asked(*lines)) is not None) is has_credentials


def test_whoever_a_service_can_tell_apart_is_another() -> None:
    compiled = rules()
    told = (b"X-Consumer-Username: alice",)
    askers = [
        asker_of(compiled, asked(), consumer="alice"),
        asker_of(compiled, asked(), consumer="bob"),
        asker_of(compiled, asked(), is_authenticated=True),
        asker_of(compiled, asked(), told, consumer="alice"),
        asker_of(compiled, asked(), (*told, b"X-Tenant: a"), consumer="alice"),
        asker_of(compiled, asked("Authorization: a"), told, consumer="alice"),
        asker_of(compiled, asked("Authorization: b"), told, consumer="alice"),
        asker_of(compiled, asked("Cookie: a"), told, consumer="alice"),
        asker_of(compiled, asked("Cookie: a", "Authorization: a"), told, consumer="alice"),
        asker_of(compiled, asked("Authorization: a")),
        asker_of(compiled, asked("Cookie: a")),
        asker_of(compiled, asked(), (b"ab", b"c"), is_authenticated=True),
        asker_of(compiled, asked(), (b"a", b"bc"), is_authenticated=True),
    ]
    assert None not in askers
    assert len(set(askers)) == len(askers)


def test_the_same_one_is_the_same_also_when_others_asked_in_between() -> None:
    compiled, request = rules(), asked("Authorization: a")
    first = asker_of(compiled, request, consumer="alice")
    assert asker_of(compiled, request, consumer="bob") != first
    assert asker_of(compiled, request, consumer="alice") == first
    assert asker_of(compiled, asked("Authorization: a", "Accept: */*"), consumer="alice") == first


def test_who_gets_what() -> None:
    shared, anonymous, alices = (
        stored("Cache-Control: public, max-age=60"),
        stored(FRESH),
        stored(FRESH),
    )
    alices.asker = b"alice"
    for found, to in ((shared, {None, b"alice", b"bob"}), (anonymous, {None}), (alices, {b"alice"})):
        assert {asker for asker in (None, b"alice", b"bob") if found.matches(asked(), asker)} == to
        resource = Resource(b"k", b"u", "shop", [found])
        assert {asker for asker in (None, b"alice", b"bob") if resource.find(asked(), asker) is found} == to
