"""What the grammar remembers; what it accepts is in the corpus."""

from __future__ import annotations

import pytest

from portico.core.fields import RESPONSE_RULES
from portico.core.messages import ResponseHead
from portico.wire.http1.grammar import (
    _KNOWN_HOSTS,
    _NEW_LINES,
    _REMEMBERED_LINES,
    _FieldNames,
    _known_hosts,
    parse_request_head,
    parse_response_head,
)


def test_lines_that_come_again_are_remembered_and_those_that_come_once_are_not() -> None:
    names = _FieldNames()
    for number in range(3 * _REMEMBERED_LINES):
        assert names[b"Accept: */*"] == b"accept"
        assert names[b"X-Request-ID: %d" % number] == b"x-request-id"
    assert dict(names) == {b"Accept: */*": b"accept"}
    assert len(names._once) <= _NEW_LINES


def test_memory_for_lines_has_a_bound() -> None:
    names = _FieldNames()
    for number in range(3 * _REMEMBERED_LINES):
        for _ in range(2):
            assert names[b"Cookie: %d" % number] == b"cookie"
    assert len(names) <= _REMEMBERED_LINES
    assert names[b"Cookie: " + b"x" * 4096] == b"cookie"
    assert names[b"Cookie: " + b"x" * 4096] == b"cookie"
    assert max(map(len, names)) < 1024


@pytest.mark.parametrize("line", [b"", b"a", b": b", b"a : b", b"a: b\x00", b"a: b\n", b"\xe4: b"])
def test_a_line_that_is_not_valid_is_never_remembered(line: bytes) -> None:
    names = _FieldNames()
    for _ in range(3):
        with pytest.raises(ValueError, match="not a field line"):
            names[line]
    assert not names


def test_names_of_unknown_methods_are_not_kept() -> None:
    """An interned string may live as long as the process: a client could fill its memory with methods."""
    heads = [parse_request_head(b"MADE-UP / HTTP/1.1", b"Host: a", 10, 100, frozenset()) for _ in range(2)]
    assert heads[0].method_name == heads[1].method_name == "MADE-UP"
    assert heads[0].method_name is not heads[1].method_name


def test_the_name_of_a_known_method_is_one_object() -> None:
    heads = [parse_request_head(b"QUERY / HTTP/1.1", b"Host: a", 10, 100, frozenset()) for _ in range(2)]
    assert heads[0].method_name is heads[1].method_name


def response(*lines: str) -> ResponseHead:
    head = "\r\n".join(("HTTP/1.1 200 OK", *lines, "Content-Length: 0"))
    return parse_response_head(head.encode(), 100, RESPONSE_RULES, bodiless=False)


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["Keep-Alive: timeout=9"], 9.0),
        (["Keep-Alive: timeout=9", "Keep-Alive: max=1, timeout=5"], 5.0),
        (["Keep-Alive: timeout=5", "Keep-Alive: timeout=9"], 5.0),
        (["Keep-Alive: timeout=5, timeout=4"], 4.0),
        (["Keep-Alive: max=1", "Keep-Alive: timeout=9"], 9.0),
        (["Keep-Alive: max=1", "Keep-Alive:"], None),
    ],
)
def test_of_several_times_for_which_a_service_keeps_a_connection_the_shortest_counts(
    lines: list[str], seconds: float | None
) -> None:
    assert response(*lines).keep_alive_timeout == seconds


@pytest.mark.parametrize(
    ("lines", "keeps"),
    [
        (["Connection: keep-alive"], True),
        (["Connection: keep-alive", "Connection: close"], False),
        (["Connection: close", "Connection: keep-alive"], False),
        (["Connection: keep-alive", "Connection: X-Own"], True),
    ],
)
def test_options_of_a_connection_may_stand_on_several_lines(lines: list[str], keeps: bool) -> None:
    assert response(*lines).keep_alive == keeps
    assert (b"x-own" in response(*lines).hop_by_hop) == ("Connection: X-Own" in lines)


def test_what_does_not_come_again_is_forgotten() -> None:
    names = _FieldNames()
    for _ in range(2):
        assert names[b"Accept: */*"] == b"accept"
    assert names[b"Cookie: a"] == b"cookie"
    names.age(0.0)
    assert not names
    assert not names._once


def test_hosts_that_came_first_make_way_for_others() -> None:
    for number in range(2 * _KNOWN_HOSTS):
        parse_request_head(b"GET / HTTP/1.1", b"Host: h%d.example" % number, 10, 100, frozenset())
    assert len(_known_hosts) <= _KNOWN_HOSTS
    _known_hosts.age(0.0)
    parse_request_head(b"GET / HTTP/1.1", b"Host: late.example", 10, 100, frozenset())
    assert _known_hosts == {b"late.example"}
