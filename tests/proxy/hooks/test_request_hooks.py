"""What policies do with requests: verdicts, the fields that services get, and their bodies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from portico.plugin import Exchange, Head, Policy, answer, refuse

from .scene import OK, PLAIN, chunked, get, post, reply, scene
from .test_response_bodies import Changing, Whole
from .test_response_hooks import HEDGED

BUSY = reply("no", status="503 No")


class Asking(Policy):
    """Does what it is told with the request."""

    def __init__(self, act: Any) -> None:
        self.act = act

    def request(self, exchange: Exchange) -> Any:
        return self.act(exchange)

    async def close(self) -> None:
        """There is one, so its exchanges are counted."""


class Uploading(Policy):
    """Filters the bodies of requests."""

    def __init__(self, make: Any) -> None:
        self.make = make
        self.heads: list[str | None] = []

    def body(self, exchange: Exchange, head: Head) -> Any:
        if head.status is not None:
            return None
        self.heads.append(head.headers.get("Content-Type"))
        return self.make()


# ---- verdicts


@pytest.mark.parametrize("is_async", [False, True])
def test_a_request_is_refused_with_a_reason_of_its_own(is_async: bool) -> None:
    async def later(exchange: Exchange) -> Any:
        await asyncio.sleep(0.1)
        return refuse(403, "too_old", "use version 2", {"X-A": "1"})

    act = later if is_async else lambda exchange: refuse(403, "too_old", "use version 2", {"X-A": "1"})
    with scene(Asking(act)) as own:
        own.ask(post("abcd") + get())
        assert [each.status for each in own.responses()] == [403, 403]
        assert b'"reason":"too_old"' in own.responses()[0].body
        assert own.responses()[0].all(b"x-a") == [b"1"]
        assert own.exchange().reason == "too_old"
        assert own.requests == []


@pytest.mark.parametrize(
    ("given", "body", "kind"),
    [
        ("text", b"text", b"text/plain; charset=utf-8"),
        ({"a": 1}, b'{"a":1}', b"application/json"),
        (b"raw", b"raw", None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_request_is_answered(given: Any, body: bytes, kind: bytes | None, method: str) -> None:
    with scene(Asking(lambda exchange: answer(200, given))) as own:
        own.ask(get(method=method))
        assert own.outcome() == (200, body if method == "GET" else b"")
        assert own.response().all(b"content-type") == ([kind] if kind else [])
        assert own.response().all(b"content-length") == [b"%d" % len(body)]


def test_what_a_policy_reads_of_an_exchange() -> None:
    seen: list[Any] = []

    def act(exchange: Exchange) -> None:
        seen.extend((exchange.method, exchange.path, exchange.query.get("a"), exchange.query.get_all("b")))
        seen.extend((exchange.headers.get("x-a"), "X-B" in exchange.headers, exchange.client_ip, exchange.consumer))
        seen.extend(
            (exchange.scopes, dict(exchange.claims), exchange.route, exchange.service, len(exchange.request_id))
        )
        with pytest.raises(AttributeError, match=r"upstream_headers\.set"):
            exchange.headers.set("X-A", "1")  # type: ignore[operator]

    with scene(Asking(act)) as own:
        own.ask(get("/api/open/%C3%A4?a=%20x&b=1&b=", "X-A: 1", "X-A: 2"))
    wanted = ["GET", "/api/open/%C3%A4", " x", ["1", ""], "1, 2", False, "192.0.2.7", None, (), {}, "open", "open", 32]
    assert seen == wanted


# ---- fields for the service


SPELLINGS = ("X-Tenant: client", "X_Tenant: client", "x-tenant: client", "X.Tenant: client")


@pytest.mark.parametrize("name", ["X-Tenant", "x_tenant"])
def test_no_spelling_of_a_field_that_is_set_comes_from_the_client(name: str) -> None:
    def act(exchange: Exchange) -> None:
        exchange.upstream_headers.set(name, "theirs")
        exchange.upstream_headers.set(name, "ours")
        assert exchange.upstream_headers.get_all(name) == ["ours"]
        assert len([each for each in exchange.upstream_headers if "tenant" in each]) == 1

    with scene(Asking(act)) as own:
        own.ask(get("/api/open/x", *SPELLINGS) * 2)
        for request in own.requests:
            tenants = [(key.decode(), value) for key, value in request.fields if b"enant" in key]
            assert tenants == [(name, b"ours")]


def test_fields_are_added_and_removed() -> None:
    def act(exchange: Exchange) -> None:
        assert exchange.upstream_headers.get("Accept") == "a"
        exchange.upstream_headers.add("Accept", "b")
        exchange.upstream_headers.remove("X-Tenant")
        assert exchange.headers.get_all("X-Tenant") == ["client", "client"]

    with scene(Asking(act)) as own:
        own.ask(get("/api/open/x", "Accept: a", *SPELLINGS))
        (request,) = own.requests
        assert request.all(b"accept") == [b"a", b"b"]
        assert not [key for key, _ in request.fields if b"enant" in key.lower()]


def test_what_the_gateway_writes_is_replaced_or_removed() -> None:
    def act(exchange: Exchange) -> None:
        exchange.upstream_headers.set("X-Forwarded-For", "203.0.113.1")
        exchange.upstream_headers.set("Host", "other.example")
        exchange.upstream_headers.remove("X-Real-IP")
        exchange.upstream_headers.remove("Via")
        with pytest.raises(ValueError, match="every request has one"):
            exchange.upstream_headers.remove("Host")
        with pytest.raises(ValueError, match="every request has one"):
            exchange.upstream_headers.add("host", "a")

    with scene(Asking(act)) as own:
        own.ask(get("/api/open/x", "X-Forwarded-For: 1.2.3.4"))
        (request,) = own.requests
        assert request.all(b"x-forwarded-for") == [b"203.0.113.1"]
        assert request.all(b"host") == [b"other.example"]
        assert request.all(b"x-real-ip") == request.all(b"via") == []
        assert len(request.all(b"x-request-id")) == 1


@pytest.mark.parametrize(
    "name",
    ["Content-Length", "content_length", "Transfer_Encoding", "Connection", "Expect", "Te", "Sec-WebSocket-Key"],
)
def test_the_framing_is_nobodys_to_edit(name: str) -> None:
    def act(exchange: Exchange) -> None:
        for edit in (exchange.upstream_headers.set, exchange.upstream_headers.add):
            with pytest.raises(ValueError, match="not to be edited"):
                edit(name, "1")
        with pytest.raises(ValueError, match="not to be edited"):
            exchange.upstream_headers.remove(name)

    with scene(Asking(act)) as own:
        own.ask(post("abcd"))
        assert own.requests[0].body == b"abcd"


def test_every_attempt_carries_the_edits() -> None:
    def act(exchange: Exchange) -> None:
        exchange.upstream_headers.set("X-Tenant", "ours")

    with scene(Asking(act), answers=[BUSY, BUSY, OK]) as own:
        own.ask(get("/api/open/x", *SPELLINGS))
        assert own.response().status == 200
        assert [each.all(b"x-tenant") for each in own.requests] == [[b"ours"]] * 3


def test_a_hedge_carries_the_edits() -> None:
    def act(exchange: Exchange) -> None:
        exchange.upstream_headers.set("X-Tenant", "ours")

    with scene(Asking(act), config=HEDGED) as own:
        own.say(get())
        own.pass_time(0.3)
        own.simulation.settle()
        assert [each.all(b"x-tenant") for each in own.requests] == [[b"ours"]] * 2


# ---- bodies of requests


MAKES: dict[str, tuple[Any, bytes]] = {
    "identity": (Changing, b"abcd"),
    "growing": (lambda: Changing(lambda data: data * 2, b"!"), b"abcdabcd!"),
    "nothing": (lambda: Changing(lambda data: b""), b""),
    "whole": (lambda: Whole(lambda kept: kept[::-1]), b"dcba"),
}


@pytest.mark.parametrize("name", MAKES)
def test_a_body_that_comes_with_its_head_has_its_new_length(name: str) -> None:
    make, wanted = MAKES[name]
    with scene(Uploading(make)) as own:
        own.ask(post("abcd", "Content-MD5: x", "Digest: x", "Content-Type: a") * 2)
        assert [each.status for each in own.responses()] == [200, 200]
        for request in own.requests:
            assert request.body == wanted
            assert request.all(b"content-length") == [b"%d" % len(wanted)]
            assert request.all(b"content-md5") == request.all(b"digest") == request.all(b"transfer-encoding") == []


@pytest.mark.parametrize("name", ["identity", "nothing", "whole"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_comes_later_goes_on_in_chunks(name: str, framing: str) -> None:
    make, wanted = MAKES[name]
    head, body = get("/api/open/x", "Transfer-Encoding: chunked", method="POST"), chunked("ab", "cd")
    if framing == "length":
        head, body = post("abcd")[:-4], "abcd"
    with scene(Uploading(make)) as own:
        own.ask(head, *body)
        own.ask(head, body)
        assert [each.status for each in own.responses()] == [200, 200]
        for request in own.requests:
            assert (bytes(request.body), request.complete) == (wanted, True)
            assert request.all(b"transfer-encoding") == [b"chunked"]
            assert request.all(b"content-length") == []


def test_requests_without_a_body_have_no_filter() -> None:
    policy = Uploading(Changing)
    with scene(policy) as own:
        own.ask(get() + post("") + get(method="HEAD"))
        assert [each.status for each in own.responses()] == [200, 200, 200]
    assert policy.heads == []


def test_filters_of_requests_stand_in_the_order_of_requests() -> None:
    first, second = (
        Uploading(lambda mark=mark: Changing(lambda data: mark + data, mark + b".")) for mark in (b"1", b"2")
    )
    with scene(first, second) as own:
        own.ask(post("ab"))
        assert own.requests[0].body == b"21ab21.2."


def test_a_large_body_passes_with_backpressure() -> None:
    size = 900_000
    body = "x" * size
    with scene(Uploading(lambda: Changing(lambda data: data * 2))) as own:
        own.say(post(body)[:-size])
        own.service.line.listen(False)
        for start in range(0, size, 50_000):
            own.say(body[start : start + 50_000])
        assert own.connection().reading_paused
        assert len(own.service.line.unsent) < 400_000
        own.simulation.settle()
        assert len(own.requests[0].body) == 2 * size
        assert own.response().status == 200


def test_a_client_is_told_to_go_on_before_a_filter_has_anything() -> None:
    with scene(Uploading(lambda: Whole(bytes.upper))) as own:
        own.say(post("abcd", "Expect: 100-continue")[:-4])
        assert own.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
        own.ask("abcd")
        assert own.requests[0].body == b"ABCD"
        assert own.response().status == 200


@pytest.mark.parametrize("sent", [[post("abcd", method="PUT")], [post("abcd", method="PUT")[:-2], "cd"]])
def test_what_is_sent_again_was_filtered_once(sent: list[str]) -> None:
    broken = reply("", end="reset")
    broken.raw = ""
    filters = []

    def make() -> Changing:
        filters.append(Changing(bytes.upper, b"!"))
        return filters[-1]

    with scene(Uploading(make), answers=[broken, BUSY, OK]) as own:
        own.ask(*sent)
        assert own.response().status == 200
        assert [bytes(each.body) for each in own.requests] == [b"ABCD!"] * 3
    assert b"".join(filters[0].pieces) == b"abcd"
    assert len(filters) == 1


def test_a_response_before_the_end_of_the_request_is_right() -> None:
    early = reply("no", status="413 No")
    early.early = True
    with scene(Uploading(lambda: Changing(bytes.upper)), answers=[early, OK]) as own:
        own.say(post("abcd")[:-2])
        own.simulation.settle()
        assert own.outcome() == (413, b"no")
        own.ask("cd", get())
        assert [each.status for each in own.responses()] == [413, 200]


def test_parts_are_of_what_is_read() -> None:
    """A range in a request that brings a body means nothing, and could not be asked for again."""
    with scene(Uploading(lambda: None)) as own:
        own.ask(post("abcd", "Range: bytes=0-1"))
        assert own.requests[0].all(b"range") == []


def test_trailers_about_the_bytes_do_not_pass() -> None:
    config = {"services": {"open": {**PLAIN["services"]["open"], "trailers": ["X-Sum", "Digest"]}}}
    head = get("/api/open/x", "Transfer-Encoding: chunked", "Trailer: X-Sum, Digest", method="POST")
    with scene(Uploading(Changing), config=config) as own:
        own.ask(head, "4\r\nabcd\r\n", "0\r\nX-Sum: 1\r\nDigest: x\r\n\r\n")
        assert bytes(own.service.line.received).endswith(b"4\r\nabcd\r\n0\r\nX-Sum: 1\r\n\r\n")
        assert b"Digest" not in own.service.line.received


# ---- waiting


def test_a_body_that_comes_while_a_policy_waits_is_filtered() -> None:
    class Both(Uploading):
        async def request(self, exchange: Exchange) -> None:
            await asyncio.sleep(0.1)

    with scene(Both(lambda: Changing(bytes.upper))) as own:
        own.ask(post("abcd")[:-2], "cd")
        assert own.requests[0].body == b"ABCD"


def test_a_policy_that_an_exchange_may_still_reach_is_not_let_go() -> None:
    """It would be closed before its hooks are called."""
    gone: list[str] = []
    calls: list[str] = []

    class Late(Policy):
        def request(self, exchange: Exchange) -> None:
            calls.append("request")

        def finished(self, exchange: Exchange) -> None:
            calls.append("finished")

    async def wait(exchange: Exchange) -> None:
        await asyncio.sleep(0.2)

    with scene(Asking(wait), Late()) as own:
        own.say(get())
        for each in own.hooks:
            each.retire(lambda: gone.append("gone"))
        assert (gone, calls) == ([], [])
        assert own.running == [1, 1]
        own.simulation.settle()
        assert own.response().status == 200
        assert calls == ["request", "finished"]
        assert gone == ["gone", "gone"]
        assert own.running == [0, 0]
        own.hooks[0].retire(lambda: gone.append("at once"))
        assert gone[2:] == ["at once"]
