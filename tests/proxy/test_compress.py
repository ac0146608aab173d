"""Compression on the way of whole exchanges, byte by byte."""

from __future__ import annotations

import zlib
from typing import Any

import brotli
import pytest

from fuzz.case import Answer as Reply
from fuzz.readers import Message
from portico.core.codings import decode, encode
from portico.policies.compress import counts as counts_module
from portico.policies.compress.counts import CodedForms
from proxy.cache import scene as cached
from proxy.hooks.scene import Scene, chunked, get, post, reply, scene
from proxy.hooks.test_response_bodies import Changing, Filtering
from support.websocket import OFFER, SWITCHING

JSON = "Content-Type: application/json"
TEXT = '{"word": "%s"}' % ("again and " * 20)
GZIP = "Accept-Encoding: gzip"
FIELDS = [JSON, 'ETag: "hi"', "Accept-Ranges: bytes", "Digest: x"]
RESPONSES = {
    "whole": reply(TEXT, *FIELDS),
    "stream": reply(chunked(TEXT[:30], TEXT[30:]), *FIELDS, "Transfer-Encoding: chunked"),
    "until close": reply(TEXT, *FIELDS, end="close"),
}


def config(**settings: Any) -> dict[str, Any]:
    own = {"compress": {"min_size": 64, **settings}, "cors": {}}
    return {"services": {"open": {"url": "http://open.test", "health_check": False, "policies": own}}}


def asked(answer: Any, *lines: str, method: str = "GET", version: str = "1.1", **settings: Any) -> Message:
    """The response to one request."""
    with scene(answers=[answer], config=config(**settings)) as own:
        own.ask(get("/api/open/x", *lines, method=method, version=version))
        return own.response()


def decoded(message: Message) -> bytes:
    return decode(bytes(message.body), message.all(b"content-encoding"), 1 << 20)


def is_plain(message: Message) -> bool:
    return not message.all(b"content-encoding") and bytes(message.body) == TEXT.encode()


@pytest.mark.parametrize("sizes", [[1 << 20], [7]])
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("kind", RESPONSES)
def test_a_response_is_compressed_however_it_comes(kind: str, coding: str, sizes: list[int]) -> None:
    with scene(answers=[RESPONSES[kind]], sizes=sizes, config=config()) as own:
        own.ask(get("/api/open/x", f"Accept-Encoding: {coding}"))
        answer = own.response()
        assert answer.complete
        assert decoded(answer) == TEXT.encode()
        assert answer.all(b"content-encoding") == [coding.encode()]
        assert answer.all(b"etag") == [b'W/"hi-%b"' % coding.encode()]
        assert answer.all(b"vary") == [b"Accept-Encoding"]
        assert not answer.all(b"accept-ranges") + answer.all(b"digest")
        assert len(answer.body) < len(TEXT)
        if kind == "whole" and len(sizes) == 1 and sizes[0] > 7:
            assert answer.all(b"content-length") == [b"%d" % len(answer.body)]


@pytest.mark.parametrize("accepted", ["", "Accept-Encoding: gzip;q=0", "Accept-Encoding: identity"])
def test_who_does_not_want_it_gets_the_plain_one_and_caches_know_that_it_depends(accepted: str) -> None:
    answer = asked(RESPONSES["whole"], *([accepted] if accepted else []))
    assert is_plain(answer)
    assert answer.all(b"vary") == [b"Accept-Encoding"]
    assert answer.all(b"etag") == [b'"hi"']
    assert answer.all(b"accept-ranges") == [b"bytes"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Type: image/png"],
        [],
        ["Content-Type: application/grpc"],
        [JSON, "Content-Encoding: x"],
        [JSON, "Cache-Control: max-age=1, No-Transform"],
        [JSON, "Set-Cookie: a=b"],
        [JSON, "Incremental: ?1"],
        ["Content-Type: text/event-stream; charset=utf-8"],
    ],
)
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_what_is_left_alone(lines: list[str], kind: str) -> None:
    if kind == "whole":
        answer = asked(reply(TEXT, 'ETag: "hi"', *lines), GZIP)
    else:
        answer = asked(reply(chunked(TEXT), 'ETag: "hi"', "Transfer-Encoding: chunked", *lines), GZIP)
    assert bytes(answer.body) == TEXT.encode()
    assert answer.all(b"content-encoding") == [b"x"] * ("Content-Encoding: x" in lines)
    assert answer.all(b"etag") == [b'"hi"']
    assert answer.all(b"vary") == []


def test_what_may_be_asked_for() -> None:
    assert decoded(asked(reply(TEXT, JSON, "Set-Cookie: a=b"), GZIP, cookies=True)) == TEXT.encode()
    assert decoded(asked(reply(TEXT, JSON, "Incremental: ?1"), GZIP, incremental=True)) == TEXT.encode()
    events = reply(TEXT, "Content-Type: text/event-stream")
    assert decoded(asked(events, GZIP, types=["text/event-stream"])) == TEXT.encode()
    assert asked(RESPONSES["whole"], "Accept-Encoding: br, gzip", encodings=["gzip", "br"]).all(
        b"content-encoding"
    ) == [b"gzip"]


def test_a_request_may_forbid_it() -> None:
    answer = asked(RESPONSES["whole"], GZIP, "Cache-Control: no-transform")
    assert is_plain(answer)
    assert answer.all(b"vary") == [b"Accept-Encoding"]


def test_what_is_small_stays_as_it_is_unless_the_client_refuses_that() -> None:
    small = reply("x" * 63, *FIELDS)
    assert asked(small, GZIP).all(b"vary") == []
    assert asked(small, GZIP).all(b"content-encoding") == []
    assert asked(small, GZIP + ", identity;q=0").all(b"content-encoding") == [b"gzip"]


def test_what_compression_would_make_longer_stays_as_it_is() -> None:
    noise = "".join(chr(33 + (each * 7919) % 94) for each in range(80))
    answer = asked(reply(noise, JSON), GZIP)
    assert bytes(answer.body) == noise.encode()
    assert (answer.all(b"content-encoding"), answer.all(b"vary")) == ([], [b"Accept-Encoding"])


def test_a_vary_that_says_it_already_is_not_said_again() -> None:
    assert asked(reply(TEXT, JSON, "Vary: Origin, accept-encoding"), GZIP).all(b"vary") == [b"Origin, accept-encoding"]
    assert asked(reply(TEXT, JSON, "Vary: *"), GZIP).all(b"vary") == [b"*"]
    assert asked(reply(TEXT, JSON, "Vary: Origin"), GZIP).all(b"vary") == [b"Origin", b"Accept-Encoding"]


def test_a_part_is_no_compressed_part_of_the_whole() -> None:
    part = reply(TEXT, *FIELDS, "Content-Range: bytes 0-9/900", status="206 Partial Content")
    answer = asked(part, GZIP, "Range: bytes=0-9")
    assert is_plain(answer)
    assert (answer.all(b"etag"), answer.all(b"vary")) == ([b'"hi"'], [b"Accept-Encoding"])


DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    ("lines", "passes"),
    [
        ([GZIP, f"If-Range: {DATE}"], False),
        ([f"If-Range: {DATE}"], True),
        (["Accept-Encoding: gzip;q=0", f"If-Range: {DATE}"], True),
        ([GZIP, 'If-Range: "hi"'], True),
        ([GZIP, 'If-Range: W/"hi-gzip"'], True),
        ([GZIP], True),
    ],
)
def test_what_is_compressed_does_not_go_on_from_a_part_of_what_is_not(lines: list[str], passes: bool) -> None:
    with scene(answers=[RESPONSES["whole"]], config=config()) as own:
        own.ask(get("/api/open/x", "Range: bytes=9-", *lines) + get("/api/open/x", "Range: bytes=9-"))
        first, second = own.requests
        assert first.all(b"range") == [b"bytes=9-"] * passes
        assert len(first.all(b"if-range")) == (passes and "If-Range" in "".join(lines))
        assert second.all(b"range") == [b"bytes=9-"], "the next request on the connection is its own"


@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_head_says_what_get_would(kind: str) -> None:
    lines = [f"Content-Length: {len(TEXT)}"] if kind == "whole" else ["Transfer-Encoding: chunked"]
    answer = asked(reply("", *FIELDS, *lines), GZIP, method="HEAD")
    assert answer.complete
    assert answer.all(b"content-encoding") == [b"gzip"]
    assert answer.all(b"etag") == [b'W/"hi-gzip"']
    assert answer.all(b"vary") == [b"Accept-Encoding"]
    assert not answer.all(b"content-length") + answer.all(b"accept-ranges")
    small = asked(reply("", *FIELDS, "Content-Length: 5"), GZIP, method="HEAD")
    assert (small.all(b"content-encoding"), small.all(b"content-length")) == ([], [b"5"])


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content", "304 Not Modified"])
def test_what_has_no_body_has_no_coding(status: str) -> None:
    lines = [] if status.startswith("204") else ["Content-Length: 0"]
    answer = asked(reply("", JSON, 'ETag: "hi"', *lines, status=status), GZIP)
    assert (answer.all(b"content-encoding"), answer.all(b"etag")) == ([], [b'"hi"'])


def test_old_clients_get_only_what_has_a_length() -> None:
    whole = asked(RESPONSES["whole"], GZIP, version="1.0")
    assert decoded(whole) == TEXT.encode()
    assert whole.all(b"content-length") == [b"%d" % len(whole.body)]
    with scene(answers=[RESPONSES["stream"]], config=config(), sizes=[7]) as own:
        own.ask(get("/api/open/x", GZIP, version="1.0"))
        assert is_plain(own.response())
        assert own.response().all(b"vary") == [b"Accept-Encoding"]


def test_a_tag_that_comes_back_leads_to_a_304_with_that_tag() -> None:
    with scene(answers=[reply("", 'ETag: "hi"', status="304 Not Modified")], config=config()) as own:
        own.ask(get("/api/open/x", GZIP, 'If-None-Match: "other", W/"hi-br"') + get("/api/open/x", GZIP))
        assert own.requests[0].all(b"if-none-match") == [b'"other", "hi"']
        first, second = own.responses()
        assert (first.status, first.all(b"etag"), first.all(b"vary")) == (304, [b'W/"hi-br"'], [b"Accept-Encoding"])
        assert (second.all(b"etag"), second.all(b"vary")) == ([b'"hi"'], [])
        assert own.requests[1].all(b"if-none-match") == [], "the next request on the connection is its own"


def test_a_304_that_a_filter_made_weak_has_the_tag_of_its_client() -> None:
    upper = Filtering(lambda: Changing(bytes.upper, b"!"))
    with scene(upper, answers=[reply("", 'ETag: "hi"', status="304 Not Modified")], config=config()) as own:
        own.ask(get("/api/open/x", GZIP, 'If-None-Match: W/"hi-gzip"'))
        assert own.requests[0].all(b"if-none-match") == [b'"hi"']
        assert own.response().all(b"etag") == [b'W/"hi-gzip"']


def test_a_change_under_a_condition_gets_the_tag_that_the_service_knows() -> None:
    with scene(answers=[reply("", status="204 No Content")], config=config()) as own:
        own.ask(post("new", 'If-Match: W/"hi-gzip"', 'If-Range: W/"hi-gzip"', method="PUT"))
        assert own.requests[0].all(b"if-match") == [b'"hi"']
        assert own.requests[0].all(b"if-range") == [b'W/"hi-gzip"'], "a weak tag gives the whole"


def test_what_trickles_is_sent_within_a_moment() -> None:
    head = reply("", JSON, "Transfer-Encoding: chunked")
    with scene(answers=[head], config=config()) as own:
        own.say(get("/api/open/x", GZIP))
        own.service.say()
        for piece in (b"first ", b"second "):
            own.service.line.say(b"%x\r\n%b\r\n" % (len(piece), piece))
            own.simulation.turn()
            own.pass_time(0.02)
            assert inflated(own).endswith(piece)
        own.reset()


@pytest.mark.parametrize(
    ("lines", "settings"),
    [
        ([JSON, "X-Accel-Buffering: no"], {}),
        ([JSON, "Incremental: ?1"], {"incremental": True}),
        (["Content-Type: text/event-stream"], {"types": ["text/event-stream"]}),
    ],
)
def test_what_says_that_it_is_not_to_be_kept_is_not(lines: list[str], settings: dict[str, Any]) -> None:
    with scene(answers=[reply("", *lines, "Transfer-Encoding: chunked")], config=config(**settings)) as own:
        own.say(get("/api/open/x", GZIP))
        own.service.say()
        own.service.line.say(b"3\r\nnow\r\n")
        own.simulation.turn()
        assert inflated(own) == b"now"
        own.reset()


def inflated(own: Scene) -> bytes:
    """What a client has of a gzip body in chunks so far."""
    body = own.received().split(b"\r\n\r\n", 1)[1]
    data = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        data, body = data + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return zlib.decompressobj(31).decompress(data)


def test_a_response_that_breaks_off_is_seen_to() -> None:
    broken = reply(TEXT, "Content-Length: 5000", JSON, end="close")
    with scene(answers=[broken], config=config(), sizes=[40]) as own:
        own.ask(get("/api/open/x", GZIP))
        assert not own.response().complete


def test_one_that_breaks_off_before_anything_was_sent_is_an_error() -> None:
    broken = reply("5\r\nhello\r\nno size\r\n", "Transfer-Encoding: chunked", JSON)
    with scene(answers=[broken], config=config()) as own:
        own.ask(get("/api/open/x", GZIP))
        answer = own.response()
        assert (answer.status, answer.complete) == (502, True)
        assert b"upstream_malformed" in decoded(answer)


def test_a_websocket_passes_as_it_is() -> None:
    with scene(answers=[Reply(SWITCHING.decode())], config=config()) as own:
        own.ask(get("/api/open/x", GZIP, *OFFER))
        assert own.received().startswith(b"HTTP/1.1 101 ")
        own.service.line.say(b"from the service")
        own.simulation.turn()
        assert own.received().endswith(b"\r\n\r\nfrom the service")
        own.service.line.say(None)
        own.simulation.clients[0].line.say(None)
        own.simulation.turn()


def test_answers_of_the_gateways_own_are_compressed_too() -> None:
    long = config()
    long["services"]["open"]["policies"]["auth"] = {"jwt": {"algorithms": ["HS256"], "secret": "s" * 32}}
    with scene(config=long) as own:
        own.ask(get("/api/open/x", "Accept-Encoding: br") + get("/api/open/x", GZIP, method="HEAD"))
        first, second = own.responses()
        assert (first.status, second.status) == (401, 401)
        assert b"credentials_missing" in brotli.decompress(bytes(first.body))
        assert second.all(b"content-encoding") == [b"gzip"]


def test_what_filters_make_of_a_body_is_compressed_last() -> None:
    upper = Filtering(lambda: Changing(bytes.upper, b"!"))
    with scene(upper, answers=[RESPONSES["whole"], RESPONSES["stream"]], config=config()) as own:
        own.ask(get("/api/open/x", GZIP) * 2)
        for answer in own.responses():
            assert decoded(answer) == TEXT.upper().encode() + b"!"
            assert answer.all(b"etag") == [b'W/"hi"'], "the filter has made it weak already"


def test_what_the_cache_has_is_compressed_for_each_client_as_it_likes() -> None:
    stored = cached.reply(TEXT, *FIELDS)
    with cached.scene(stored, policies={"compress": {"min_size": 64}}) as own:
        for lines in ([GZIP], ["Accept-Encoding: br"], [], [GZIP], [GZIP, 'If-None-Match: W/"hi-gzip"']):
            own.ask(cached.get("/x", *lines))
        assert len(own.requests) == 1
        *answers, last = own.responses()
        assert [answer.all(b"content-encoding") for answer in answers] == [[b"gzip"], [b"br"], [], [b"gzip"]]
        assert [decoded(answer) for answer in answers] == [TEXT.encode()] * 4
        assert (last.status, last.all(b"etag")) == (304, [b'W/"hi-gzip"'])


def test_what_many_wait_for_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def counted(body: bytes, coding: bytes, level: int) -> bytes:
        done.append(len(body))
        return encode(body, coding, level)

    monkeypatch.setattr(counts_module, "encode", counted)
    stored = cached.reply(TEXT, *FIELDS)
    with cached.scene(stored, policies={"compress": {"min_size": 64}}, clients=4) as own:
        for client in range(4):
            own.say(cached.get("/x", GZIP), client)
        own.simulation.settle()
        own.ask(cached.get("/x", GZIP))
        assert len(own.requests) == 1
        assert [decoded(own.responses(client)[0]) for client in range(4)] == [TEXT.encode()] * 4
    assert len(done) == 2, "for the one who asked, and for all others"


def test_coded_forms_are_bounded_and_forgotten() -> None:
    forms = CodedForms(most=100)
    for number in range(50):
        forms.put(((b"%020d" % number,), b"gzip", 6), b"x" * 5)
    forms.put(((b"y" * 30,), b"gzip", 6), b"too large")
    kept = [number for number in range(50) if forms.get(((b"%020d" % number,), b"gzip", 6))]
    assert kept == [46, 47, 48, 49]
    forms.age(0.0)
    forms.get(((b"%020d" % 49,), b"gzip", 6))
    forms.age(0.0)
    assert [number for number in range(50) if forms.get(((b"%020d" % number,), b"gzip", 6))] == [49]


def test_a_route_below_may_turn_it_off() -> None:
    own = config()
    own["routes"] = [{"path": "/plain", "service": "open", "policies": {"compress": False}}]
    with scene(answers=[RESPONSES["whole"]], config=own) as found:
        found.ask(get("/plain/x", GZIP))
        assert is_plain(found.response())
        assert found.response().all(b"vary") == []
