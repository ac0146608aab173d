"""Asking a name server, and what is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.net.dns import resolver
from portico.net.dns.messages import MessageError, Record, RecordType, answer_to, question
from portico.net.dns.resolver import LookUpError, ResolverSettings, look_up_records, system_settings
from support.name_server import SERVER_FAILURE, NameServer


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with NameServer() as own:
        yield own


@pytest.fixture(autouse=True)
def _fresh(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.records, server.code, server.mute = {}, 0, False
    server.asked.clear()
    monkeypatch.setattr(resolver, "_TIMEOUT", 0.2)


def look_up(server: NameServer, name: str, kind: RecordType, *search: str, dots: int = 1) -> list[Record]:
    settings = ResolverSettings((("127.0.0.1", server.port),), search, dots)
    return [*asyncio.run(look_up_records(name, kind, settings))]


def test_records_of_each_type(server: NameServer) -> None:
    server.ttl = 7
    server.records = {
        ("a.test", "A"): ["10.0.0.1", "10.0.0.2"],
        ("a.test", "AAAA"): ["fd00::1"],
        ("_http._tcp.a.test", "SRV"): ["1 2 8000 one.test"],
    }
    assert look_up(server, "a.test", "A") == [Record("10.0.0.1", 7), Record("10.0.0.2", 7)]
    assert look_up(server, "a.test", "AAAA") == [Record("fd00::1", 7)]
    assert look_up(server, "_http._tcp.a.test", "SRV") == [Record("one.test", 7, 8000, 1, 2)]
    assert look_up(server, "a.test", "SRV") == []
    assert look_up(server, "nobody.test", "A") == []


def test_a_long_answer_comes_over_tcp(server: NameServer) -> None:
    server.records = {("many.test", "A"): [f"10.0.1.{number}" for number in range(200)]}
    assert len(look_up(server, "many.test", "A")) == 200
    assert [way for *_, way in server.asked] == ["udp", "tcp"]


def test_short_names_are_searched_for(server: NameServer) -> None:
    server.records = {("orders.shop.test", "A"): ["10.0.0.1"]}
    assert look_up(server, "orders", "A", "default.test", "shop.test")
    assert look_up(server, "orders.shop", "A", "test", dots=5)
    names = [name for name, *_ in server.asked]
    assert names == ["orders.default.test", "orders.shop.test", "orders.shop.test"]
    server.asked.clear()
    assert look_up(server, "orders.shop", "A", "test") == look_up(server, "orders.shop.test.", "A", "test")
    assert [name for name, *_ in server.asked] == ["orders.shop", "orders.shop.test", "orders.shop.test"]


def test_no_answer_is_not_the_same_as_no_record(server: NameServer) -> None:
    server.code = SERVER_FAILURE
    with pytest.raises(LookUpError, match=r"127\.0\.0\.1: the server says SERVFAIL"):
        look_up(server, "a.test", "A")
    server.mute = True
    with pytest.raises(LookUpError, match="does not answer"):
        look_up(server, "a.test", "A")
    with pytest.raises(LookUpError, match="is no name"):
        look_up(server, "a..test", "A")


def test_the_second_server_is_asked_where_the_first_is_silent(server: NameServer) -> None:
    server.records = {("a.test", "A"): ["10.0.0.1"]}
    with NameServer() as silent:
        silent.mute = True
        settings = ResolverSettings((("127.0.0.1", silent.port), ("127.0.0.1", server.port)))
        assert len(asyncio.run(look_up_records("a.test", "A", settings))) == 1


def test_settings_of_the_system(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    servers = "nameserver 10.96.0.10 # dns\nnameserver fd00::10\n"
    file.write_text(f"# of a pod\nsearch shop.svc.test svc.test\n{servers}options ndots:5 rotate\n")
    expected = ResolverSettings((("10.96.0.10", 53), ("fd00::10", 53)), ("shop.svc.test", "svc.test"), 5)
    assert system_settings(file) == expected
    assert system_settings(tmp_path / "none") == ResolverSettings((("127.0.0.1", 53),))


ASKED = question(7, "a.test", "A")
HEAD = b"\x00\x07\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + ASKED[12:]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        HEAD,  # says that there is a record
        HEAD + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x0a",
        HEAD + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x05\x0a\x00\x00\x01\x01",
        HEAD + b"\xc0\x19" * 2,
        HEAD + b"\xc0" + bytes([len(HEAD)]),  # a name that leads to itself
        HEAD.replace(b"\x81\x80", b"\x01\x80"),  # a question
        HEAD.replace(b"\x01a\x04test", b"\x01b\x04test"),
        b"\x00\x08" + HEAD[2:],
    ],
)
def test_what_is_no_answer(message: bytes) -> None:
    with pytest.raises(MessageError):
        answer_to(ASKED, message, "A")
