"""What all samples promise: health, and links that are right behind a stripped prefix."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

Service = tuple[str, Callable[..., httpx.Response]]


@pytest.mark.parametrize("path", ["/health", "/api/health"])
def test_health(service: Service, path: str) -> None:
    name, call = service
    answer = call("GET", path)
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy", "service": name}


@pytest.mark.parametrize("prefix", ["/api", "/api/gemini", "/api/gemini/", "/v1/x.y"])
def test_docs_and_routes_behind_a_prefix(service: Service, prefix: str) -> None:
    _, call = service
    headers = {"X-Forwarded-Prefix": prefix}
    public = prefix.rstrip("/")
    assert f"'{public}/openapi.json'" in call("GET", "/docs", headers=headers).text.replace('"', "'")
    assert call("GET", "/openapi.json", headers=headers).json()["servers"] == [{"url": public}]
    assert call("GET", "/api/health", headers=headers).status_code == 200


def test_a_prefix_lasts_for_one_request(service: Service) -> None:
    _, call = service
    call("GET", "/openapi.json", headers={"X-Forwarded-Prefix": "/api/gemini"})
    assert "servers" not in call("GET", "/openapi.json").json()


@pytest.mark.parametrize("prefix", ["", "/", "x", "//evil.example", "x, /b", "/../a", "/<script>", "/a%0d", "/a'"])
def test_a_prefix_that_is_not_a_plain_path_is_ignored(service: Service, prefix: str) -> None:
    _, call = service
    document = call("GET", "/openapi.json", headers={"X-Forwarded-Prefix": prefix})
    assert document.status_code == 200
    assert "servers" not in document.json()


def test_no_redirect_to_the_services_own_host(service: Service) -> None:
    _, call = service
    assert call("GET", "/health/").status_code == 404
