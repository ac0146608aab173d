"""What a change makes invalid (RFC 9111, section 4.4; RFC 9875)."""

from __future__ import annotations

import pytest

from portico.proxy.cache.invalidation import NOTHING, Invalidated, invalidated_by
from proxy.cache.messages import response


def invalidated(method: str, *lines: str, status: int = 200, target: str = "/shop/x?y") -> Invalidated:
    head = response(*lines, status=status)
    return invalidated_by(method.encode(), b"https", b"Shop.Example:443", target.encode(), head)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO"])
@pytest.mark.parametrize("status", [200, 201, 204, 302, 304])
def test_a_success_of_what_may_change_something(method: str, status: int) -> None:
    assert invalidated(method, status=status).urls == (b"https://shop.example/shop/x?y",)


@pytest.mark.parametrize("status", [400, 404, 412, 500, 503])
def test_an_error_changed_nothing(status: int) -> None:
    assert invalidated("POST", "Location: /y", status=status) == NOTHING


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND"])
def test_a_safe_method_changes_nothing(method: str) -> None:
    assert invalidated(method, "Location: /y", 'Cache-Group-Invalidation: "a"') == NOTHING


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("/y", "https://shop.example/y"),
        ("z?q=1#f", "https://shop.example/shop/z?q=1"),
        ("?z", "https://shop.example/shop/x?z"),
        ("https://shop.example/y", "https://shop.example/y"),
        ("HTTPS://SHOP.EXAMPLE:443", "https://shop.example/"),
        ("//shop.example/y", "https://shop.example/y"),
        # of another origin, or none
        ("http://shop.example/y", None),
        ("https://shop.example:8443/y", None),
        ("https://other.example/y", None),
        ("//other.example/y", None),
        ("mailto:a@shop.example", None),
        ("https://[x/y", None),
        ("/\xe4", None),
    ],
)
def test_what_it_names(field: str, reference: str, url: str | None) -> None:
    urls = invalidated("POST", f"{field}: {reference}").urls
    assert urls == (b"https://shop.example/shop/x?y", *(() if url is None else (url.encode(),)))


def test_what_it_names_once_more() -> None:
    assert invalidated("PUT", "Location: /shop/x?y", "Content-Location: /shop/x?y").urls == invalidated("PUT").urls


def test_names_as_clients_get_them() -> None:
    head = response("Location: http://10.0.0.5:8000/y")
    found = invalidated_by(b"POST", b"https", b"shop.example", b"/x", head, [b"/shop/y"])
    assert found.urls == (b"https://shop.example/x", b"https://shop.example/shop/y")


def test_groups() -> None:
    found = invalidated("POST", 'Cache-Group-Invalidation: "scores", "a b";x', 'Cache-Group-Invalidation: "c"')
    assert (found.origin, found.groups) == (b"https://shop.example", (b"scores", b"a b", b"c"))
    assert invalidated("POST", "Cache-Group-Invalidation: scores").groups == ()


def test_groups_that_an_error_names() -> None:
    found = invalidated("POST", 'Cache-Group-Invalidation: "a"', status=500)
    assert found == Invalidated((), b"https://shop.example", (b"a",))
