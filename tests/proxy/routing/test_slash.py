"""Who is redirected from a bare prefix to its slash."""

from __future__ import annotations

import pytest

from policies.exchanges import exchange
from portico.proxy.routing.slash import redirect_to_slash

BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def answered(*lines: str, method: str = "GET", target: bytes = b"/api/app") -> list[bytes] | None:
    asking = exchange(*lines, method=method, query=target[len(target.partition(b"?")[0]) :])
    assert asking.request is not None
    asking.request.target = target
    answer = redirect_to_slash(asking)
    if answer is None:
        return None
    assert answer.status == 307
    return answer.lines


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b"/api/app", b"./app/"),
        (b"/api/app?a=b?c", b"./app/?a=b?c"),
        (b"/api/app?", b"./app/?"),
        (b"/api/v1:app", b"./v1:app/"),
        (b"/api/%61pp", b"./%61pp/"),
        (b"/app", b"./app/"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_browser_is_redirected_relative_to_where_it_is(target: bytes, location: bytes, method: str) -> None:
    assert answered(BROWSER, method=method, target=target) == [b"Location: " + location, b"Vary: Accept"]


@pytest.mark.parametrize(
    ("lines", "redirected"),
    [
        ((), False),
        (("Accept: */*",), False),
        (("Accept:",), False),
        (("Accept: application/json",), False),
        (("Accept: application/json, text/plain, */*",), False),
        (("Accept: application/json, text/html",), False),
        (("Accept: text/html;q=0.5, application/json",), False),
        (("Accept: text/html;q=0",), False),
        (("Accept: text/html;q=x",), False),
        (("Accept: text/html;q=1.2.3",), False),
        (("Accept: text/event-stream",), False),
        (("Accept: text/*",), False),
        (("Accept: text/html",), True),
        (("Accept: TEXT/HTML; charset=utf-8",), True),
        (("Accept: text/html;level=1;Q=0.9, */*;q=0.1",), True),
        (("Accept: application/json;q=0.5, text/html",), True),
        (("Accept: application/json;q=0.5", "accept: application/xhtml+xml"), True),
        (("Accept: , text/html",), True),
    ],
)
def test_only_clients_that_prefer_html_are_redirected(lines: tuple[str, ...], redirected: bool) -> None:
    assert (answered(*lines) is not None) is redirected


def test_a_response_that_is_no_redirect_varies_by_accept() -> None:
    asked = exchange("Accept: application/json", method="GET")
    assert redirect_to_slash(asked) is None
    assert asked.response_lines == (b"Vary: Accept",)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"])
def test_no_other_method(method: str) -> None:
    assert answered(BROWSER, method=method) is None
