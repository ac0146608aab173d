"""How the paths that a service knows look to its clients: the way back through a route's rewrite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.proxy.rewriting import public_cookie_path, public_path
from portico.proxy.routing.route import Rewrite


def is_public(path: bytes) -> bool:
    return path == b"/api/other" or path.startswith(b"/api/other/")


@pytest.mark.parametrize(
    ("path", "template", "own", "public"),
    [
        ("/api/shop", "/{path}", "/", "/api/shop/"),
        ("/api/shop", "/{path}", "/graph", "/api/shop/graph"),
        ("/api/shop", "/{path}", "/a/", "/api/shop/a/"),
        ("/api/shop", "/{path}", "/api/shop", "/api/shop"),
        ("/api/shop", "/{path}", "/api/shop/x", "/api/shop/x"),
        ("/api/shop", "/{path}", "/api/shopping", "/api/shop/api/shopping"),
        ("/api/shop", "/{path}", "/api/health", "/api/shop/api/health"),
        ("/api/shop", "/{path}", "/api/other/x", "/api/other/x"),
        ("/v1/shop", "/api/{path}", "/api/x", "/v1/shop/x"),
        ("/v1/shop", "/api/{path}", "/api/", "/v1/shop/"),
        ("/v1/shop", "/api/{path}", "/api", "/v1/shop"),
        ("/v1/shop", "/api/{path}", "/login", None),
        ("/v1/shop", "/api/{path}", "/apis", None),
        ("/v1/shop", "/api/{path}", "/v1/shop/x", "/v1/shop/x"),
        ("/api", "/api/v2/{path}", "/api/v2/x", "/api/x"),
        ("/api", "/api/v2/{path}", "/api/v3/x", None),
        ("/a", "/b/{path}/c", "/b/x/y/c", "/a/x/y"),
        ("/a", "/b/{path}/c", "/b//c", "/a/"),
        ("/a", "/b/{path}/c", "/b/c", None),
        ("/", "/foo/{path}", "/foo/x", "/x"),
        ("/", "/foo/{path}", "/foo", "/"),
        ("/", "/foo/{path}", "/x", None),
        ("/", "/{path}", "/x", "/x"),
        ("/board", "keep", "/board/x", "/board/x"),
        ("/board", "keep", "/login", "/login"),
        ("/board", "/board/{path}", "/login", "/login"),
        ("/signin", "/auth/login", "/auth/login", "/signin"),
        ("/signin", "/auth/login", "/auth", None),
    ],
)
def test_a_path_is_found_where_the_route_leads_there(path: str, template: str, own: str, public: str | None) -> None:
    found = public_path(Rewrite.of(template, path), b"", is_public, own.encode(), False)
    assert found == (None if public is None else public.encode())


def test_a_path_that_is_the_service_s_for_certain_leads_to_no_other() -> None:
    shop = Rewrite.of("/{path}", "/api/shop")
    assert public_path(shop, b"", is_public, b"/api/other/x", True) == b"/api/shop/api/other/x"
    assert public_path(shop, b"", is_public, b"/api/shop/x", True) == b"/api/shop/x", "it may know its prefix"


def test_a_prefix_that_a_proxy_in_front_took_off() -> None:
    shop, root = Rewrite.of("/{path}", "/api/shop"), Rewrite.of("/{path}")
    for own in (b"/x", b"/api/shop/x", b"/gw/api/shop/x"):
        assert public_path(shop, b"/gw", is_public, own, False) == b"/gw/api/shop/x"
    assert public_path(root, b"/gw", is_public, b"/x", False) == b"/gw/x"
    assert public_path(root, b"/gw", is_public, b"/gw/x", False) == b"/gw/x"
    assert public_cookie_path(shop, b"/gw", is_public, b"/") == b"/gw/api/shop"
    assert public_cookie_path(root, b"/gw", is_public, b"/") == b"/gw"
    assert public_cookie_path(root, b"/gw", is_public, b"/x") == b"/gw/x"


@pytest.mark.parametrize(
    ("path", "template", "own", "public"),
    [
        ("/api/shop", "/{path}", "/", "/api/shop"),
        ("/api/shop", "/{path}", "/login", "/api/shop/login"),
        ("/api/shop", "/{path}", "/login/", "/api/shop/login/"),
        ("/api/shop", "/{path}", "/api/shop", "/api/shop"),
        ("/api/shop", "/{path}", "/api/shop/", "/api/shop/"),
        ("/api/shop", "/{path}", "/api/other", "/api/other"),
        ("/api/shop", "/{path}", "login", "login"),
        ("/api/shop", "/{path}", "", ""),
        ("/v1/shop", "/api/{path}", "/", "/v1/shop"),
        ("/v1/shop", "/api/{path}", "/api", "/v1/shop"),
        ("/v1/shop", "/api/{path}", "/api/x", "/v1/shop/x"),
        ("/v1/shop", "/api/{path}", "/login", "/login"),
        ("/", "/foo/{path}", "/", "/"),
        ("/", "/foo/{path}", "/foo/x", "/x"),
        ("/", "/{path}", "/", "/"),
        ("/board", "keep", "/", "/"),
        ("/board", "/board/{path}", "/", "/"),
        ("/signin", "/auth/login", "/", "/"),
    ],
)
def test_paths_of_cookies(path: str, template: str, own: str, public: str) -> None:
    assert public_cookie_path(Rewrite.of(template, path), b"", is_public, own.encode()) == public.encode()


_SEGMENTS = st.lists(st.sampled_from(["a", "b", "api", "x%2Fy"]), max_size=4)


@given(_SEGMENTS, _SEGMENTS, _SEGMENTS, st.sampled_from(["", "/z"]))
def test_the_way_back_leads_to_the_same_path(prefix: list[str], before: list[str], rest: list[str], after: str) -> None:
    path = "/" + "/".join(prefix)
    template = "".join(f"/{segment}" for segment in before) + "/{path}" + after
    rewrite = Rewrite.of(template, path)
    own = rewrite.apply((path.rstrip("/") + "/" + "/".join(rest)).encode(), len(prefix))
    public = rewrite.undo(own)
    assert public is not None
    depth = len(prefix)
    assert public == own or rewrite.apply(public, depth) == own
