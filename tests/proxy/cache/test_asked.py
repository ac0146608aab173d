"""What caching reads of a request: codings, languages, and the values that Vary compares (RFC 9111, section 4.1)."""

from __future__ import annotations

import gc

import pytest

from portico.proxy.cache.asked import ABSENT, Asked
from proxy.cache.messages import asked, request


@pytest.mark.parametrize(
    ("accepts", "codings"),
    [
        (None, {"identity"}),
        ("", {"identity"}),
        ("gzip, deflate,br", {"gzip", "deflate", "br", "identity"}),
        ("br;q=1.0, gzip;q=0.8", {"br", "gzip", "identity"}),
        ("X-GZIP ; Q=0.5", {"gzip", "identity"}),
        ("gzip;q=0, br", {"br", "identity"}),
        ("gzip, identity;q=0", {"gzip"}),
        ("gzip, *;q=0", {"gzip"}),
        ("*, br;q=0.000", {"*", "!br", "identity"}),
        ("gzip;q=x", {"gzip", "identity"}),
    ],
)
def test_codings_that_a_request_accepts(accepts: str | None, codings: set[str]) -> None:
    lines = () if accepts is None else (f"Accept-Encoding: {accepts}",)
    assert asked(*lines).codings == {coding.encode() for coding in codings}


def test_codings_that_the_service_does_not_see() -> None:
    assert asked("Accept-Encoding: gzip", connection="accept-encoding").codings == {b"identity"}


@pytest.mark.parametrize(
    ("accepts", "language"),
    [
        ("de", b"de"),
        ("en-GB, en;q=0.9", b"en-gb"),
        ("fr;q=0.5, DE", b"de"),
        ("en, de", None),
        ("*", None),
        ("de;q=0", None),
        ("", None),
    ],
)
def test_the_language_that_a_request_prefers(accepts: str, language: bytes | None) -> None:
    assert asked(f"Accept-Language: {accepts}").language == language


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("Accept-Language", ["de, en;q=0.5"], ["DE ,en; q=0.5"]),
        ("Accept-Language", ["en;q=0.5, de"], ["de, en;q=0.50"]),
        ("Accept", ["text/html, */*;q=0.8"], ["text/html,*/*;q=0.8"]),
        ("Foo", ["1, 2"], ["1", "2"]),
    ],
)
def test_what_means_the_same_is_the_same(name: str, one: list[str], other: list[str]) -> None:
    first, second = (asked(*(f"{name}: {value}" for value in values)) for values in (one, other))
    assert first.value(name.lower().encode()) == second.value(name.lower().encode())


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("Accept-Language", "en, de", "de, en"),  # the first is preferred by many services
        ("Accept-Language", "en, de;q=0.5", "en, de;q=0.6"),
        ("Foo", "Smith, John", "Smith,John"),  # whatever that is
        ("Foo", "a", "A"),
        ("Accept", 'a;x="1, 2"', 'a;x="1,2"'),
        ("Authorization", "Bearer a", "Bearer b"),
    ],
)
def test_what_may_mean_something_else_is_not(name: str, one: str, other: str) -> None:
    lower = name.lower().encode()
    assert asked(f"{name}: {one}").value(lower) != asked(f"{name}: {other}").value(lower)


def test_a_field_that_is_not_there_is_none_of_its_values() -> None:
    assert asked().value(b"foo") == ABSENT
    assert asked("Foo: ").value(b"foo") == b""
    assert asked("Foo: 1", connection="foo").value(b"foo") == ABSENT


def test_spellings_that_servers_take_for_the_same_field_count() -> None:
    plain = asked("X-Tenant: a").value(b"x-tenant")
    assert plain == b"a"
    assert asked("X_Tenant: a").value(b"x-tenant") not in (plain, ABSENT)
    assert asked("X-Tenant: a", "X_Tenant: b").value(b"x-tenant") not in (plain, ABSENT)


def test_credentials_are_kept_as_digests() -> None:
    for line in ("Authorization: Bearer secret", "Cookie: session=secret"):
        value = asked(line).value(line.partition(":")[0].lower().encode())
        assert len(value) == 16
        assert b"secret" not in value


@pytest.mark.parametrize(
    "line",
    [
        *("Cache-Control: no-cache", "Pragma: no-cache", "Range: bytes=0-", "If-None-Match: *", "If-Match: *"),
        *("If-Modified-Since: x", "If-Unmodified-Since: x", "If-Range: x", "Incremental: ?1"),
    ],
)
def test_what_is_to_be_looked_at_more_closely(line: str) -> None:
    assert asked("Accept: */*", "Accept-Encoding: gzip", "Cookie: a=b", "Authorization: x").is_plain
    assert not asked("Accept: */*", line).is_plain


def test_it_is_remembered_with_the_fields() -> None:
    head = request("Accept: */*")
    assert Asked.of(head) is Asked.of(head)


@pytest.mark.parametrize(
    ("value", "is_incremental"),
    [("?1", True), ("?1;x", True), ("?0", False), ("1", False), ("yes", False), ("?1, ?0", False)],
)
def test_a_response_that_is_to_come_as_it_is_made(value: str, is_incremental: bool) -> None:
    assert asked(f"Incremental: {value}").is_incremental is is_incremental


def test_it_is_freed_with_the_fields() -> None:
    """What leads back to itself stays until a collection, and what a reload finds of such stays for good."""
    gc.collect()
    head = request("Accept: */*", "Accept-Language: de")
    assert Asked.of(head).language == b"de"
    del head
    assert gc.collect() == 0
