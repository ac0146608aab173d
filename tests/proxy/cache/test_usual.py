"""The usual miss: what is known of a head that came before must not change what becomes of a response."""

from __future__ import annotations

import time
from dataclasses import replace
from email.utils import formatdate

import pytest

from fuzz.case import Answer as Reply
from fuzz.readers import Message
from portico.proxy.cache.purges import Purge
from proxy.hooks.scene import Scene

from .scene import ask, bodies, caches_of, get, one, outcomes, play, reply, scene, statuses

STORED = b"portico; fwd=uri-miss; stored"
COLLAPSED = b"portico; fwd=uri-miss; collapsed"


_OF_ONE = (b"x-request-id", b"server-timing")


def date(seconds_ago: float = 0) -> str:
    return "Date: " + formatdate(time.time() - seconds_ago, usegmt=True)


def replies(count: int, *lines: str, age: int | None = 60, status: str = "200 OK") -> list[Reply]:
    """Responses with one head, each with content of its own."""
    dated = lines if any(line.startswith("Date") for line in lines) else (date(), *lines)
    return [reply(f"body {number}", *dated, age=age, status=status) for number in range(count)]


def learn(own: Scene, *lines: str) -> None:
    """Have the head of the first responses known."""
    ask(own, *[get(f"/first{number}", *lines) for number in range(3)])
    assert len(caches_of(own).known) == 1


def told(message: Message) -> list[tuple[bytes, bytes]]:
    """What a response says, but of this transfer alone."""
    return [(name, value) for name, value in message.fields if name.lower() not in _OF_ONE]


@pytest.mark.parametrize(
    ("lines", "is_known"),
    [
        (["Cache-Control: max-age=60"], True),
        (["Cache-Control: public, max-age=60", "Cache-Tag: a, b"], True),
        (["Cache-Control: max-age=60", "Age: 7"], True),
        (["Cache-Control: no-cache", 'ETag: "1"'], True),
        (["Last-Modified: Fri, 15 Jan 2016 08:00:00 GMT"], True),
        (["Cache-Control: max-age=60", "Connection: x-own", "X-Own: 1"], False),
        (["Cache-Control: max-age=60", "Vary: Accept-Language"], False),
        (["Cache-Control: max-age=60", "No-Vary-Search: params"], False),
        (["Cache-Control: max-age=60", "Set-Cookie: a=b"], False),
        (["Cache-Control: no-store"], False),
        (["Cache-Control: private, max-age=60"], False),
        ([], False),
    ],
)
def test_all_with_one_head_are_answered_alike(lines: list[str], is_known: bool) -> None:
    count = 6
    with scene(*replies(count, *lines, age=None), *replies(count, *lines, age=None)) as own:
        paths = [f"/{number}?a={number}" for number in range(count)]
        ask(own, *map(get, paths))
        assert bool(caches_of(own).known) is is_known
        ask(own, *map(get, paths), *map(get, paths))
        found = own.responses()
        for turn in range(3):
            said = [told(message) for message in found[turn * count : (turn + 1) * count]]
            assert all(each == said[0] for each in said[1:]), turn
            assert [message.status for message in found] == [200] * len(found)
        assert bodies(own) == [b"body %d" % number for number in range(count)] * 3


@pytest.mark.parametrize(("lines", "age"), [([], 10), (["Age: 30"], 30), (["Age: 5"], 10)])
def test_it_has_its_age(lines: list[str], age: int) -> None:
    with scene(*replies(4, date(10.5), *lines)) as own:
        learn(own)
        ask(own, get("/x"), get("/x"))
        said = int(one(own.responses()[-1], b"age") or b"-1")
        assert age <= said <= age + 1
        own.pass_time(20)
        ask(own, get("/x"))
        assert said + 20 == int(one(own.responses()[-1], b"age") or b"-1")
        assert len(own.requests) == 4


def test_what_is_too_old_for_what_is_known_is_decided_about_anew() -> None:
    """A service may send the same Date for so long that its responses are stale."""
    with scene(*replies(6)) as own:
        learn(own)
        (head, known), *_ = caches_of(own).known.items()
        caches_of(own).known[head] = replace(known, date=known.date - 61)
        ask(own, get("/x"), get("/x"))
        assert statuses(own)[3:] == [STORED, b"portico; hit; ttl=60"]  # by its Date, which is new
        assert one(own.responses()[-1], b"age") == b"0"


def test_what_is_for_nobody_else_is_not_stored() -> None:
    with scene(*replies(6)) as own:
        learn(own)
        ask(own, get("/x", "Authorization: Bearer a"), get("/x", "Authorization: Bearer b"))
        assert bodies(own)[3:] == [b"body 3", b"body 4"]
        assert statuses(own)[3:] == [b"portico; fwd=uri-miss; detail=credentials"] * 2


def test_what_is_for_everybody_is_stored_whoever_asks() -> None:
    with scene(*replies(4, "Cache-Control: public, max-age=60", age=None)) as own:
        learn(own, "Authorization: Bearer c")
        ask(own, get("/x", "Authorization: Bearer a"), get("/x", "Authorization: Bearer b"), get("/x"))
        assert bodies(own)[3:] == [b"body 3"] * 3
        assert statuses(own)[3] == STORED


def test_others_may_join() -> None:
    with scene(*replies(4), clients=4) as own:
        learn(own)
        for client in range(4):
            own.say(get("/x"), client)
        play(own)
        assert [bodies(own, client)[-1] for client in range(4)] == [b"body 3"] * 4
        assert [statuses(own, client) for client in (1, 2, 3)] == [[COLLAPSED]] * 3
        assert len(own.requests) == 4
        assert outcomes(own) == {"miss": 4, "collapsed": 3}


@pytest.mark.parametrize("others", [0, 2])
def test_the_client_leaves(others: int) -> None:
    with scene(*replies(5), clients=4) as own:
        learn(own)
        for client in range(1 + others):
            own.say(get("/x"), client)
        own.reset(0)
        play(own)
        for client in range(1, 1 + others):
            assert bodies(own, client) == [b"body 3"]
        ask(own, get("/x"), client=3)
        assert len(own.requests) == (4 if others else 5)


def test_two_at_once_on_one_connection() -> None:
    with scene(*replies(5)) as own:
        learn(own)
        own.say(get("/x") + get("/x") + get("/y"))
        play(own)
        assert bodies(own)[3:] == [b"body 3", b"body 3", b"body 4"]
        assert len(own.requests) == 5


@pytest.mark.parametrize("soft", [False, True])
def test_what_is_purged_while_it_is_fetched_is_not_served_afterwards(soft: bool) -> None:
    with scene(*replies(5)) as own:
        learn(own)
        own.say(get("/x"))
        caches_of(own).purges.add([Purge("prefix", "http://a.example/api/open/x", soft=soft)])
        play(own)
        ask(own, get("/x"))
        assert bodies(own)[3:] == [b"body 3", b"body 4"]


@pytest.mark.parametrize(
    "purge",
    [
        Purge("url", "http://a.example/api/open/x?a=1"),
        Purge("tag", "one"),
        Purge("service", "open"),
        Purge("all", ""),
    ],
    ids=lambda purge: purge.kind,
)
def test_it_can_be_purged(purge: Purge) -> None:
    with scene(*replies(5, "Cache-Tag: one")) as own:
        learn(own)
        ask(own, get("/x?a=1"))
        caches_of(own).purges.add([purge])
        ask(own, get("/x?a=1"))
        assert bodies(own)[3:] == [b"body 3", b"body 4"]


def test_a_long_head_is_not_known() -> None:
    """Heads of one form are known when they come first: each would be kept, with as much as a service says in it."""
    sizes = [10, *[5000] * 5]
    own_lines = [("Cache-Control: max-age=60", f'ETag: "{n}"', "X-Long: " + "a" * size) for n, size in enumerate(sizes)]
    with scene(*[reply(f"body {number}", date(), *lines) for number, lines in enumerate(own_lines)]) as own:
        ask(own, *[get(f"/{number}") for number in range(6)])
        assert not caches_of(own).known
        assert statuses(own) == [STORED] * 6


def test_errors_are_stored_as_before() -> None:
    with scene(*replies(6, status="404 Not Found")) as own:
        ask(own, *[get(f"/{number}") for number in range(6)])
        assert not caches_of(own).known
        ask(own, get("/5"))
        assert statuses(own)[:6] == [STORED] * 6
        assert len(own.requests) == 6
