"""The variants of a key, and heads that are derived of stored ones."""

from __future__ import annotations

from portico.proxy.cache.stored import MOST_VARIANTS, Resource, Stored, derived_head
from proxy.cache.messages import NOW, asked, body, response, stored, values

FRESH = "Cache-Control: max-age=60"


def resource(*variants: Stored) -> Resource:
    """What becomes of variants that are stored one after the other."""
    found = Resource(b"shop https://a/x", b"https://a/x", "shop")
    for each in variants:
        found.put(each)
    assert found.size == Resource(found.key, found.url, "shop", found.variants).size
    return found


def variant(value: str, content: bytes = b"") -> Stored:
    return stored(FRESH, "Vary: Foo", to=(f"Foo: {value}",), content=content)


def test_variants_are_found_each_by_its_own_requests() -> None:
    one, two = variant("1"), variant("2")
    found = resource(one, two)
    assert found.find(asked("Foo: 1"), None) is one
    assert found.find(asked("Foo: 2"), None) is two
    assert found.find(asked("Foo: 3"), None) is None
    assert found.find(asked(), None) is None


def test_the_newest_of_several_that_answer_is_taken() -> None:
    general, special = stored(FRESH), variant("1")
    found = resource(general, special)
    assert found.find(asked("Foo: 1"), None) is special
    assert found.find(asked("Foo: 2"), None) is general


def test_a_new_response_takes_the_place_of_those_that_it_answers_for() -> None:
    newer = variant("1")
    found = resource(variant("1"), variant("2"), newer)
    assert len(found.variants) == 2
    assert found.variants[0] is newer
    last = stored(FRESH)
    found.put(last)
    assert found.variants == [last]


def test_what_is_apart_stays_apart() -> None:
    alices, bobs, anonymous = stored(FRESH), stored(FRESH), stored(FRESH)
    alices.asker, bobs.asker = b"alice", b"bob"
    found = resource(alices, bobs, anonymous)
    assert [found.find(asked(), asker) for asker in (b"alice", b"bob", None)] == [alices, bobs, anonymous]
    assert found.find(asked(), b"carol") is None
    shared = stored("Cache-Control: public, max-age=60")
    found.put(shared)
    assert found.variants == [shared]


def test_there_are_as_many_variants_as_codings_that_were_used() -> None:
    lines = (FRESH, "Vary: Accept-Encoding")
    narrow = stored(*lines, "Content-Encoding: gzip", to=("Accept-Encoding: gzip",))
    wide = stored(*lines, "Content-Encoding: gzip", to=("Accept-Encoding: gzip, deflate",))
    brotli = stored(*lines, "Content-Encoding: br", to=("Accept-Encoding: gzip, br",))
    plain = stored(*lines)
    found = resource(wide, brotli, plain, narrow)
    assert len(found.variants) == 3
    gzip = found.find(asked("Accept-Encoding: deflate, gzip"), None)
    assert gzip is not None
    assert gzip is found.find(asked("Accept-Encoding: gzip"), None)
    assert gzip.codings == frozenset({b"gzip", b"deflate", b"identity"})
    assert found.find(asked("Accept-Encoding: br"), None) is brotli
    assert found.find(asked(), None) is plain


def test_made_up_codings_do_not_grow_what_is_stored() -> None:
    lines = (FRESH, "Vary: Accept-Encoding", "Content-Encoding: gzip")
    many = [stored(*lines, to=(f"Accept-Encoding: gzip, made-up-{number}",)) for number in range(500)]
    found = resource(*many)
    assert len(found.variants) == 1
    assert found.size < 2 * Resource(found.key, found.url, "shop", many[:1]).size + 64 * 150
    assert found.find(asked("Accept-Encoding: gzip"), None) is found.variants[0]


def test_there_is_an_end_of_variants() -> None:
    found = resource(*(variant(str(number)) for number in range(MOST_VARIANTS + 5)))
    assert len(found.variants) == MOST_VARIANTS
    assert found.find(asked("Foo: 0"), None) is None
    assert found.find(asked(f"Foo: {MOST_VARIANTS + 4}"), None) is found.variants[0]


def test_one_is_replaced_or_removed_where_it_still_is() -> None:
    one, two, three = variant("1", content=b"1" * 100), variant("2"), variant("1", content=b"22")
    found = resource(one, two)
    found.replace(one, three)
    assert found.variants == [two, three]
    found.replace(one, two)
    found.replace(two, None)
    assert found.variants == [three]
    assert found.size == Resource(found.key, found.url, "shop", [three]).size


def test_its_size_is_that_of_its_content_and_more() -> None:
    assert stored(FRESH, content=b"x" * 1000).size - stored(FRESH).size >= 1000
    assert stored(FRESH, "X: " + "y" * 1000).size - stored(FRESH, "X: ").size >= 2000
    assert variant("y" * 1000).size - variant("").size >= 1000


def test_a_soft_purge_makes_it_stale_and_leaves_its_allowances() -> None:
    found = stored(f"{FRESH}, stale-if-error=30", content=b"hello")
    purged = found.made_stale(NOW + 10)
    assert (purged.lifetime, purged.stale_if_error, purged.body) == (10, 30, found.body)
    assert found.made_stale(NOW + 100).lifetime == 60
    assert found.lifetime == 60


def test_a_derived_head() -> None:
    head = response("A: 1", "B: 2", "Content-Length: 5", "Connection: c", "C: 3", "Location: /x")
    made = derived_head(head, status=206, without={b"b"}, lines=(b"D: 4",), framing=3)
    assert (made.status, made.line, made.framing) == (206, b"HTTP/1.1 206 Partial Content", 3)
    assert made.fields.lines == [b"A: 1", b"Location: /x", b"D: 4", b"Content-Length: 3"]
    assert made.fields.names == [b"a", b"location", b"d", b"content-length"]
    assert (set(made.noted), set(made.hop_by_hop), made.passed) == ({b"location"}, set(), b"")
    assert head.fields.names.count(b"b") == 1


def test_a_head_gets_the_length_that_its_body_has() -> None:
    chunked = stored(FRESH, "Transfer-Encoding: chunked", content=b"hello").head
    assert (chunked.framing, values(chunked, "content-length")) == (5, ["5"])
    assert values(chunked, "transfer-encoding") == []
    assert values(stored(FRESH, "Content-Length: 5", content=b"hello").head, "content-length") == ["5"]
    empty = stored(FRESH).with_body(body(b""))
    assert (empty.head.framing, values(empty.head, "content-length")) == (0, ["0"])
