"""What is remembered of No-Vary-Search."""

from __future__ import annotations

from portico.proxy.cache.query import NoVarySearch
from portico.proxy.cache.searches import Searches

SAID = NoVarySearch(True, frozenset())
OTHERWISE = NoVarySearch(False, frozenset({b"from"}))


def test_the_last_word_of_a_path_counts() -> None:
    searches = Searches()
    assert not searches
    searches.note(b"/a", SAID)
    searches.note(b"/a", OTHERWISE)
    assert searches
    assert searches.of(b"/a") is OTHERWISE
    assert searches.of(b"/b") is None
    searches.forget(b"/a")
    searches.forget(b"/a")
    assert not searches


def test_it_is_bounded_in_number_and_length() -> None:
    searches = Searches()
    searches.note(b"/" + b"x" * 2000, SAID)
    assert not searches
    for number in range(10_000):
        searches.note(b"/%d" % number, SAID)
        searches.note(b"/always", SAID)
    known = [number for number in range(10_000) if searches.of(b"/%d" % number) is not None]
    assert len(known) == 4095
    assert known[-1] == 9999
    assert searches.of(b"/always") is SAID
