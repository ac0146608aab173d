"""Coalescing: requests for the same while it is fetched, and what becomes of them whatever becomes of that."""

from __future__ import annotations

import pytest

from fuzz.case import Answer as Reply
from proxy.hooks.scene import Scene

from .scene import ask, bodies, caches_of, chunked, get, one, outcomes, play, reply, scene, statuses

COLLAPSED = b"portico; fwd=uri-miss; collapsed"
LONG = "0123456789" * 20_000
STREAM = reply(chunked(*(LONG[at : at + 5000] for at in range(0, len(LONG), 5000))), "Transfer-Encoding: chunked")
BROKEN = Reply("", end="reset")


def everybody(own: Scene, text: str = "") -> None:
    """All clients ask at once; the service answers nothing yet."""
    for client in range(len(own.simulation.clients)):
        own.say(text or get(), client)


def next_piece(own: Scene, count: int = 1) -> None:
    """The service sends so many pieces."""
    for _ in range(count):
        next(service for service in own.simulation.services if service.pieces).say()
        own.simulation.turn()


@pytest.mark.parametrize(
    ("answer", "body"),
    [(reply("ok"), b"ok"), (reply(""), b""), (STREAM, LONG.encode()), (reply(LONG), LONG.encode())],
    ids=["whole", "empty", "chunked", "long"],
)
@pytest.mark.parametrize("sizes", [[1 << 20], [50, 9000]])
def test_one_request_for_all(answer: Reply, body: bytes, sizes: list[int]) -> None:
    with scene(answer, clients=5, sizes=sizes) as own:
        everybody(own)
        assert len(own.requests) == 1
        play(own)
        for client in range(5):
            assert bodies(own, client) == [body]
        assert len(own.requests) == 1
        assert statuses(own, 3) == [COLLAPSED]
        assert outcomes(own) == {"miss": 1, "collapsed": 4}
        assert own.exchange(3).cache == "collapsed"


def test_very_many_are_served_a_few_at_a_time() -> None:
    with scene(reply("ok"), clients=300) as own:
        everybody(own)
        play(own)
        assert [bodies(own, client) for client in range(300)] == [[b"ok"]] * 300
        assert len(own.requests) == 1


def test_a_stream_for_very_many() -> None:
    with scene(STREAM, clients=100, sizes=[4000]) as own:
        everybody(own)
        play(own)
        assert [bodies(own, client) for client in range(100)] == [[LONG.encode()]] * 100
        assert len(own.requests) == 1


def test_bytes_come_as_they_arrive_and_others_may_still_join() -> None:
    with scene(STREAM, clients=3, sizes=[10_000]) as own:
        own.say(get(), 0)
        own.say(get(), 1)
        next_piece(own, 3)
        assert len(own.received(0)) > 20_000
        assert len(own.received(1)) > 20_000
        own.say(get(), 2)
        assert len(own.received(2)) > 20_000
        assert not own.responses(2)[0].complete
        play(own)
        assert [bodies(own, client) for client in range(3)] == [[LONG.encode()]] * 3
        assert len(own.requests) == 1


@pytest.mark.parametrize("pieces", [0, 1, 12])
def test_the_leaders_client_leaves(pieces: int) -> None:
    """The fetch goes on for those who wait, or, once it is known that the response will be stored, for the store."""
    with scene(STREAM, clients=3, sizes=[10_000]) as own:
        everybody(own)
        next_piece(own, pieces)
        own.reset(0)
        play(own)
        assert [bodies(own, client) for client in (1, 2)] == [[LONG.encode()]] * 2
        ask(own, get(), client=1)
        assert len(own.requests) == 1
        assert own.exchange(0).status in (200, 499)


def test_a_lone_client_leaves() -> None:
    with scene(STREAM, STREAM, clients=2, sizes=[10_000]) as own:
        own.say(get(), 0)
        own.reset(0)  # nobody needs it
        ask(own, get("/y"), client=1)
        assert len(own.requests) == 2
        assert caches_of(own).memory.entries == 1


def test_a_lone_client_leaves_in_the_middle_and_it_is_stored_all_the_same() -> None:
    with scene(STREAM, clients=2, sizes=[10_000]) as own:
        own.say(get(), 0)
        next_piece(own, 3)
        own.reset(0)
        play(own)
        ask(own, get(), client=1)
        assert bodies(own, 1) == [LONG.encode()]
        assert len(own.requests) == 1


@pytest.mark.parametrize("reader", [0, 1])
def test_a_slow_client_holds_nobody_up(reader: int) -> None:
    with scene(STREAM, clients=3, sizes=[10_000]) as own:
        own.simulation.clients[reader].line.listen(False)
        everybody(own)
        play(own)
        others = [client for client in range(3) if client != reader]
        assert [bodies(own, client) for client in others] == [[LONG.encode()]] * 2
        assert len(own.received(reader)) == 0
        own.simulation.clients[reader].line.listen(True)
        own.simulation.turn()
        assert bodies(own, reader) == [LONG.encode()]
        assert len(own.requests) == 1


def test_what_is_not_to_be_shared_lets_all_go_on_at_once() -> None:
    """And for a while nobody waits for it; a response that may be shared ends that."""
    private = reply("own", "Cache-Control: private, max-age=0", age=None)
    with scene(private, clients=4) as own:
        everybody(own)
        assert len(own.requests) == 1
        next_piece(own)
        assert len(own.requests) == 4
        play(own)
        everybody(own)
        assert len(own.requests) == 8
        own.simulation.case.answers[:] = [reply("shared")]
        play(own)
        assert bodies(own, 2) == [b"own", b"own"]
        own.pass_time(11)
        everybody(own)
        assert len(own.requests) == 9
        play(own)
        assert bodies(own, 2)[-1] == b"shared"
        everybody(own)
        assert len(own.requests) == 9
        assert outcomes(own) == {"miss": 9, "collapsed": 3, "hit": 4}


def test_a_failed_leader_is_followed_by_another_one() -> None:
    with scene(BROKEN, reply("ok"), clients=4, service={"retries": 0}) as own:
        everybody(own)
        play(own)
        assert [own.responses(client)[0].status for client in range(4)] == [502, 200, 200, 200]
        assert len(own.requests) == 2
        assert outcomes(own) == {"miss": 2, "collapsed": 2}


def test_after_two_failures_all_go_on_alone() -> None:
    with scene(BROKEN, BROKEN, *[reply("ok")] * 4, clients=6, service={"retries": 0}) as own:
        everybody(own)
        play(own)
        assert [own.responses(client)[0].status for client in range(6)] == [502, 502, 200, 200, 200, 200]
        assert len(own.requests) == 6


def test_a_service_that_dies_in_the_middle() -> None:
    """What nobody has begun to read is fetched again; nothing partial is stored."""
    broken = reply("x" * 30_000, "Content-Length: 50000", end="reset")
    with scene(broken, reply("ok"), clients=3, sizes=[10_000], service={"retries": 0}) as own:
        everybody(own)
        play(own)
        for client in range(3):
            assert not own.responses(client)[0].complete
        assert caches_of(own).memory.entries == 0
        own.simulation.connect([])
        ask(own, get(), client=3)
        assert bodies(own, 3) == [b"ok"]


def test_a_slow_leader_is_helped_and_nobody_waits_for_ever() -> None:
    with scene(reply("ok"), clients=4, service={"retries": 0, "timeout": {"response": 12}}) as own:
        everybody(own)
        assert len(own.requests) == 1
        own.simulation.services[0].pieces.clear()  # it never answers
        own.pass_time(5.5)
        assert len(own.requests) == 2  # one more is sent
        own.simulation.services[1].say()
        own.simulation.turn()
        assert [bodies(own, client) for client in (1, 2, 3)] == [[b"ok"]] * 3
        assert len(own.requests) == 2
        own.pass_time(7)
        assert own.responses(0)[0].status == 504


def test_others_variants_are_fetched_together_too() -> None:
    def page(language: str) -> Reply:
        return reply(language, "Vary: Accept-Language")

    with scene(page("de"), page("en"), clients=4) as own:
        for client, language in enumerate(["de", "en", "de", "en"]):
            own.say(get("/x", f"Accept-Language: {language}"), client)
        assert len(own.requests) == 1
        play(own)
        assert [bodies(own, client) for client in range(4)] == [[b"de"], [b"en"], [b"de"], [b"en"]]
        assert len(own.requests) == 2


def test_what_is_stale_is_validated_once() -> None:
    unchanged = reply("", 'ETag: "1"', status="304 Not Modified")
    with scene(reply("old", 'ETag: "1"', age=1), unchanged, clients=4) as own:
        ask(own, get())
        own.pass_time(3)
        everybody(own)
        assert len(own.requests) == 2
        play(own)
        assert [bodies(own, client)[-1] for client in range(4)] == [b"old"] * 4
        assert len(own.requests) == 2
        assert outcomes(own) == {"miss": 1, "revalidated": 1, "collapsed": 3}


def test_what_is_stale_replaces_an_error_for_all() -> None:
    fallback = reply("old", "Cache-Control: max-age=1, stale-if-error=60", age=None)
    error = reply("error", age=None, status="503 Error")
    with scene(fallback, error, clients=4, service={"retries": 0}) as own:
        ask(own, get())
        own.pass_time(3)
        everybody(own)
        play(own)
        assert [bodies(own, client)[-1] for client in range(4)] == [b"old"] * 4
        assert len(own.requests) == 2
        assert outcomes(own) == {"miss": 1, "stale": 4}


def test_incremental_requests_neither_wait_nor_are_waited_for() -> None:
    with scene(STREAM, clients=3, sizes=[10_000]) as own:
        own.say(get("/x", "Incremental: ?1"), 0)
        own.say(get("/x", "Incremental: ?1"), 1)
        own.say(get(), 2)
        assert len(own.requests) == 3
        play(own)
        assert [bodies(own, client) for client in range(3)] == [[LONG.encode()]] * 3


def test_a_follower_leaves() -> None:
    with scene(reply("ok"), clients=3) as own:
        everybody(own)
        own.reset(1)
        play(own)
        assert bodies(own, 2) == [b"ok"]
        assert own.exchange(1).cache == "collapsed"
        assert outcomes(own) == {"miss": 1, "collapsed": 2}


def test_a_body_that_grows_too_large_still_reaches_all() -> None:
    """Nobody can join any more, and it goes no faster than the slowest reads."""
    size = 3_000_000
    body = "".join(f"{number:09d}\n" for number in range(size // 10))
    growing = reply(chunked(*(body[at : at + 50_000] for at in range(0, size, 50_000))), "Transfer-Encoding: chunked")
    with scene(growing, clients=3, cache={"max_object": 200_000}, sizes=[60_000]) as own:
        own.say(get(), 0)
        own.say(get(), 1)
        own.simulation.clients[1].line.listen(False)
        for _ in range(60):
            if any(service.pieces for service in own.simulation.services):
                next_piece(own)
        assert caches_of(own).room.used < 2_000_000
        assert len(own.received(0)) < 2_500_000
        own.simulation.clients[1].line.listen(True)
        own.simulation.turn()
        play(own)
        assert bodies(own, 0) == bodies(own, 1) == [body.encode()]
        assert caches_of(own).memory.entries == 0
        ask(own, get("/small"), client=2)
        assert len(own.requests) == 2


def test_a_purge_meanwhile_keeps_it_from_being_stored() -> None:
    changed = reply("", age=None, status="204 No Content")
    with scene(STREAM, clients=3, sizes=[10_000]) as own:
        own.say(get(), 0)
        own.say(get(), 1)
        next_piece(own, 2)
        own.simulation.case.answers[:] = [changed, reply("new")]
        own.simulation.answers_given = 0
        own.say(get("/x", "Content-Length: 0", method="POST"), 2)
        own.simulation.services[-1].say()
        own.simulation.turn()
        own.say(get(), 2)
        assert len(own.requests) == 3, "it joined what was begun before the change"
        play(own)
        assert bodies(own, 0) == bodies(own, 1) == [LONG.encode()]
        ask(own, get(), client=0)
        assert bodies(own, 0)[-1] == b"new"
        assert len(own.requests) == 3
        assert one(own.responses(0)[-1], b"age") == b"0"
