"""The memory store: what it keeps, what goes first, and that nothing is beyond its bound."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections.abc import Iterable

import pytest

from portico.core.slices import at_once
from portico.observe.metrics import Metrics
from portico.proxy.cache.caches import Caches
from portico.proxy.cache.memory import MemoryStore, Pattern
from portico.proxy.cache.stored import PIECE, Resource, Stored
from support.stored import asked, content, key_of, lines_of, resource, response

MIB = 1 << 20
GERMAN = (b"accept-language", b"de")


def find(store: MemoryStore, name: str, *lines: bytes, asker: bytes | None = None) -> Stored | None:
    found = store.get(key_of(name))
    return None if found is None else found.find(asked(*lines), asker)


def put(store: MemoryStore, name: str, stored: Stored | None = None) -> bool:
    return store.put(resource(name), stored or response())


def there(store: MemoryStore, names: Iterable[str]) -> set[str]:
    """Which of these are stored; that is no hit."""
    return {name for name in names if store.get(key_of(name)) is not None}


def everything(store: MemoryStore) -> list[Stored]:
    """All variants; none of them is asked for by that."""
    seen: list[Stored] = []

    def see(own: Resource, stored: Stored) -> bool:
        seen.append(stored)
        return False

    at_once(store.sweep(see))
    return seen


@pytest.mark.parametrize("body", [b"", b"hello", b"x" * PIECE, b"x" * (2 * PIECE + 1)], ids=len)
def test_what_is_found_is_what_was_put(body: bytes) -> None:
    store = MemoryStore(64 * MIB)
    stored = response(body, b"X-A: b", etag=b'"a"', lifetime=5.0)
    assert put(store, "a", stored)
    for _ in range(2):
        found = find(store, "a")
        assert found is not None
        assert (content(found), lines_of(found)) == (body, lines_of(stored))
        assert (found.etag, found.lifetime, found.since, found.born) == (b'"a"', 5.0, stored.since, stored.born)
    known = store.get(key_of("a"))
    assert known is not None
    assert (known.url, known.service) == (b"http://localhost/a", "items")
    assert find(store, "b") is None
    assert store.entries == 1


def test_a_new_response_takes_the_place_of_the_one_before() -> None:
    store = MemoryStore(64 * MIB)
    for number in range(5):
        put(store, "a", response(b"%d" % number))
        found = find(store, "a")
        assert found is not None
        assert content(found) == b"%d" % number
    put(store, "a", response(b"unseen"))
    put(store, "a", response(b"last"))
    found = find(store, "a")
    assert found is not None
    assert content(found) == b"last"
    assert store.entries == 1


def test_variants_are_beside_each_other() -> None:
    store = MemoryStore(64 * MIB)
    for language in (b"de", b"en"):
        put(store, "a", response(language, vary=((b"accept-language", language),)))
    for language in (b"de", b"en"):
        found = find(store, "a", b"Accept-Language: " + language)
        assert found is not None
        assert content(found) == language
    assert find(store, "a", b"Accept-Language: fr") is None
    assert store.entries == 2


def test_what_is_removed_is_gone_with_its_bytes() -> None:
    """By itself, with its resource, found before or not; what had been found and is put again is the new one alone."""
    store = MemoryStore(64 * MIB)
    empty = store.bytes
    for is_found in (False, True):
        put(store, "a", response(b"two"))
        put(store, "a", response(b"one", vary=(GERMAN,)))
        own = store.get(key_of("a"))
        stored = find(store, "a", b"Accept-Language: de")
        assert own is not None
        assert stored is not None
        store.drop(own, stored)
        store.drop(own, stored)
        assert store.entries == 1
        if is_found:
            find(store, "a")
        store.discard(key_of("a"))
        store.discard(key_of("a"))
        assert (store.entries, store.get(key_of("a"))) == (0, None)
        store.put(own, response(b"new"))
        found = find(store, "a", b"Accept-Language: de")
        assert found is not None
        assert content(found) == b"new"
        assert store.entries == 1
        store.discard(key_of("a"))
    assert store.bytes - empty < 400, "a place in the queue"
    for number in range(1000):
        put(store, "a", response(b"%d" % number))
        store.discard(key_of("a"))
    assert store.bytes - empty < 400, "it is the same place"


def test_what_was_found_before_it_was_packed_can_be_removed() -> None:
    store = MemoryStore(2 * MIB)
    put(store, "a")
    own, stored = store.get(key_of("a")), find(store, "a")
    assert own is not None
    assert stored is not None
    for number in range(20_000):  # it goes on to the main queue, is packed there, and stays for being found
        put(store, f"b{number}")
        if number % 2000 == 0:
            assert find(store, "a") is not None
    store.drop(own, stored)
    assert find(store, "a") is None


def test_what_takes_too_much_of_it_is_not_taken() -> None:
    store = MemoryStore(MIB)
    put(store, "small")
    assert not put(store, "large", response(b"x" * (MIB // 8)))
    assert find(store, "large") is None
    assert find(store, "small") is not None
    assert put(store, "middle", response(b"x" * (MIB // 10)))


def test_it_keeps_within_its_bytes() -> None:
    """Whatever is put, found, replaced and removed, in whatever order; and the counts stay true."""
    dice = random.Random(1)
    store = MemoryStore(MIB)
    for _ in range(20_000):
        name = str(int(dice.paretovariate(0.3)) % 3000)
        chance = dice.random()
        if chance < 0.5:
            vary = ((b"accept-language", b"%d" % dice.randrange(9)),) if chance < 0.1 else ()
            put(store, name, response(b"x" * int(dice.paretovariate(0.5)), vary=vary, etag=b'"a"'))
        elif chance < 0.9:
            find(store, name, b"Accept-Language: %d" % dice.randrange(9))
        else:
            store.discard(key_of(name))
        assert store.bytes <= MIB
    assert store.evictions > 1000
    assert store.entries == len(everything(store))
    at_once(store.sweep(lambda own, stored: True))
    assert store.entries == 0


def test_it_can_be_made_smaller_and_larger() -> None:
    store = MemoryStore(16 * MIB)
    for number in range(8000):
        put(store, f"{number}", response(b"x" * 1000))
    assert store.bytes > 11 * MIB
    steps = store.bounding(2 * MIB)
    next(steps)
    assert 2 * MIB < store.bytes < 16 * MIB, "not all at once"
    at_once(steps)
    assert MIB < store.bytes <= 2 * MIB
    assert not put(store, "large", response(b"x" * MIB))
    at_once(store.bounding(16 * MIB))
    assert put(store, "large", response(b"x" * MIB))


def test_what_is_asked_for_stays_as_its_own_turn_comes() -> None:
    """Unpacking it makes room, which may come round to it: a variant that is put then has to be there."""
    store = MemoryStore(MIB)
    for number in range(2000):  # packed, one beside the other, up to the bound
        put(store, str(number), response(b"x" * 100, etag=b'"a"'))
    for number in range(2000):
        there_before = store.get(key_of(str(number)))
        if there_before is None:
            continue
        assert there_before.variants, "what is found has something"
        assert put(store, str(number), response(b"y", vary=(GERMAN,)))
        found = find(store, str(number), b"Accept-Language: de")
        assert found is not None
        assert content(found) == b"y"
    assert store.entries == len(everything(store))
    assert store.bytes <= MIB


def test_another_bound_holds_for_single_responses_too() -> None:
    """What a route's cache takes is read from it when the next snapshot is built."""
    caches = Caches(8 * MIB, Metrics())
    large = response(b"x" * (2 * MIB))
    assert not put(caches.memory, "a", large)
    at_once(caches.resizing(80 * MIB))
    assert put(caches.memory, "a", large)
    at_once(caches.resizing(MIB))
    assert caches.memory.bytes <= MIB
    assert caches.room.most == MIB


@pytest.mark.parametrize("size", [50, 5000])
@pytest.mark.parametrize("is_found", [False, True])
def test_all_that_is_in_memory_is_counted(size: int, is_found: bool) -> None:
    """Millions of keys that come once, with small bodies: what Python takes for them is within the bound."""
    bound = 2 * MIB
    gc.collect()
    tracemalloc.start()
    try:
        store = MemoryStore(bound)
        for number in range(10_000, 10_000 + 3 * bound // (size + 600)):
            name, tag = f"{number}/a-path-of-usual-length", b'"%d"' % number
            put(store, name, response(b"%d" % number * (size // 5), b"ETag: " + tag, b"Server: a", etag=tag))
            if is_found:
                found = find(store, name)
                assert found is not None
                found.head.passed = b"".join(lines_of(found))  # as the first that is sent has it
                del found
        gc.collect()
        taken, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert store.evictions
    assert 0.4 * bound < taken < bound
    assert peak < 1.2 * bound


def test_what_was_found_outlives_what_comes_once() -> None:
    store = MemoryStore(MIB)
    popular = [f"popular-{number}" for number in range(50)]
    for name in popular:
        put(store, name)
        assert find(store, name) is not None
    for number in range(20_000):
        put(store, f"once-{number}")
        if number % 100 == 0:
            assert find(store, popular[number // 100 % 50]) is not None
    assert there(store, popular) == set(popular)


def test_what_was_popular_goes_once_nobody_asks_for_it() -> None:
    store = MemoryStore(MIB)
    old = [f"old-{number}" for number in range(200)]
    for name in old * 5:
        if find(store, name) is None:
            put(store, name)
    for step in range(20):
        for number in range(500):
            name = f"new-{step // 5}-{number}"
            if find(store, name) is None:
                put(store, name)
    assert not there(store, old)


def test_large_bodies_do_not_push_out_small_ones() -> None:
    store = MemoryStore(4 * MIB)
    small = [f"small-{number}" for number in range(200)]
    for name in small:
        put(store, name)
        assert find(store, name) is not None
    for number in range(500):
        put(store, f"large-{number}", response(b"x" * (MIB // 3)))
    assert there(store, small) == set(small)


def test_what_comes_back_soon_after_it_was_evicted_is_kept() -> None:
    """It was not found while it was new: only its return shows that it is asked for."""
    store = MemoryStore(MIB)

    def flood(count: int) -> None:
        for _ in range(count):
            put(store, f"once-{store.evictions}-{store.entries}")

    for number in range(1000):
        put(store, f"main-{number}")
        find(store, f"main-{number}")
    put(store, "back")
    while there(store, ["back"]):
        flood(10)
    put(store, "back")
    put(store, "new")
    flood(1000)
    assert there(store, ["back", "new"]) == {"back"}


def test_variants_go_one_by_one() -> None:
    """The one that is found stays, and of the others only as many go as there has to be room."""
    store = MemoryStore(MIB)
    for number in range(20):
        put(store, "a", response(b"x" * 30_000, vary=((b"x-variant", b"%d" % number),)))
    counts = []
    for number in range(1500):
        assert find(store, "a", b"X-Variant: 7") is not None
        put(store, f"{number}", response(b"x" * 10_000))
        find(store, f"{number}")
        own = store.get(key_of("a"))
        assert own is not None
        counts.append(len(own.variants))
    assert counts[0] == 20
    assert counts[-1] < 8
    assert len(set(counts)) > 5, "not all at once"


def test_what_can_serve_no_more_goes_first() -> None:
    """However often it was found; what can be validated, or may be served stale, stays."""
    store = MemoryStore(MIB)
    past = time.monotonic() - 1000
    dead = {f"dead-{number}": response(since=past) for number in range(20)}
    alive = {
        "valid": response(since=past, etag=b'"a"'),
        "dated": response(since=past, last_modified=b"Sun, 30 Nov 2025 10:00:00 GMT"),
        "stale": response(since=past, stale_if_error=5000.0),
        "fresh": response(),
    }
    for name, stored in (dead | alive).items():
        put(store, name, stored)
    for number in range(4000):
        if number % 100 == 0:
            for name in dead | alive:
                find(store, name)
        put(store, f"once-{number}")
    assert there(store, dead | alive) == set(alive)


def test_a_sweep_removes_what_it_is_told_to() -> None:
    """Packed or not, one variant or all; in steps; what is looked at twice is asked about once."""
    store = MemoryStore(64 * MIB)
    for number in range(200):
        put(store, f"{number}", response(tags=frozenset({b"tag:even" if number % 2 == 0 else b"tag:odd"})))
        if number % 3 == 0:
            find(store, f"{number}")
    put(store, "both", response(tags=frozenset({b"tag:odd"})))
    put(store, "both", response(tags=frozenset({b"tag:even"}), vary=(GERMAN,)))
    looked: list[bytes] = []

    def is_even(own: Resource, stored: Stored) -> bool:
        looked.append(own.key)
        return b"tag:even" in stored.tags

    steps = store.sweep(is_even, b"tag:even")
    assert next(steps) is None
    assert at_once(steps) == 101
    assert len(looked) < 150, "of what is packed, nothing else was unpacked"
    assert store.entries == 101
    assert there(store, ["0", "1", "2", "3", "both"]) == {"1", "3", "both"}


def test_a_sweep_may_put_others_in_their_places() -> None:
    """A soft purge does: they are stale from then on, and it is remembered with which purges they were compared."""
    store = MemoryStore(64 * MIB)
    for name in ("packed", "found"):
        put(store, name, response(checked=1))
    find(store, "found")

    def is_gone(own: Resource, stored: Stored) -> bool:
        stored.checked = 2
        if own.key == key_of("packed") or stored.lifetime:
            store.put(own, stored.made_stale(stored.since))
        return False

    assert at_once(store.sweep(is_gone)) == 0
    for name in ("packed", "found"):
        found = find(store, name)
        assert found is not None
        assert (found.lifetime, found.checked) == (0.0, 2)
    assert store.entries == 2


def test_what_a_sweep_noted_is_known_of_what_is_packed() -> None:
    store = MemoryStore(64 * MIB)
    put(store, "a", response(checked=1))

    def note(own: Resource, stored: Stored) -> bool:
        stored.checked = 2
        return False

    at_once(store.sweep(note))
    found = find(store, "a")
    assert found is not None
    assert found.checked == 2


def test_what_has_a_pattern_is_found_as_it_was_put() -> None:
    stored = response(b"abc", b"ETag: 1", b"Cache-Tag: a", etag=b"1", tags=frozenset({b"tag:a"}))
    pattern = Pattern.of(stored, "shop")
    store = MemoryStore(MIB)
    store.add(key_of("one"), pattern, b"xyz", 5.5, 6.5, 7)
    found = store.get(key_of("one"))
    assert found is not None
    assert (found.url, found.service) == (b"http://localhost/one", "shop")
    (own,) = found.variants
    assert (own.since, own.born, own.checked, own.hits) == (5.5, 6.5, 7, 0)
    assert (own.tags, own.etag, lines_of(own)) == (stored.tags, b"1", lines_of(stored))
    assert (own.body.pieces, own.body.size) == ((b"xyz",), 3)
    assert store.entries == 1
    store.discard(found.key)
    assert store.entries == 0


def test_what_has_a_pattern_takes_the_place_of_what_is_there() -> None:
    store = MemoryStore(MIB)
    for text in (b"abc", b"def"):
        store.add(key_of("one"), Pattern.of(response(text), "shop"), text, 0.0, 0.0, 0)
    found = store.get(key_of("one"))
    assert found is not None
    assert [stored.body.pieces for stored in found.variants] == [(b"def",)]
    assert store.entries == 1


def test_it_keeps_within_its_bytes_whatever_has_a_pattern() -> None:
    store, pattern = MemoryStore(MIB // 8), Pattern.of(response(b"x" * 100), "shop")
    for number in range(1000):
        store.add(key_of(f"{number}"), pattern, b"x" * 100, 0.0, 0.0, 0)
    assert store.evictions
    assert store.bytes <= store.most_bytes
    for number in range(1000):
        store.discard(key_of(f"{number}"))
    assert store.entries == 0
    large = Pattern.of(response(b"x" * MIB), "shop")
    store.add(key_of("large"), large, b"x" * MIB, 0.0, 0.0, 0)
    assert store.get(key_of("large")) is None


def test_who_looks_without_a_trace_sees_what_it_has_changed_itself() -> None:
    memory = MemoryStore(1 << 20)
    memory.put(resource(), response(b"fresh"))
    peeked = memory.peek()
    found = peeked.get(key_of("a"))
    assert found is not None
    stale = found.variants[0].made_stale(0.0)
    peeked.put(found, stale)
    assert found.variants == [stale]
    assert peeked.get(key_of("a")) is found
    peeked.drop(found, stale)
    assert peeked.get(key_of("a")) is None
    own = memory.get(key_of("a"))
    assert own is not None
    assert [content(each) for each in own.variants] == [b"fresh"]
