"""Filters of responses' bodies: what they do to a message, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portico.core.errors import Refusal
from portico.plugin import Exchange, Head, Policy, ResponseHead
from portico.policies.policy import HookFailedError, Hooks
from support.websocket import OFFER, SWITCHING

from .scene import PLAIN, RESPONSES, STREAM, chunked, get, reply, scene


class Changing:
    """Makes something of each piece, and has something to say at the end."""

    def __init__(self, change: Callable[[bytes], bytes] = bytes, last: bytes = b"") -> None:
        self.change = change
        self.last = last
        self.pieces: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        assert data, "an empty piece"
        self.pieces.append(data)
        return self.change(data)

    def end(self) -> bytes:
        return self.last


class Whole:
    """Keeps everything until the end."""

    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        self.change = change
        self.kept = b""

    def feed(self, data: bytes) -> bytes:
        self.kept += data
        return b""

    def end(self) -> bytes:
        return self.change(self.kept)


class Filtering(Policy):
    """Filters the bodies of responses."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.heads: list[tuple[int | None, str | None]] = []

    def body(self, exchange: Exchange, head: Head) -> Any:
        if head.status is None:
            return None
        self.heads.append((head.status, head.headers.get("Content-Type")))
        return self.make()

    async def close(self) -> None:
        """There is one, so its exchanges are counted."""


FILTERS: dict[str, tuple[Callable[[], Any], bytes]] = {
    "identity": (Changing, b"ok"),
    "growing": (lambda: Changing(lambda data: data * 3), b"okokok"),
    "shrinking": (lambda: Changing(lambda data: data[1:]), b"k"),
    "nothing": (lambda: Changing(lambda data: b""), b""),
    "adding": (lambda: Changing(last=b"!"), b"ok!"),
    "replacing": (lambda: Changing(lambda data: b"", b"other"), b"other"),
    "whole": (lambda: Whole(bytes.upper), b"OK"),
}


@pytest.mark.parametrize("sizes", [[1 << 20], [1]])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("kind", RESPONSES)
@pytest.mark.parametrize("name", FILTERS)
def test_a_body_is_what_its_filter_makes_of_it(name: str, kind: str, version: str, sizes: list[int]) -> None:
    make, wanted = FILTERS[name]
    if sizes == [1]:
        wanted = {"shrinking": b"", "growing": b"oookkk"}.get(name, wanted)
    with scene(Filtering(make), answers=[RESPONSES[kind]], sizes=sizes) as own:
        own.ask(get(version=version))
        assert own.outcome() == (200, wanted)
        response = own.response()
        is_whole = kind != "until close" and sizes != [1]
        assert response.all(b"content-length") == [b"%d" % len(wanted)] * is_whole
        assert response.all(b"transfer-encoding") == [b"chunked"] * (version == "1.1" and not is_whole)
        assert response.all(b"x-from") == [b"service"]


@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_filters_stand_in_the_order_of_the_way_back(kind: str) -> None:
    first = Filtering(lambda: Changing(lambda data: b"1" + data, b"1."))
    second = Filtering(lambda: Changing(lambda data: b"2" + data, b"2."))
    with scene(first, second, answers=[RESPONSES[kind]]) as own:
        own.ask(get() + get())
        assert [bytes(each.body) for each in own.responses()] == [b"12ok12.1."] * 2
        assert len(own.simulation.services) == 1


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        ("204 No Content", ["X-Length: none"]),
        ("304 Not Modified", ["Content-Length: 2"]),
        ("205 Reset Content", ["Content-Length: 0"]),
    ],
)
def test_what_has_no_body_is_not_filtered(status: str, lines: list[str]) -> None:
    policy = Filtering(lambda: Changing(last=b"!"))
    with scene(policy, answers=[reply("", *lines, 'ETag: "a"', status=status)]) as own:
        own.ask(get() + get())
        assert [(each.status, bytes(each.body)) for each in own.responses()] == [(int(status[:3]), b"")] * 2
        tag = b'W/"a"' if status.startswith("304") else b'"a"'
        assert own.responses()[0].all(b"etag") == [tag]
    assert policy.heads == []


def test_a_304_says_nothing_that_is_not_true_of_the_filtered_body() -> None:
    lines = ["Content-Length: 2", 'ETag: "a"', "Accept-Ranges: bytes", "Digest: x", "Expires: 0"]
    with scene(Filtering(lambda: Changing(last=b"!")), answers=[reply("", *lines, status="304 Not Modified")]) as own:
        own.ask(get())
        (answer,) = own.responses()
        names = ("content-length", "accept-ranges", "digest", "etag", "expires")
        assert [answer.all(name.encode()) for name in names] == [[], [], [], [b'W/"a"'], [b"0"]]


def test_an_empty_body_may_be_filled() -> None:
    with scene(Filtering(lambda: Changing(last=b"!")), answers=[reply("")]) as own:
        own.ask(get() + get())
        assert [bytes(each.body) for each in own.responses()] == [b"!", b"!"]


def test_the_response_to_head_has_the_fields_of_a_filtered_one() -> None:
    lines = ["Content-Length: 2", 'ETag: "a"', "Accept-Ranges: bytes", "Digest: x", "Content-Type: text/a"]
    with scene(Filtering(Changing), answers=[reply("", *lines)]) as own:
        own.ask(get(method="HEAD") + get(method="HEAD"))
        for response in own.responses():
            names = {name.lower() for name, _ in response.fields}
            assert not names & {b"content-length", b"accept-ranges", b"digest", b"transfer-encoding"}
            assert response.all(b"etag") == [b'W/"a"']


def test_fields_about_the_bytes_go_and_others_stay() -> None:
    lines = ["Content-Type: text/a", "Content-Encoding: x", 'ETag: "a"', "Content-MD5: x", "Digest: x", "Age: 1"]
    lines += ["Content-Digest: x", "Repr-Digest: x", "Accept-Ranges: bytes", "Set-Cookie: a", "Set-Cookie: b"]
    with scene(Filtering(Changing), answers=[reply("ok", *lines), reply("ok", 'etag: W/"b"')]) as own:
        own.ask(get() + get())
        first, second = own.responses()
        left = [name for name, _ in first.fields][:8]
        assert left == [b"Content-Type", b"Content-Encoding", b"Age", b"Set-Cookie", b"Set-Cookie", *left[5:]]
        assert first.all(b"etag") == [b'W/"a"']
        assert second.all(b"etag") == [b'W/"b"']
        for name in (b"content-md5", b"digest", b"content-digest", b"repr-digest", b"accept-ranges"):
            assert first.all(name) == []


def test_a_body_whose_policy_wants_no_filter_is_as_it_was() -> None:
    with scene(Filtering(lambda: None), answers=[reply("ok", 'ETag: "a"'), STREAM]) as own:
        own.ask(get() + get())
        first, second = own.responses()
        assert first.all(b"content-length") == [b"2"]
        assert first.all(b"etag") == [b'"a"']
        assert (bytes(first.body), bytes(second.body)) == (b"ok", b"ok")


def test_a_filter_sees_the_head_as_hooks_have_edited_it() -> None:
    class Typing(Policy):
        def response(self, exchange: Exchange, head: ResponseHead) -> None:
            head.headers.set("Content-Type", "text/b")
            head.status = 203

    filtering = Filtering(Changing)
    with scene(filtering, Typing()) as own:
        own.ask(get())
        assert own.outcome() == (203, b"ok")
    assert filtering.heads == [(203, "text/b")]


def test_own_answers_are_not_filtered() -> None:
    filtering = Filtering(lambda: Changing(bytes.upper))
    with scene(filtering, dials="r") as own:
        own.ask(get())
        assert own.response().status == 502
    assert filtering.heads == []


def test_trailers_stay_but_for_those_about_the_bytes() -> None:
    config = {"services": {"open": {**PLAIN["services"]["open"], "trailers": ["X-Sum", "Digest"]}}}
    body = "2\r\nok\r\n0\r\nX-Sum: 1\r\nDigest: x\r\n\r\n"
    answers = [reply(body, "Transfer-Encoding: chunked", "Trailer: X-Sum, Digest")]
    with scene(Filtering(lambda: Changing(bytes.upper)), answers=answers, config=config) as own:
        own.ask(get("/api/open/x", "TE: trailers", "Connection: TE"))
        assert b"2\r\nOK\r\n0\r\nX-Sum: 1\r\n\r\n" in own.received()
        assert b"Digest" not in own.received()


# ---- parts


PART = reply("bc", "Content-Range: bytes 1-2/4", status="206 Partial Content")
WHOLE = reply("abcd", "Accept-Ranges: bytes")
ASKED = ("Range: bytes=1-2", "If-Range: x")


def test_a_part_is_asked_for_again_as_a_whole() -> None:
    with scene(Filtering(lambda: Changing(bytes.upper)), answers=[PART, WHOLE]) as own:
        own.ask(get("/api/open/x", *ASKED) * 2)
        assert [(each.status, bytes(each.body)) for each in own.responses()] == [(200, b"ABCD")] * 2
        assert [len(each.all(b"range")) for each in own.requests] == [1, 0, 1, 0]
        assert [len(each.all(b"if-range")) for each in own.requests] == [1, 0, 1, 0]


def test_a_connection_that_closes_just_then_is_opened_again() -> None:
    answers = [reply("bc", "Content-Range: bytes 1-2/4", status="206 Partial Content"), reply("", end="reset"), WHOLE]
    answers[1].raw = ""
    with scene(Filtering(Changing), answers=answers) as own:
        own.ask(get("/api/open/x", *ASKED))
        assert own.outcome() == (200, b"abcd")


def test_a_part_that_nobody_filters_passes() -> None:
    with scene(Filtering(lambda: None), answers=[PART]) as own:
        own.ask(get("/api/open/x", *ASKED))
        assert own.outcome() == (206, b"bc")
        assert own.response().all(b"content-range") == [b"bytes 1-2/4"]


def test_a_service_that_insists_on_parts_is_refused() -> None:
    with scene(Filtering(Changing), answers=[PART]) as own:
        own.ask(get("/api/open/x", *ASKED))
        assert own.response().status == 502
        assert own.exchange().reason == "upstream_malformed"
        assert len(own.requests) == 2


@pytest.mark.parametrize("request_", [get(), get("/api/open/x", *ASKED, method="POST")])
def test_a_part_that_nobody_asked_for_is_refused_and_not_asked_for_again(request_: str) -> None:
    with scene(Filtering(Changing), answers=[PART]) as own:
        own.ask(request_)
        assert own.response().status == 502
        assert len(own.requests) == 1
        assert own.requests[0].all(b"range") == []


# ---- streams


def test_backpressure_reaches_the_service() -> None:
    """A client that does not read stops the service, though the filter makes eight times as much of everything."""
    size = 3 << 20
    body = "x" * size
    policy = Filtering(lambda: Changing(lambda data: data * 8))
    with scene(policy, answers=[reply(body)], sizes=[16384]) as own:
        line = own.simulation.clients[0].line
        line.listen(False)
        own.say(get())
        for _ in range(100):
            own.service.say()
            own.simulation.turn()
        assert not own.service.line.reading
        assert len(line.unsent) < 1 << 20
        own.simulation.settle()
        assert len(own.response().body) == 8 * size
        assert own.response().complete


EVENTS = reply("", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")


def test_each_event_reaches_the_client_at_once() -> None:
    with scene(Filtering(Changing), Filtering(lambda: Changing(bytes.upper)), answers=[EVENTS]) as own:
        own.say(get())
        own.service.say()
        for number in range(3):
            event = f"data: {number}\n\n"
            own.service.line.say(f"{len(event):x}\r\n{event}\r\n".encode())
            own.simulation.turn()
            assert own.received().endswith(f"\r\n{event.upper()}\r\n".encode())
        own.service.line.say(b"0\r\n\r\n")
        own.simulation.settle()
        assert own.outcome() == (200, b"DATA: 0\n\nDATA: 1\n\nDATA: 2\n\n")


def test_a_websocket_passes_untouched() -> None:
    filtering = Filtering(lambda: Changing(bytes.upper))
    with scene(filtering, answers=[reply("")]) as own:
        own.simulation.case.answers[0].raw = SWITCHING.decode()
        own.ask(get("/api/open/x", *OFFER))
        assert own.received().startswith(b"HTTP/1.1 101 ")
        for _ in range(2):
            own.say("from the client")
            own.service.line.say(b"from the service")
            own.simulation.turn()
        assert own.received().endswith(b"from the service" * 2)
        assert bytes(own.service.line.received).endswith(b"from the client" * 2)
        assert own.running == [1]
        own.service.line.say(None)
        own.simulation.clients[0].line.say(None)
        own.simulation.turn()
        assert own.running == [0]
    assert filtering.heads == []


def test_bodies_of_one_connection_do_not_mix() -> None:
    """Each exchange has a filter of its own, and nothing that one kept gets into another."""
    made: list[Whole] = []

    def make() -> Whole:
        made.append(Whole(lambda kept: b"<" + kept + b">"))
        return made[-1]

    answers = [reply(f"body {number}") for number in range(5)]
    with scene(Filtering(make), answers=answers) as own:
        own.ask(get() * 3, get(), get())
        assert [bytes(each.body) for each in own.responses()] == [b"<body %d>" % number for number in range(5)]
    assert len(made) == 5


def test_a_chunked_body_that_comes_in_pieces_is_filtered_piece_by_piece() -> None:
    filters: list[Changing] = []

    def make() -> Changing:
        filters.append(Changing())
        return filters[-1]

    with scene(Filtering(make), answers=[reply(chunked("ab", "cd"), "Transfer-Encoding: chunked")], sizes=[1]) as own:
        own.ask(get())
        assert own.outcome() == (200, b"abcd")
    assert filters[0].pieces == [b"a", b"b", b"c", b"d"]


class Holding:
    """Decides at the end what to make of a body of up to eight bytes, and edits the head then."""

    holds_head = True
    changed = False

    def __init__(self, head: Any) -> None:
        self.head = head
        self.kept = b""
        self.gave_up = False

    def feed(self, data: bytes) -> bytes:
        self.kept += data
        self.gave_up = self.gave_up or len(self.kept) > 8
        if not self.gave_up:
            return b""
        data, self.kept = self.kept, b""
        return data

    def end(self) -> bytes:
        if self.kept == b"bad":
            raise HookFailedError(Refusal("policy_failed", "this body is none"))
        if self.kept.islower():
            self.head.headers.set("Content-Type", "text/loud")
            self.changed = True
        return self.kept.upper()


WAITING = Hooks(body=lambda exchange, head: Holding(head) if head.status is not None else None)


FIELDS = ['ETag: "a"', "Content-Type: text/plain"]


@pytest.mark.parametrize("sizes", [[1 << 20], [1]])
@pytest.mark.parametrize(
    ("content", "tag", "kind", "sent"),
    [
        ("quiet", b'W/"a"', b"text/loud", b"QUIET"),
        ("LOUD", b'"a"', b"text/plain", b"LOUD"),
        ("this is too long", b'"a"', b"text/plain", b"this is too long"),
        ("", b'"a"', b"text/plain", b""),
    ],
)
def test_a_filter_may_hold_the_head_and_edit_it_at_the_end(
    content: str, tag: bytes, kind: bytes, sent: bytes, sizes: list[int]
) -> None:
    with scene(WAITING, answers=[reply(content, *FIELDS)], sizes=sizes) as own:
        own.ask(get() + get())
        for answer in own.responses():
            assert bytes(answer.body) == sent
            assert answer.all(b"content-length") == [b"%d" % len(sent)]
            assert (answer.all(b"etag"), answer.all(b"content-type")) == ([tag], [kind])


@pytest.mark.parametrize("sizes", [[1 << 20], [1]])
@pytest.mark.parametrize("answer", [reply("bad", *FIELDS), reply(chunked("b", "ad"), "Transfer-Encoding: chunked")])
def test_while_the_head_is_held_an_error_takes_the_place_of_the_response(answer: Any, sizes: list[int]) -> None:
    with scene(WAITING, answers=[answer], sizes=sizes) as own:
        own.ask(get() + get())
        assert [each.status for each in own.responses()] == [500, 500]
        assert own.exchange().reason == "policy_failed"


def test_a_response_that_breaks_off_while_its_head_is_held_is_a_502() -> None:
    with scene(WAITING, answers=[reply("abc", "Content-Length: 5", *FIELDS, end="close")], sizes=[1]) as own:
        own.ask(get())
        assert own.response().status == 502
        assert own.exchange().reason == "upstream_reset"
