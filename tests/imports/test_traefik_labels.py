"""Labels of Compose files as people write them: nothing is open that Traefik guards, or does not serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from imports.support import Found, imported

COMPOSE = """
services:
  traefik:
    image: traefik:v3.0
    command: ["--providers.docker=true", "--providers.docker.exposedbydefault={default}"]
  hidden:
    image: nginx
    labels: ["traefik.http.routers.hidden.rule=PathPrefix(`/hidden`)"]
  api:
    image: my/api
    ports: ["3000:3000"]
    deploy:
      labels:
        - traefik.enable=true
        - traefik.http.routers.swarm.rule=PathPrefix(`/swarm`)
        - traefik.http.services.swarm.loadbalancer.server.port=3000
    labels:
      - traefik.enable=true
      - traefik.http.routers.api.rule=Host(`localhost`) && PathPrefix(`/api`)
      - traefik.http.routers.api.middlewares=api-strip,api-auth
      - traefik.http.middlewares.api-strip.stripprefix.prefixes=/api
      - traefik.http.middlewares.api-auth.forwardauth.address=http://auth:4181
      - traefik.http.services.api.loadbalancer.healthcheck.path=/health
      - traefik.http.routers.api-public.rule=Host(`localhost`) && Path(`/api/public`)
      - traefik.http.routers.api-public.priority=100
  one:
    image: b
    labels:
      traefik.enable: "true"
      traefik.http.routers.shared.rule: Host(`shared.example`)
      traefik.http.routers.shared.service: shared
      traefik.http.services.shared.loadbalancer.server.port: 8080
      traefik.http.routers.one.rule: Host(`shared.example`) && PathPrefix(`/admin`)
      traefik.http.routers.one.service: shared
      traefik.http.routers.one.middlewares[0]: lan
      traefik.http.middlewares.lan.ipallowlist.sourcerange[0]: 10.0.0.0/8
      traefik.http.middlewares.lan.ipallowlist.sourcerange[1]: 192.168.0.0/16
  two:
    image: b
    labels:
      traefik.enable: "true"
      traefik.http.routers.shared.rule: Host(`shared.example`)
      traefik.http.routers.shared.service: shared
      traefik.http.services.shared.loadbalancer.server.port: 8080
"""


def read(directory: Path, text: str) -> Found:
    return imported("traefik", directory / "compose.yaml", text)


def test_containers_that_share_a_service_are_its_instances(tmp_path: Path) -> None:
    found = read(tmp_path, COMPOSE.replace("{default}", "true"))
    instances = {each.url for each in found.config.services["shared"].instances or ()}
    assert {url.rstrip("/") for url in instances} == {"http://one:8080", "http://two:8080"}


def test_labels_with_numbers_are_lists(tmp_path: Path) -> None:
    found = read(tmp_path, COMPOSE.replace("{default}", "true"))
    assert found.asked("shared.example/admin/x") == ("one", "/admin/x")
    allowed = found.policies("one")["ip_filter"].allow
    assert [str(each) for each in allowed] == ["10.0.0.0/8", "192.168.0.0/16"]


def test_labels_of_a_container_and_of_its_deployment_are_two(tmp_path: Path) -> None:
    found = read(tmp_path, COMPOSE.replace("{default}", "true"))
    assert found.asked("localhost/api/x") == ("api", "/x")
    assert "auth" in found.policies("api")
    assert found.asked("localhost/api/public") == ("api-public", "/api/public")
    assert found.asked("any/swarm/x") == ("swarm", "/swarm/x")


@pytest.mark.parametrize(("default", "is_there"), [("true", True), ("false", False)])
def test_what_is_not_exposed_is_no_route(tmp_path: Path, default: str, is_there: bool) -> None:
    found = read(tmp_path, COMPOSE.replace("{default}", default))
    assert (found.asked("any/hidden/x") is not None) == is_there


def test_where_it_is_not_known_what_is_exposed_it_is_closed(tmp_path: Path) -> None:
    found = read(tmp_path, COMPOSE.replace("image: traefik:v3.0", "image: other").replace("--providers", "--other"))
    assert found.closed() == {"hidden"}
    assert any("traefik.enable is not written" in each for each in found.remarks("left"))


@pytest.mark.parametrize(
    "labels",
    [
        ["traefik.http.routers.x.tls.options=mtls@file"],
        ["traefik.http.routers.x.middleware=lan"],
        ["traefik.http.routers.x.tls=true", "traefik.http.routers.x.middlewares=lan@file"],
        [
            "traefik.http.routers.x.middlewares=www",
            "traefik.http.middlewares.www.redirectregex.regex=^https?://(.*)",
            "traefik.http.middlewares.www.redirectregex.replacement=https://$1",
        ],
    ],
)
def test_a_guard_that_cannot_be_said_closes_its_route(tmp_path: Path, labels: list[str]) -> None:
    all_of = ["traefik.http.routers.x.rule=Host(`x.example`)", *labels]
    lines = "".join(f'\n      - "{each.replace("$", "$$")}"' for each in all_of)
    found = read(tmp_path, f"services:\n  x:\n    image: x\n    expose: [80]\n    labels:{lines}\n")
    assert found.closed() == {"x"}


def test_options_of_all_tls_hold_for_each_router_with_tls(tmp_path: Path) -> None:
    found = imported(
        "traefik",
        tmp_path / "dynamic.yaml",
        """
http:
  routers:
    any: {rule: "Host(`a.example`)", service: s, tls: {}}
    short: {rule: "Host(`b.example`)", service: s, tls: {options: default}}
    secure: {rule: "Host(`c.example`)", service: s, entryPoints: [websecure]}
    plain: {rule: "Host(`d.example`)", service: s, entryPoints: [web]}
  services: {s: {loadBalancer: {servers: [{url: "ws://s:80"}]}}}
tls: {options: {default: {clientAuth: {caFiles: [/ca.pem], clientAuthType: RequireAndVerifyClientCert}}}}
""",
    )
    assert found.closed() == {"any", "short", "secure"}
    assert sum("forwardingTimeouts" in each for each in found.remarks("changed")) == 1
