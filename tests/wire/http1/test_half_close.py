"""Clients that close their side: those that listen get their answers, those that are gone end their exchange."""

from __future__ import annotations

import select
import socket

import pytest

from portico.core.messages import CHUNKED
from support.sockets import connected, reset_at_close
from wire.world import GET, held, post, say_ok


def test_a_client_that_closes_its_side_still_gets_its_answer() -> None:
    world = held(GET)
    assert world.connection.eof_received()
    say_ok(world.exchanges[0])
    world.loop.run()
    assert world.written.endswith(b"Connection: close\r\n\r\nok")
    assert world.wire.transport.closing
    assert world.exchanges[0].finishes == [None]


def test_all_that_a_client_asked_for_before_it_closed_its_side_is_answered() -> None:
    world = held(GET + post(2, b"ab") + GET)
    assert world.connection.eof_received()
    for number in range(3):
        assert len(world.exchanges) == number + 1
        assert not world.wire.transport.closing
        say_ok(world.exchanges[number])
        world.loop.run()
    assert world.written.count(b"HTTP/1.1 200 OK") == 3
    assert world.written.count(b"Connection: close") == 1
    assert world.written.endswith(b"Connection: close\r\n\r\nok")
    assert world.wire.transport.closing
    assert [each.finishes for each in world.exchanges] == [[None]] * 3
    assert world.server.in_flight == 0


@pytest.mark.parametrize("rest", [GET[:12], post(4, b"ab"), GET[:-2]])
def test_what_the_end_of_a_client_cut_off_is_not_begun(rest: bytes) -> None:
    world = held(GET + rest)
    assert world.connection.eof_received()
    say_ok(world.exchanges[0])
    world.loop.run()
    assert world.written.endswith(b"ok")
    assert world.wire.transport.closing
    assert len(world.exchanges) == 1
    assert world.server.in_flight == 0


def test_a_client_that_left_behind_several_requests_is_probed_in_each() -> None:
    world = held(GET + GET)
    assert world.connection.eof_received()
    say_ok(world.exchanges[0])
    world.loop.run()
    world.connection.deadline_passed()
    world.loop.run()
    assert world.written.endswith(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_a_client_that_closes_its_side_is_probed_at_once_and_again() -> None:
    world = held(GET)
    assert world.connection.eof_received()
    for probes in (1, 1, 1, 1, 2, 2):
        world.connection.deadline_passed()
        world.loop.run()
        assert world.written.count(b"HTTP/1.1 100 Continue\r\n\r\n") == probes
    say_ok(world.exchanges[0])
    world.loop.run()
    assert world.written.endswith(b"Connection: close\r\n\r\nok")


def test_a_client_that_closes_its_side_amid_a_response_that_stands_still_has_left() -> None:
    world = held(GET)
    world.exchanges[0].stream.send_head(200, b"", [], CHUNKED)
    assert world.connection.eof_received()
    world.exchanges[0].stream.send_body(b"more")
    world.connection.deadline_passed()
    assert world.exchanges[0].finishes == []
    world.connection.deadline_passed()
    assert world.exchanges[0].finishes == ["client_closed"]
    assert world.wire.transport.closing


def test_a_client_that_knows_no_interim_response_is_not_probed() -> None:
    world = held(b"GET / HTTP/1.0\r\n\r\n")
    assert world.connection.eof_received()
    world.connection.deadline_passed()
    assert world.exchanges[0].finishes == ["client_closed"]
    assert world.written == b""


def test_a_probe_that_is_answered_with_a_reset_ends_the_exchange() -> None:
    world = held(GET)
    with socket.create_server(("127.0.0.1", 0)) as server, connected(server.getsockname()[1], 5) as client:
        ours, _ = server.accept()
        with ours:
            world.wire.transport._extra["socket"] = ours  # type: ignore[attr-defined]
            assert world.connection.eof_received()
            for _ in range(2):  # it reads: nothing comes back
                world.connection.deadline_passed()
            assert world.exchanges[0].finishes == []
            reset_at_close(client)
            client.close()
            select.select([ours], [], [], 5)
            world.connection.deadline_passed()
    assert world.exchanges[0].finishes == ["client_closed"]
    assert world.wire.transport.aborted
