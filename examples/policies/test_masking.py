"""What is masked, for whom, and what is not sent rather than sent unmasked."""

import asyncio
import gzip
import json
from contextlib import suppress

import httpx
import pytest

from masking import MaskPersonalData, masked
from portico.testing import RunningGateway, StartGateway, make_exchange, make_policy, make_response, run_body

FIELDS = ["email", "phone"]
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def running(gateway: StartGateway) -> RunningGateway:
    return gateway(MaskPersonalData, fields=FIELDS, max_body="10KiB")


def refused(response: httpx.Response) -> bool:
    return response.status_code == 502 and response.json()["reason"] == "not_masked"


def test_values_are_masked_however_deep(running: RunningGateway) -> None:
    person = {
        "name": "Ann",
        "email": "ann@example.com",
        "more": [{"Phone": 123, "e-mail": {"work": "x"}}],
        "phone": None,
    }
    running.service.answer(200, person, {"ETag": '"1"', "Accept-Ranges": "bytes"})
    response = running.client.get("/")
    assert response.json() == {
        "name": "Ann",
        "email": "***",
        "more": [{"Phone": "***", "e-mail": "***"}],
        "phone": None,
    }
    assert response.headers["ETag"] == 'W/"1"'
    assert "Accept-Ranges" not in response.headers


@pytest.mark.parametrize(
    "text", ['{"\\u0065mail": "x"}', '{"EMAIL": "x"}', '{"email": 1, "email": "x"}', '{"e_mail": []}']
)
def test_no_spelling_of_a_key_escapes(running: RunningGateway, text: str) -> None:
    running.service.answer(200, text.encode(), {"Content-Type": "application/problem+json; charset=utf-8"})
    assert [*running.client.get("/").json().values()] == ["***"]


def test_everything_else_stays_as_it_is(running: RunningGateway) -> None:
    text = b'{"price":0.10,"big":12345678901234567890123,"long":0.1234567890123456789,"name":"\xc3\xa9"}'
    running.service.answer(200, text, JSON)
    assert running.client.get("/").content == text


def test_a_body_may_come_in_pieces(running: RunningGateway) -> None:
    running.service.answer(200, headers=JSON, chunks=[b'[{"ema', b'il": "ann@ex', b'ample.com"}]'])
    assert running.client.get("/").json() == [{"email": "***"}]


def test_the_service_is_asked_for_what_can_be_read(running: RunningGateway) -> None:
    running.client.get("/", headers={"Accept-Encoding": "gzip, br", "Range": "bytes=5-", "If-Range": '"1"'})
    (request,) = running.service.requests
    assert request.headers.get("Accept-Encoding") == "identity"
    assert "Range" not in request.headers
    assert "If-Range" not in request.headers


def test_what_is_compressed_all_the_same_is_not_sent(running: RunningGateway) -> None:
    running.service.answer(200, gzip.compress(b'{"email": "x"}'), {**JSON, "Content-Encoding": "gzip"})
    assert refused(running.client.get("/"))


@pytest.mark.parametrize("kind", ["application/json", "multipart/byteranges; boundary=x"])
def test_a_part_of_an_answer_is_not_sent(running: RunningGateway, kind: str) -> None:
    running.service.answer(206, b'il": "ann@example.com"}', {"Content-Type": kind, "Content-Range": "bytes 4-26/27"})
    response = running.client.get("/", headers={"Range": "bytes=4-"})
    assert response.status_code == 502
    assert "example.com" not in response.text


@pytest.mark.parametrize("body", [b'{"email": "ann', b"no json", b"\xef\xbb\xbf{}", b"[" * 5000, b'{"email": NaN}'])
def test_what_is_no_json_is_not_sent(running: RunningGateway, body: bytes) -> None:
    running.service.answer(200, body, JSON)
    with suppress(httpx.RemoteProtocolError):
        assert body not in running.client.get("/").content
    assert running.log[0].reason == "not_masked"


def test_what_is_too_long_is_not_sent(running: RunningGateway) -> None:
    body = json.dumps({"email": "x" * 11_000}).encode()
    running.service.answer(200, body, JSON)
    assert refused(running.client.get("/"))
    running.service.answer(200, headers=JSON, chunks=[body[:6000], body[6000:]])
    with suppress(httpx.RemoteProtocolError):  # its head may have gone already
        assert b"xxx" not in running.client.get("/").content


@pytest.mark.parametrize(
    ("body", "kind"), [(b"email: x", "text/plain"), (b"", "application/json"), (b"<p>", "text/html")]
)
def test_what_is_no_json_by_its_name_passes(running: RunningGateway, body: bytes, kind: str) -> None:
    running.service.answer(200, body, {"Content-Type": kind})
    assert running.client.get("/").content == body


def test_who_may_see_it_sees_it_all() -> None:
    policy = make_policy(MaskPersonalData, fields=FIELDS, seen_by="personal:read")
    asyncio.run(policy.open())
    for scopes, expected in (["personal:read"], b'{"email":"x"}'), ([], b'{"email":"***"}'):
        exchange, head = make_exchange(headers={"Range": "bytes=0-"}, scopes=scopes), make_response(200, JSON)
        policy.request(exchange)
        assert ("Range" in exchange.upstream_headers) is bool(scopes)
        assert policy.response(exchange, head) is None
        assert head.headers.get("Vary") == "Authorization"
        assert run_body(policy.body(exchange, head), b'{"email":"x"}') == expected


def test_a_request_is_nobodys_answer(running: RunningGateway) -> None:
    running.client.post("/", json={"email": "x"})
    assert running.service.requests[0].json() == {"email": "x"}


def test_masking_leaves_other_types_alone() -> None:
    assert masked(["email", 1, None, {"email": ["x"]}], {"email"}) == ["email", 1, None, {"email": "***"}]
