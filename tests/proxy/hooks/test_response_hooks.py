"""Hooks for responses: in which order they are called, for which responses, and what they may make of them."""

from __future__ import annotations

from typing import Any

import pytest

from portico.core.errors import Answer, Refusal
from portico.plugin import Exchange, Policy, ResponseHead, answer, refuse
from portico.upstreams.breaker import OPEN

from .scene import LIMITED, OK, PLAIN, RESPONSES, STREAM, get, post, reply, scene

HEDGED: dict[str, Any] = {
    "services": {
        "open": {
            "instances": [{"url": "http://one.test"}, {"url": "http://two.test"}],
            "hedge": {"after": "200ms"},
            "health_check": False,
            "policies": {"cors": {}},
        }
    }
}

BREAKING: dict[str, Any] = {
    "services": {
        "open": {
            "url": "http://open.test",
            "health_check": False,
            "circuit_breaker": {"failures": 5},
            "max_requests": "adaptive",
            "policies": {"cors": {}},
        }
    }
}

MARKS = {b"x-from", b"access-control-allow-origin", b"server-timing"}


class Noted(Policy):
    """Notes which of its hooks are called, and with what."""

    def __init__(self, name: str, calls: list[Any]) -> None:
        self.name = name
        self.calls = calls

    def request(self, exchange: Exchange) -> Any:
        self.calls.append(f"{self.name} request")

    def response(self, exchange: Exchange, head: ResponseHead) -> Any:
        self.calls.append(f"{self.name} response {head.status}")

    def finished(self, exchange: Exchange) -> None:
        self.calls.append(f"{self.name} finished {exchange.status}")


class Watching(Policy):
    """Has no request hook."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    def response(self, exchange: Exchange, head: ResponseHead) -> Any:
        self.calls.append(f"watching response {head.status} {head.is_own}")


class Editing(Policy):
    """Does what it is told with the response."""

    def __init__(self, edit: Any) -> None:
        self.edit = edit

    def response(self, exchange: Exchange, head: ResponseHead) -> Any:
        return self.edit(head)


# ---- when they are called


@pytest.mark.parametrize("kind", RESPONSES)
def test_hooks_for_responses_are_called_in_the_reverse_order_of_those_for_requests(kind: str) -> None:
    calls: list[Any] = []
    with scene(Noted("a", calls), Noted("b", calls), answers=[RESPONSES[kind]]) as own:
        own.ask(get())
        assert own.outcome() == (200, b"ok")
    ends = ["b finished 200", "a finished 200"]
    assert calls == ["a request", "b request", "b response 200", "a response 200", *ends]


def test_a_response_that_is_retried_is_not_seen() -> None:
    calls: list[Any] = []
    with scene(Noted("a", calls), answers=[reply("no", status="503 No"), OK]) as own:
        own.ask(get())
        assert own.response().status == 200
        assert own.exchange().attempts == 2
    assert calls == ["a request", "a response 200", "a finished 200"]


def test_what_is_left_when_all_attempts_failed_is_seen() -> None:
    calls: list[Any] = []
    with scene(Noted("a", calls), dials="r") as own:
        own.ask(get())
        assert own.response().status == 502
    assert calls == ["a request", "a response 502", "a finished 502"]


@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_of_a_hedged_request_one_response_is_seen(kind: str) -> None:
    calls: list[Any] = []
    edited = Editing(lambda head: head.headers.set("X-Edited", "1"))
    with scene(Noted("a", calls), edited, answers=[RESPONSES[kind]], config=HEDGED) as own:
        own.say(get())
        own.pass_time(0.3)
        assert len(own.requests) == 2
        own.simulation.settle()
        assert own.response().all(b"x-edited") == [b"1"]
    assert calls == ["a request", "a response 200", "a finished 200"]


@pytest.mark.parametrize("upload", [False, True])
def test_a_client_that_leaves_ends_the_exchange_of_its_policies(upload: bool) -> None:
    calls: list[Any] = []
    with scene(Noted("a", calls)) as own:
        own.say(post("abcd")[:-2] if upload else get())
        assert own.running == [1]
        own.reset()
        assert own.running == [0]
    assert calls == ["a request", "a finished 499"]


def test_a_timeout_is_seen() -> None:
    calls: list[Any] = []
    with scene(Noted("a", calls), answers=[]) as own:
        own.say(get())
        while not own.responses():
            own.pass_time(61)
        assert own.response().status == 504
    assert calls == ["a request", "a response 504", "a finished 504"]


# ---- refusals and answers of the gateway's own


def test_a_refusal_is_seen_by_the_policies_that_the_request_reached() -> None:
    calls: list[Any] = []
    refusing = lambda exchange: Refusal("scope_missing", "no")  # noqa: E731
    with scene(Noted("a", calls), refusing, Noted("b", calls), Watching(calls)) as own:
        own.ask(get())
        assert own.response().status == 403
        assert own.requests == []
    assert calls == ["a request", "watching response 403 True", "a response 403", "a finished 403"]


def test_one_that_wants_every_answer_sees_refusals_of_policies_before_it() -> None:
    calls: list[Any] = []

    class Every(Noted):
        every_answer = True

    with scene(lambda exchange: Refusal("scope_missing", "no"), Every("a", calls)) as own:
        own.ask(get())
        assert own.response().status == 403
    assert calls == ["a response 403"]


def test_the_policy_that_answers_sees_its_own_answer() -> None:
    calls: list[Any] = []

    class Answering(Noted):
        def request(self, exchange: Exchange) -> Any:
            super().request(exchange)
            return answer(200, "from the policy", {"X-From": self.name})

    with scene(Answering("a", calls), Noted("b", calls)) as own:
        own.ask(get())
        assert own.response().body == b"from the policy"
        assert own.response().all(b"x-from") == [b"a"]
    assert calls == ["a request", "a response 200", "a finished 200"]


def test_a_body_too_large_is_seen() -> None:
    calls: list[Any] = []
    with scene(Noted("a", calls), limits={"body_size": 3}) as own:
        own.ask(post("abcd"))
        assert own.response().status == 413
    assert calls == ["a request", "a response 413", "a finished 413"]


def test_a_request_for_nothing_is_not_seen() -> None:
    calls: list[Any] = []
    with scene(Noted("a", calls), Watching(calls)) as own:
        own.ask(get("/nowhere"), get("/livez"))
        assert [each.status for each in own.responses()] == [404, 200]
    assert calls == []


# ---- edits


@pytest.mark.parametrize("kind", RESPONSES)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_fields_are_set_added_and_removed(kind: str, version: str) -> None:
    def edit(head: ResponseHead) -> None:
        head.headers.set("x-from", "policy")
        head.headers.add("X-From", "too")
        head.headers.set("X-New", "1")
        head.headers.remove("Access-Control-Allow-Origin")
        head.headers.remove("X-None")

    with scene(Editing(edit), answers=[RESPONSES[kind]]) as own:
        own.ask(get(version=version))
        response = own.response()
        assert own.outcome() == (200, b"ok")
        assert response.all(b"x-from") == [b"policy", b"too"]
        assert response.all(b"x-new") == [b"1"]
        assert response.all(b"access-control-allow-origin") == []
        assert len(response.all(b"date")) == len(response.all(b"x-request-id")) == 1


@pytest.mark.parametrize("kind", RESPONSES)
def test_the_status_is_edited(kind: str) -> None:
    def edit(head: ResponseHead) -> None:
        head.status = 418

    with scene(Editing(edit), answers=[RESPONSES[kind]]) as own:
        own.ask(get())
        assert own.response().start == [b"HTTP/1.1", b"418", b"I'm a Teapot"]
        assert own.response().body == b"ok"
        assert own.exchange().status == 418


def test_a_service_is_judged_by_the_status_that_it_gave() -> None:
    """Else a policy that hides failures would keep its breaker closed, and one that makes some keep it open."""

    def hide(head: ResponseHead) -> None:
        head.status = 404

    with scene(Editing(hide), answers=[reply("no", status="500 No")], config=BREAKING) as own:
        own.ask(get())
        own.ask(post("a"))
        assert len(own.simulation.services) == 2, "a connection that carried a 500 may be about to be closed"
        for _ in range(3):
            own.ask(get())
        assert [response.status for response in own.responses()] == [404] * 5
        (breaker,) = (each.breaker for each in own.simulation.instances if each.breaker is not None)
        assert breaker.state == OPEN


@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_a_service_that_answers_is_not_judged_by_a_failure_of_a_policy_s_making(kind: str) -> None:
    def hide(head: ResponseHead) -> None:
        if not head.is_own:
            head.status = 500

    with scene(Editing(hide), answers=[reply("no", status="500 No"), *[RESPONSES[kind]] * 2], config=BREAKING) as own:
        for _ in range(3):  # whole ones take a shorter way again where the breaker has forgotten
            own.ask(get())
        assert [each.status for each in own.responses()] == [500, 500, 500]
        (breaker,) = (each.breaker for each in own.simulation.instances if each.breaker is not None)
        assert not breaker.alert, "one that succeeds is forgiven"


@pytest.mark.parametrize("kind", RESPONSES)
def test_all_fields_may_go(kind: str) -> None:
    def edit(head: ResponseHead) -> None:
        for name in list(head.headers):
            if name != "content-length":
                head.headers.remove(name)

    with scene(Editing(edit), answers=[RESPONSES[kind]]) as own:
        own.ask(get())
        kept = {name.lower() for name, _ in own.response().fields}
        assert kept <= {b"x-request-id", b"server-timing", b"content-length", b"transfer-encoding"}
        assert own.response().body == b"ok"


def test_an_own_answer_is_edited() -> None:
    def edit(head: ResponseHead) -> None:
        assert head.headers.get("Access-Control-Allow-Origin") is None  # cors comes later and was not reached
        assert head.headers.get("Content-Type") == "application/problem+json"
        head.headers.set("X-New", "1")
        head.headers.set("Date", "today")
        head.status = 451

    with scene(Editing(edit), lambda exchange: Refusal("scope_missing", "no")) as own:
        own.ask(get())
        response = own.response()
        assert response.status == 451
        assert response.all(b"x-new") == [b"1"]
        assert response.all(b"date") == [b"today"]
        assert b'"status":451' in response.body
        assert b'"reason":"scope_missing"' in response.body


def test_what_policies_add_is_there_to_be_edited_whoever_answers() -> None:
    def marked(exchange: Any) -> Answer | None:
        exchange.response_lines += (b"X-Mark: 1",)
        return Answer(200, (), b"own") if b"x-own" in exchange.request.fields.names else None

    def edit(head: ResponseHead) -> None:
        assert head.headers.get_all("X-Mark") == ["1"]
        head.headers.set("X-Mark", "2")

    with scene(Editing(edit), marked) as own:
        own.ask(get(), get("/api/open/x", "X-Own: 1"))
        assert [each.body for each in own.responses()] == [b"ok", b"own"]
        assert [each.all(b"x-mark") for each in own.responses()] == [[b"2"], [b"2"]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("X-A", "a\r\nX-B: b"), ("X-A", "a\n"), ("X-A", "\r"), ("X-A", "a\0"), ("X-A", "\x7f"), ("X-A", "€")],
        *[("X A", "a"), ("X-A:", "a"), ("", "a"), ("X-A\r\n", "a"), ("X\0", "a"), ("Ä", "a")],
        *[("Connection", "close"), ("keep-alive", "a"), ("TE", "a"), ("Trailer", "a"), ("Upgrade", "a")],
        *[
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "0"),
            ("content_length", "0"),
            ("Proxy-Connection", "a"),
            ("Sec-WebSocket-Accept", "a"),
        ],
        *[("X-Request-ID", "a")],
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_what_no_field_may_be_is_refused_and_edits_nothing(name: str, value: str, own: bool) -> None:
    refused = []

    def edit(head: ResponseHead) -> None:
        before = head.headers.items()
        for method in (head.headers.set, head.headers.add):
            with pytest.raises(ValueError, match=r"."):
                method(name, value)
            refused.append(method)
        if value == "a" or name.lower().startswith(("con", "tr")):
            with pytest.raises(ValueError, match=r"."):
                head.headers.remove(name)
        assert head.headers.items() == before

    policies: list[Any] = [Editing(edit), *([lambda exchange: Refusal("scope_missing", "no")] if own else [])]
    with scene(*policies) as simulated:
        simulated.ask(get())
        assert simulated.response().status == (403 if own else 200)
        sent = {name.lower() for name, _ in simulated.response().fields} - {b"date", b"x-request-id", b"content-length"}
        assert sent == ({b"content-type", b"cache-control"} if own else MARKS)
    assert len(refused) == 2


@pytest.mark.parametrize("value", [None, 1, b"bytes", ["a"]])
def test_a_value_that_is_no_text_is_refused(value: Any) -> None:
    def edit(head: ResponseHead) -> None:
        with pytest.raises(TypeError, match="is text"):
            head.headers.set("X-A", value)
        with pytest.raises(TypeError, match="is text"):
            head.headers.add(value or 1, "a")  # type: ignore[arg-type]

    with scene(Editing(edit)) as own:
        own.ask(get())
        assert own.response().status == 200


@pytest.mark.parametrize("status", [100, 101, 199, 600, -1, "200", None, 204, 205, 304, 2.5])
def test_what_no_status_may_be_is_refused(status: Any) -> None:
    def edit(head: ResponseHead) -> None:
        with pytest.raises(ValueError, match="cannot take the place of 200"):
            head.status = status

    with scene(Editing(edit)) as own:
        own.ask(get())
        assert own.response().status == 200


# ---- another answer in its place


class Replacing(Policy):
    def __init__(self, verdict: Answer) -> None:
        self.verdict = verdict

    def response(self, exchange: Exchange, head: ResponseHead) -> Any:
        return None if head.is_own else self.verdict


@pytest.mark.parametrize("kind", RESPONSES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_answer_takes_the_place_of_a_response(kind: str, method: str, version: str) -> None:
    calls: list[Any] = []
    replacing = Replacing(answer(201, "other", {"X-From": "policy"}))
    with scene(Noted("outer", calls), replacing, Noted("inner", calls), answers=[RESPONSES[kind]]) as own:
        own.ask(get(method=method, version=version))
        response = own.response()
        assert own.outcome() == (201, b"other" * (method == "GET"))
        assert response.all(b"x-from") == [b"policy"]
        assert response.all(b"content-length") == [b"5"]
        own.simulation.clients[0].line.reset()
    assert calls[2:4] == ["inner response 200", "outer response 201"]


def test_a_refusal_takes_the_place_of_a_response() -> None:
    with scene(Replacing(refuse(409, "too_old", "use version 2")), clients=2) as own:
        own.ask(get() + get())
        assert [each.status for each in own.responses()] == [409, 409]
        assert b'"reason":"too_old"' in own.responses()[0].body
        assert own.exchange().reason == "too_old"
        assert len(own.simulation.services) == 1, "a response that was all there leaves its connection open"


def test_the_rest_of_a_replaced_stream_is_not_waited_for() -> None:
    endless = reply("3\r\nabc\r\n", "Transfer-Encoding: chunked")
    with scene(Replacing(answer(200, "other")), answers=[endless, OK]) as own:
        own.ask(get() + get())
        assert [each.body for each in own.responses()] == [b"other", b"other"]
        assert own.simulation.services[0].line.lost


def test_an_answer_in_the_place_of_a_101_ends_the_upgrade() -> None:
    switching = reply("", "Connection: Upgrade", "Upgrade: echo", "X-Length: 0", status="101 Switching")
    config = {"services": {"open": {**PLAIN["services"]["open"], "upgrades": ["echo"]}}}
    seen = []

    class Refusing(Policy):
        def response(self, exchange: Exchange, head: ResponseHead) -> Any:
            seen.append(head.status)
            with pytest.raises(ValueError, match="cannot take the place"):
                head.status = 200
            return refuse(403, "no_upgrade", "not here")

    with scene(Refusing(), answers=[switching], config=config) as own:
        own.ask(get("/api/open/x", "Connection: Upgrade", "Upgrade: echo"))
        assert own.response().status == 403
        assert own.service.line.lost
    assert seen == [101]


def test_the_status_of_a_replaced_answer_is_seen_by_those_further_out() -> None:
    calls: list[Any] = []
    second = Replacing(answer(202))

    class Again(Policy):
        def response(self, exchange: Exchange, head: ResponseHead) -> Any:
            return answer(203, f"after {head.status}")

    with scene(Noted("a", calls), Again(), second) as own:
        own.ask(get())
        assert own.outcome() == (203, b"after 202")
    assert calls == ["a request", "a response 203", "a finished 203"]


# ---- nothing of one exchange in another


@pytest.mark.parametrize(("key", "config"), [("cors", PLAIN), ("rate_limit", LIMITED)])
def test_requests_that_repeat_each_have_their_own_edits(key: str, config: dict[str, Any]) -> None:
    """The same bytes are read once, and their heads are kept: what is edited is not."""

    class Counting(Policy):
        count = 0

        def request(self, exchange: Exchange) -> None:
            self.count += 1
            assert exchange.state == {}
            exchange.state["count"] = self.count
            exchange.upstream_headers.set("X-Count", str(self.count))
            if self.count % 3 == 0:
                exchange.upstream_headers.remove("Accept")

        def response(self, exchange: Exchange, head: ResponseHead) -> None:
            count = exchange.state["count"]
            if count % 2:
                assert head.headers.get("X-Count") is None
                head.headers.set("X-Count", str(count))
                head.headers.remove("X-From")
            if count % 5 == 0:
                head.status = 299

    request = get("/api/open/x", "Accept: a")
    dated = reply("ok", "X-From: service", "Date: today")  # its head is kept as it is passed
    with scene(Counting(), answers=[OK, *[dated] * 4, STREAM], config=config, key=key) as own:
        own.ask(request * 6, *[request] * 6)
        numbers = range(1, 13)
        assert [each.all(b"x-count") for each in own.requests] == [[b"%d" % number] for number in numbers]
        assert [each.all(b"accept") for each in own.requests] == [[b"a"] * (number % 3 > 0) for number in numbers]
        responses = own.responses()
        assert [each.all(b"x-count") for each in responses] == [[b"%d" % n] if n % 2 else [] for n in numbers]
        assert [each.all(b"x-from") for each in responses] == [[] if n % 2 else [b"service"] for n in numbers]
        assert [each.status for each in responses] == [200 if n % 5 else 299 for n in numbers]


def test_a_route_without_the_policy_has_nothing_of_it() -> None:
    services = {**PLAIN["services"], "other": {"url": "http://open.test", "health_check": False}}
    edit = Editing(lambda head: head.headers.set("X-New", "1"))
    with scene(edit, config={"services": services}) as own:
        own.ask(*[get(), get("/api/other/x")] * 3)
        assert [each.all(b"x-new") for each in own.responses()] == [[b"1"], []] * 3
