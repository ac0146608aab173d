"""The checker that judges what gateways send: were it lenient, it would prove nothing."""

from __future__ import annotations

import pytest

from .strict import NotStrictError, take_request, take_response

GOOD = [
    b"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n",
]


@pytest.mark.parametrize("data", GOOD)
def test_a_request_is_taken_when_it_is_whole_and_not_before(data: bytes) -> None:
    for end in range(len(data)):
        assert take_request(data[:end]) is None
    found = take_request(data + b"rest")
    assert found is not None
    assert found[1] == b"rest"
    assert found[0].body in (b"", b"hi")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nhi",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nhi\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n",
    ],
)
def test_a_request_that_is_not_strictly_valid_is_none(data: bytes) -> None:
    with pytest.raises(NotStrictError):
        take_request(data)


def test_a_response_ends_where_its_method_and_framing_say() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert take_response(head, "GET", ended=False) is None
    found = take_response(head + b"hi!", "GET", ended=False)
    assert found is not None
    assert (found[0].status, found[0].body, found[1]) == (200, b"hi", b"!")
    found = take_response(head + b"hi", "HEAD", ended=False)
    assert found is not None
    assert found[1] == b"hi"
    endless = b"HTTP/1.1 200 OK\r\n\r\nhi"
    assert take_response(endless, "GET", ended=False) is None
    assert take_response(endless, "GET", ended=True) is not None


@pytest.mark.parametrize("data", [b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 2 OK\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"\x00"])
def test_a_response_that_is_not_strictly_valid_is_none(data: bytes) -> None:
    with pytest.raises(NotStrictError):
        take_response(data, "GET", ended=False)
