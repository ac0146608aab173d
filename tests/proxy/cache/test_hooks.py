"""Users' policies on a cached route: they see what is stored as they see a service's response, each request anew."""

from __future__ import annotations

from typing import Any

import pytest

from fuzz.case import Answer as Reply
from portico.plugin import Exchange, Head, Policy, ResponseHead, answer

from .scene import ask, bodies, caches_of, chunked, get, one, outcomes, play, reply, scene, statuses

LONG = "0123456789" * 20_000
STREAM = reply(chunked(*(LONG[at : at + 5000] for at in range(0, len(LONG), 5000))), "Transfer-Encoding: chunked")
KINDS = {"whole": (reply("ok"), b"ok"), "stream": (STREAM, LONG.encode()), "long": (reply(LONG), LONG.encode())}


class Counting(Policy):
    """Numbers the responses that it sees, in their heads."""

    def __init__(self) -> None:
        self.count = self.ended = 0

    def response(self, exchange: Exchange, head: ResponseHead) -> Any:
        self.count += 1
        head.headers.set("X-Count", str(self.count))

    def finished(self, exchange: Exchange) -> None:
        self.ended += 1


class Upper:
    """Writes text in capitals, and says so at the end."""

    def feed(self, data: bytes) -> bytes:
        return data.replace(b"o", b"O").replace(b"9", b"nine")

    def end(self) -> bytes:
        return b"!"


class Filtering(Policy):
    """Filters the bodies of responses that have one."""

    def body(self, exchange: Exchange, head: Head) -> Any:
        return Upper() if head.status in (200, 206) else None


class Refusing(Policy):
    """Replaces responses for one path."""

    def response(self, exchange: Exchange, head: ResponseHead) -> Any:
        return answer(403, b"not for you") if exchange.headers.get("X-Mine") is None else None


class Tenant(Policy):
    """Tells the service whose request it is."""

    def request(self, exchange: Exchange) -> Any:
        exchange.upstream_headers.set("X-Tenant", exchange.headers.get("X-Key") or "none")


@pytest.mark.parametrize(("kind", "clients"), [(kind, clients) for kind in KINDS for clients in (1, 3)])
def test_hooks_see_every_response(kind: str, clients: int) -> None:
    reply_of_service, body = KINDS[kind]
    counting = Counting()
    with scene(reply_of_service, chain=[counting], clients=clients, sizes=[9000]) as own:
        for client in range(clients):
            own.say(get(), client)
        play(own)
        ask(own, get(), get(method="HEAD"))
        counts = [one(message, b"x-count") for client in range(clients) for message in own.responses(client)]
        assert sorted(filter(None, counts)) == [b"%d" % (number + 1) for number in range(clients + 2)]
        assert bodies(own) == [body, body, b""]
        assert len(own.requests) == 1
        assert counting.ended == clients + 2


@pytest.mark.parametrize(("kind", "clients"), [(kind, clients) for kind in KINDS for clients in (1, 3)])
def test_filters_filter_what_is_stored_unfiltered(kind: str, clients: int) -> None:
    reply_of_service, body = KINDS[kind]
    filtered = Upper().feed(body) + b"!"
    with scene(reply_of_service, chain=[Filtering()], clients=clients, sizes=[9000]) as own:
        for client in range(clients):
            own.say(get(), client)
        play(own)
        ask(own, get(), get("/x", "Range: bytes=1-1"), get(method="HEAD"))
        assert bodies(own) == [filtered, filtered, filtered, b""]
        for client in range(clients):
            assert bodies(own, client)[0] == filtered
        assert own.responses()[2].status == 200, "a part of a filtered body is no part of it"
        assert one(own.responses()[1], b"content-length") is None
        assert len(own.requests) == 1
        (stored,) = list(caches_of(own).memory._small.entries.values())
        assert stored is not None


def test_a_slow_client_of_a_filtered_body() -> None:
    with scene(STREAM, chain=[Filtering()], clients=2, sizes=[9000]) as own:
        own.simulation.clients[0].line.listen(False)
        own.say(get(), 0)
        own.say(get(), 1)
        play(own)
        own.simulation.clients[0].line.listen(True)
        own.simulation.turn()
        expected = Upper().feed(LONG.encode()) + b"!"
        assert bodies(own, 0) == bodies(own, 1) == [expected]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_replaces_the_response_of_one_client(kind: str) -> None:
    reply_of_service, body = KINDS[kind]
    with scene(reply_of_service, chain=[Refusing()], clients=3, sizes=[9000]) as own:
        own.say(get(), 0)
        own.say(get("/x", "X-Mine: yes"), 1)
        own.say(get(), 2)
        play(own)
        ask(own, get())
        assert [message.status for message in own.responses(0)] == [403, 403]
        assert bodies(own, 1) == [body]
        assert own.responses(2)[0].status == 403
        assert len(own.requests) == 1


def test_what_a_policy_tells_the_service_tells_requests_apart() -> None:
    """Nobody gets what the service made for another."""
    answers = [reply(word) for word in ("a1", "b1", "a2")]
    with scene(*answers, chain=[Tenant()], clients=2) as own:
        ask(own, get("/x", "X-Key: a"))
        ask(own, get("/x", "X-Key: b"))
        ask(own, get("/x", "X-Key: a"))
        assert bodies(own) == [b"a1", b"b1", b"a2"]
        assert statuses(own)[0] == b"portico; fwd=uri-miss; detail=credentials"
        assert outcomes(own) == {"miss": 3}


def test_what_is_public_is_everybodys_all_the_same() -> None:
    public = Reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: public, max-age=60\r\n\r\nok")
    with scene(public, chain=[Tenant()]) as own:
        ask(own, get("/x", "X-Key: a"), get("/x", "X-Key: b"))
        assert len(own.requests) == 1


def test_rewriting_is_of_each_request() -> None:
    moved = reply("", "Location: http://open.test/z", status="301 Moved Permanently")
    with scene(moved) as own:
        ask(own, get(), get())
        assert [one(message, b"location") for message in own.responses()] == [b"http://a.example/api/open/z"] * 2
        assert len(own.requests) == 1


def test_fields_that_the_configuration_changes() -> None:
    headers = {"response": {"set": {"X-Path": "{request_id}"}, "remove": ["X-From", "Age"]}, "security": True}
    with scene(reply("ok", "X-From: service"), policies={"headers": headers}) as own:
        ask(own, get(), get())
        first, second = own.responses()
        assert one(first, b"x-path") != one(second, b"x-path")
        for message in (first, second):
            assert one(message, b"x-from") is None
            assert one(message, b"x-content-type-options") == b"nosniff"
        assert len(own.requests) == 1
