"""What a partner's requests are accepted for, and what everybody else's are refused for."""

import hmac
import secrets
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any

import httpx
import pytest

from portico.testing import RunningGateway, StartGateway, make_policy
from signed import SignedRequests, message

KEY = "0123456789abcdef0123456789abcdef"
BODY = b'{"amount": 5}'


@pytest.fixture
def running(gateway: StartGateway, tmp_path: Path) -> RunningGateway:
    return gateway(SignedRequests, keys={"partner-1": KEY}, seen=tmp_path / "seen", max_body="64KiB")


def signed(
    running: RunningGateway,
    method: str = "GET",
    target: str = "/pay?to=7",
    body: bytes = b"",
    *,
    name: str = "partner-1",
    key: str = KEY,
    when: int | None = None,
) -> httpx.Request:
    """A request as a partner sends it."""
    when, nonce = int(time()) if when is None else when, secrets.token_urlsafe(16)
    request = running.client.build_request(method, target, content=body or None)
    digest = f"sha-256=:{b64encode(sha256(body).digest()).decode()}:" if body else ""
    if digest:
        request.headers["Content-Digest"] = digest
    path, _, query = target.partition("?")
    signed = message(method, request.headers["Host"], path, query, digest, str(when), nonce)
    mac = hmac.new(key.encode(), signed, "sha256").hexdigest()
    request.headers["X-Signature"] = f"key={name}, time={when}, nonce={nonce}, mac={mac}"
    return request


def outcome(running: RunningGateway, request: httpx.Request) -> tuple[int, str]:
    """The status and, where it was refused, why."""
    response = running.client.send(request)
    return response.status_code, "" if response.status_code == 200 else response.json()["detail"]


@pytest.mark.parametrize("body", [b"", BODY, b"x" * 60_000])
def test_a_signed_request_comes_through_whole(running: RunningGateway, body: bytes) -> None:
    request = signed(running, "POST" if body else "GET", body=body)
    request.headers["X-Partner"] = "somebody else"
    assert outcome(running, request) == (200, "")
    (received,) = running.service.requests
    assert received.body == body
    assert received.headers.get_all("X-Partner") == ["partner-1"]


def test_a_body_in_pieces_is_one_body(running: RunningGateway) -> None:
    def pieces() -> Iterator[bytes]:
        yield BODY[:4]
        yield BODY[4:]

    whole = signed(running, "POST", "/pay", BODY)
    headers = {name: whole.headers[name] for name in ("Content-Digest", "X-Signature")}
    assert running.client.post("/pay", content=pieces(), headers=headers).status_code == 200
    assert running.service.requests[0].body == BODY


@pytest.mark.parametrize("part", ["method", "host", "path", "query", "digest", "body", "no body", "new body"])
def test_no_part_of_it_can_be_changed(running: RunningGateway, part: str) -> None:
    request = signed(running, "POST", body=b"" if part == "new body" else BODY)
    changed = running.client.build_request(
        "PUT" if part == "method" else "POST",
        {"path": "/pay2?to=7", "query": "/pay?to=8"}.get(part, "/pay?to=7"),
        content={"body": b'{"amount": 9}', "no body": None, "new body": BODY}.get(part, BODY),
        headers={name: value for name, value in request.headers.items() if name in ("x-signature", "content-digest")},
    )
    if part == "host":
        changed.headers["Host"] = "other.example"
    if part == "digest":
        changed.headers["Content-Digest"] = changed.headers["Content-Digest"].replace("sha-256", "sha-512")
    assert running.client.send(changed).status_code == 401
    assert running.service.requests == []


def test_it_works_once(running: RunningGateway) -> None:
    request = signed(running)
    assert outcome(running, request) == (200, "")
    assert outcome(running, request) == (401, "this signature was used before: sign each request anew")
    assert len(running.service.requests) == 1


def test_it_works_once_in_all_workers_and_after_a_restart(gateway: StartGateway, tmp_path: Path) -> None:
    """Another process has nothing of the first one but the directory."""
    settings: dict[str, Any] = {"keys": {"partner-1": KEY}, "seen": tmp_path / "seen"}
    first, second = make_policy(SignedRequests, **settings), make_policy(SignedRequests, **settings)
    gateway(first, second)  # they are opened
    assert first.is_new("0" * 64, int(time()))
    assert not second.is_new("0" * 64, int(time()))


@pytest.mark.parametrize(("age", "status"), [(5, 200), (-5, 200), (60, 401), (-90, 401)])
def test_it_works_for_a_while(running: RunningGateway, age: int, status: int) -> None:
    assert outcome(running, signed(running, when=int(time()) - age))[0] == status


def test_what_was_seen_is_forgotten_when_it_is_too_old_anyway(running: RunningGateway, tmp_path: Path) -> None:
    window, seen = int(time()) // 30, tmp_path / "seen"
    (seen / str(window - 9)).mkdir()
    (seen / str(window - 9) / "mac").touch()
    (seen / "notes").mkdir()
    assert outcome(running, signed(running)) == (200, "")
    names = {each.name for each in seen.iterdir()}
    assert str(window - 9) not in names
    assert "notes" in names


@pytest.mark.parametrize("other", [{"name": "nobody"}, {"key": "f" * 32}, {"name": "nobody", "key": "\0" * 32}])
def test_a_wrong_key_and_an_unknown_one_are_refused_alike(running: RunningGateway, other: dict[str, str]) -> None:
    assert outcome(running, signed(running, **other)) == (401, "the signature is not valid")  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["", "key=partner-1", "key=partner-1, time=1e9, nonce=n, mac=m"])
def test_what_is_no_signature(running: RunningGateway, field: str) -> None:
    response = running.client.get("/", headers={"X-Signature": field} if field else {})
    assert (response.status_code, response.json()["reason"]) == (401, "signature_invalid")
    assert response.headers["WWW-Authenticate"] == "Signature"


def test_two_signatures_are_none(running: RunningGateway) -> None:
    request = signed(running)
    fields = [*request.headers.multi_items(), ("X-Signature", request.headers["X-Signature"])]
    assert running.client.get("/pay?to=7", headers=fields).status_code == 401


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_too_large_is_refused(running: RunningGateway, chunked: bool) -> None:
    body = b"x" * 70_000
    request = signed(running, "POST", body=body)
    if chunked:
        fields = {name: request.headers[name] for name in ("X-Signature", "Content-Digest")}
        response = running.client.post("/pay?to=7", content=iter([body]), headers=fields)
    else:
        response = running.client.send(request)
    assert (response.status_code, response.json()["reason"]) == (413, "body_too_large")
    assert running.service.requests == []


def test_a_body_that_may_not_be_held_is_refused(running: RunningGateway) -> None:
    request = signed(running, "POST", body=BODY)
    request.headers["Incremental"] = "?1"
    assert outcome(running, request)[0] == 501


def test_a_short_key_is_refused_at_once(gateway: StartGateway, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the key weak has 4 bytes"):
        gateway(SignedRequests, keys={"weak": "1234"}, seen=tmp_path)
