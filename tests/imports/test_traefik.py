"""Traefik's dynamic configuration becomes one of ours that means the same, or says where it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imports.support import Found, imported
from portico.imports import SourceError
from portico.imports.traefik.conditions import Conditions, RuleError, Unsaid
from portico.imports.traefik.rules import read_rule

SERVICES = """
  services:
    a: {loadBalancer: {servers: [{url: "http://10.0.0.1:8001"}]}}
    b: {loadBalancer: {servers: [{url: "http://10.0.0.2"}, {url: "http://10.0.0.3", weight: 3}], passHostHeader: false}}
"""
Read = Callable[[str], Found]


@pytest.fixture
def traefik(tmp_path: Path) -> Read:
    """Routers and middlewares beside two services."""
    return lambda text: imported("traefik", tmp_path / "dynamic.yaml", f"http:{SERVICES}{text}")


# ---- rules


def read(rule: str) -> list[Conditions]:
    return read_rule(rule)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("Host(`a.test`)", [Conditions(hosts=("a.test",))]),
        ("Host(`a.test`,`b.test`)", [Conditions(hosts=("a.test", "b.test"))]),
        ("Host(`a.test`) || Host(`b.test`)", [Conditions(hosts=("a.test", "b.test"))]),
        ('Host("A.test") && Method(`get`)', [Conditions(hosts=("a.test",), methods=("GET",))]),
        ("Method(`GET`) || Method(`POST`)", [Conditions(methods=("GET", "POST"))]),
        (
            "Host(`a.test`) || Host(`b.test`) && PathPrefix(`/x`)",
            [Conditions(hosts=("a.test",)), Conditions(("prefix", "/x", False), ("b.test",))],
        ),
        (
            "Host(`a.test`) && (Path(`/x`) || PathPrefix(`/y`))",
            [Conditions(("exact", "/x", False), ("a.test",)), Conditions(("prefix", "/y", False), ("a.test",))],
        ),
        ("PathPrefix(`/a`) && PathPrefix(`/a/b`)", [Conditions(("prefix", "/a/b", False))]),
        ("PathPrefix(`/a`) && Path(`/b`)", []),
        ("Host(`a.test`) && Host(`b.test`)", []),
        ("Path(`/u/{id:[0-9]+}`)", [Conditions(("pattern", "^/u/(?:[0-9]+)$", False))]),
        (r"PathRegexp(`(?i)\.php$`)", [Conditions(("pattern", r"\.php$", True))]),
        (r"HostRegexp(`^.+\.a\.test$`)", [Conditions(hosts=("*.a.test",))]),
        ("HostRegexp(`.+`)", [Conditions()]),
        (r"HostRegexp(`^(x|y)\.a\.test$`)", [Conditions(headers=(("Host", r"~* ^(x|y)\.a\.test(:[0-9]+)?$"),))]),
        ("Header(`X-A`, `b`) && Query(`v`, `2`)", [Conditions(headers=(("X-A", "b"),), query=(("v", "2"),))]),
        ("Query(`v=2`)", [Conditions(query=(("v", "2"),))]),
        ("ClientIP(`10.0.0.0/8`)", [Conditions(networks=("10.0.0.0/8",))]),
        ("Host(`a.test`) && !PathPrefix(`/x`)", [Conditions(hosts=("a.test",), excluded=(("prefix", "/x"),))]),
    ],
)
def test_a_rule_is_taken_apart(rule: str, expected: list[Conditions]) -> None:
    assert read(rule) == expected


@pytest.mark.parametrize(
    "rule",
    ["", "Host(`a`", "Host(a)", "Foo(`a`)", "Host(`a`) &&", "Host()", "Path(`x`)", "(" * 99, "Host(`a`))", "Host('a')"],
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(RuleError):
        read(rule)


@pytest.mark.parametrize("rule", ["!Method(`GET`)", "!ClientIP(`10.0.0.0/8`)", "PathRegexp(`^/a(?!b)`)"])
def test_what_there_are_no_words_for_is_said(rule: str) -> None:
    assert [bool(conditions.unsaid) for conditions in read(f"Host(`a.test`) && {rule}")] == [True]


def test_a_rule_that_would_be_very_many_routes_is_none() -> None:
    with pytest.raises(Unsaid):
        read(" && ".join(f"(Query(`a{i}`, `b`) || Header(`X{i}`, `b`))" for i in range(9)))


# ---- routers


def test_the_longer_rule_wins_and_priority_before_it(traefik: Read) -> None:
    found = traefik("""
  routers:
    host: {rule: "Host(`long-name.example.test`)", service: a}
    path: {rule: "PathPrefix(`/api`)", service: a}
    first: {rule: "PathPrefix(`/api/first`)", service: a, priority: 1000}
    last: {rule: "Host(`long-name.example.test`) && PathPrefix(`/api`)", service: a, priority: 1}
""")
    asked = [
        found.asked(f"{host}{path}") for host in ("long-name.example.test", "x") for path in ("/api/x", "/api/first")
    ]
    assert [each and each[0] for each in asked] == ["host", "first", "path", "first"]


@pytest.mark.parametrize(
    ("middleware", "rule", "path", "expected"),
    [
        ("stripPrefix: {prefixes: [/api]}", "PathPrefix(`/api`)", "/api/x", "/x"),
        ("stripPrefix: {prefixes: [/api]}", "PathPrefix(`/api/v1`)", "/api/v1/x", "/v1/x"),
        ("stripPrefix: {prefixes: [/api]}", "PathPrefix(`/`)", "/api/x", "/x"),
        ("stripPrefix: {prefixes: [/api]}", "PathPrefix(`/`)", "/other", "/other"),
        ("stripPrefix: {prefixes: [/api]}", "Path(`/api/x`)", "/api/x", "/x"),
        ("stripPrefix: {prefixes: [/api]}", "PathRegexp(`^/api/v[0-9]+/x`)", "/api/v2/x/y", "/v2/x/y"),
        ("addPrefix: {prefix: /base}", "PathPrefix(`/api`)", "/api/x", "/base/api/x"),
        ("addPrefix: {prefix: /base}", "PathPrefix(`/`)", "/x", "/base/x"),
        ("replacePath: {path: /one}", "PathPrefix(`/api`)", "/api/x", "/one"),
        (
            "replacePathRegex: {regex: '^/api/(.*)', replacement: '/new/$1'}",
            "PathPrefix(`/api`)",
            "/api/x/y",
            "/new/x/y",
        ),
        (
            "replacePathRegex: {regex: '^/api/([0-9]+)$', replacement: '/n/${1}'}",
            "PathPrefix(`/api`)",
            "/api/x",
            "/api/x",
        ),
        ("stripPrefixRegex: {regex: ['/v[0-9]+']}", "PathPrefix(`/`)", "/v2/x", "/x"),
        ("retry: {attempts: 3}", "PathPrefix(`/api`)", "/api/x", "/api/x"),
    ],
)
def test_the_service_gets_the_path_that_traefik_would_send(
    tmp_path: Path, middleware: str, rule: str, path: str, expected: str
) -> None:
    text = f"""
http:{SERVICES}
  routers:
    r: {{rule: "{rule}", service: a, middlewares: [m@file]}}
  middlewares:
    m:
      {middleware}
"""
    found = imported("traefik", tmp_path / "dynamic.yaml", text).asked(f"x{path}")
    assert found is not None
    assert found[1] == expected


@pytest.mark.parametrize(
    "middleware",
    [
        "digestAuth: {users: ['a:b:c']}",
        "basicAuth: {users: ['a:$apr1$x']}",
        "plugin: {own: {}}",
        "ipAllowList: {}",
        "chain: {middlewares: [m]}",
        "chain: {middlewares: [nowhere]}",
        "somethingNew: {}",
    ],
)
def test_a_guard_that_cannot_be_said_closes_the_route(tmp_path: Path, middleware: str) -> None:
    text = f"""
http:{SERVICES}
  routers:
    open: {{rule: "Host(`a.test`)", service: a}}
    guarded: {{rule: "Host(`b.test`)", service: a, middlewares: [m]}}
  middlewares:
    m: {{{middleware}}}
"""
    found = imported("traefik", tmp_path / "dynamic.yaml", text)
    assert found.closed() == {"guarded"}
    assert any("guarded: it answers 503" in said for said in found.remarks("left"))


def test_a_guarded_router_that_asks_for_what_cannot_be_said_is_closed(traefik: Read) -> None:
    found = traefik("""
  routers:
    site: {rule: "Host(`a.test`)", service: a}
    staff: {rule: "Host(`a.test`) && PathPrefix(`/staff`) && !Method(`GET`)", service: a, middlewares: [ips]}
    other: {rule: "Host(`b.test`) && !Method(`GET`)", service: a}
  middlewares:
    ips: {ipAllowList: {sourceRange: [10.0.0.0/8]}}
""")
    assert found.closed() == {"staff"}
    assert found.asked("a.test/staff/x") == ("staff", "/")
    assert found.asked("b.test/x") is None


@pytest.mark.parametrize("names", [("a-open", "b-guarded"), ("a-guarded", "b-open")])
def test_of_two_routers_for_the_same_the_guarded_one_holds(tmp_path: Path, names: tuple[str, str]) -> None:
    routers = "".join(
        f"    {name}: {{rule: 'Host(`a.test`)', service: a, middlewares: [{'ips' if 'guarded' in name else 'gzip'}]}}\n"
        for name in names
    )
    text = f"""
http:{SERVICES}
  middlewares:
    ips: {{ipAllowList: {{sourceRange: [10.0.0.0/8]}}}}
    gzip: {{compress: {{}}}}
  routers:
{routers}"""
    found = imported("traefik", tmp_path / "dynamic.yaml", text)
    (route,) = found.config.routes
    assert route.name is not None
    assert route.name.endswith("guarded")


def test_policies_of_middlewares(traefik: Read) -> None:
    found = traefik("""
  routers:
    r: {rule: "Host(`a.test`)", service: a, middlewares: [all]}
  middlewares:
    all: {chain: {middlewares: [h, l, i, f, c, u, z]}}
    h: {headers: {customRequestHeaders: {X-A: b, X-B: ""}, stsSeconds: 60, accessControlAllowOriginList: ["https://p.test"]}}
    l: {rateLimit: {average: 5, period: 1m, burst: 3}}
    i: {ipWhiteList: {sourceRange: [10.0.0.0/8]}}
    f: {forwardAuth: {address: "http://auth:9000/check", authResponseHeaders: [X-User]}}
    c: {compress: {}}
    u: {buffering: {maxRequestBodyBytes: 2048}}
    z: {circuitBreaker: {expression: "NetworkErrorRatio() > 0.30"}}
""")
    policies = found.policies("r")
    assert policies["headers"].request.set == {"X-A": ["b"]}
    assert policies["headers"].request.remove == ["X-B"]
    assert policies["headers"].response.set == {"Strict-Transport-Security": ["max-age=60"]}
    assert policies["cors"].allow_origins == ["https://p.test"]
    assert policies["rate_limit"].numbers == {"requests_per_minute": 5, "burst": 3}
    assert policies["ip_filter"].allow
    assert policies["auth"].forward.url == "http://auth:9000/check"
    assert "compress" in policies
    service = found.config.services["a"]
    assert service.body_size == 2048
    assert service.circuit_breaker is not None
    assert service.circuit_breaker.error_rate == 0.3


def test_services_made_of_others(traefik: Read) -> None:
    found = traefik("""
    both: {weighted: {services: [{name: a, weight: 3}, {name: b, weight: 1}]}}
    copied: {mirroring: {service: a, mirrors: [{name: b, percent: 10}]}}
    saved: {failover: {service: a, fallback: b}}
    round: {weighted: {services: [{name: round, weight: 1}]}}
  routers:
    one: {rule: "Host(`one.test`)", service: both}
    two: {rule: "Host(`two.test`)", service: copied}
    three: {rule: "Host(`three.test`)", service: saved}
    four: {rule: "Host(`four.test`)", service: round}
""")
    routes = {route.name: route for route in found.config.routes}
    assert [(side.service, side.weight) for side in routes["one"].split or ()] == [("a", 3), ("b", 1)]
    assert 'mirror: [{service: b, share: "10%"}]' in found.imported.text
    assert [each.backup for each in found.config.services["saved"].all_instances] == [False, True, True]
    assert found.config.services["a"].preserve_host is True
    assert found.closed() == {"four"}


def test_an_entry_point_that_is_not_the_webs_has_a_port_of_its_own(traefik: Read) -> None:
    found = traefik("""
  routers:
    public: {rule: "Host(`a.test`)", service: a, entryPoints: [web, websecure]}
    inside: {rule: "Host(`a.test`)", service: b, entryPoints: [internal]}
""")
    assert [listener.routes for listener in found.config.gateway.listeners] == [("public",), ("inside",)]


def test_what_a_rule_leaves_to_others_is_not_served(traefik: Read) -> None:
    found = traefik("""
  routers:
    site: {rule: "Host(`a.test`) && !PathPrefix(`/private`)", service: a}
    rest: {rule: "PathPrefix(`/`)", service: b}
""")
    assert found.asked("a.test/x") == ("site", "/x")
    assert found.asked("a.test/private/x") == ("site-2", "/")
    assert next(route for route in found.config.routes if route.name == "site-2").respond is not None


def test_redirects(traefik: Read) -> None:
    found = traefik("""
  routers:
    plain: {rule: "HostRegexp(`.+`)", service: noop@internal, entryPoints: [web], middlewares: [https]}
    moved: {rule: "Host(`old.test`)", service: a, middlewares: [moved]}
    app: {rule: "Host(`app.test`)", service: a, entryPoints: [websecure], tls: {}, middlewares: [https]}
  middlewares:
    https: {redirectScheme: {scheme: https, permanent: true}}
    moved: {redirectRegex: {regex: "^https?://old.test/(.*)", replacement: "https://new.test/${1}", permanent: true}}
""")
    first = found.config.routes[0]
    assert first.redirect is not None
    assert (first.redirect.to, first.redirect.status, first.hosts) == ("https://new.test/{g1}", 301, ("old.test",))
    assert {route.name for route in found.config.routes} == {"moved", "moved-2", "app"}
    assert any("router plain: redirectScheme" in said for said in found.remarks("left"))
    assert any("router app: redirectScheme" in said for said in found.remarks("changed"))
    assert any("router app: tls: no certificate is in this file" in said for said in found.remarks("changed"))


def test_a_redirect_of_any_host_is_left_with_what_to_write(traefik: Read) -> None:
    found = traefik("""
  routers: {x: {rule: "PathPrefix(`/old`)", service: a, middlewares: [moved]}}
  middlewares: {moved: {redirectRegex: {regex: "^https?://([^/]+)/old/(.*)", replacement: "https://${1}/new/${2}"}}}
""")
    assert any("its host is no plain name: write a route with redirect" in said for said in found.remarks("left"))


def test_what_another_provider_defines_closes_the_route_and_says_so(traefik: Read) -> None:
    found = traefik('  routers: {x: {rule: "Path(`/x`)", service: a, middlewares: [auth@consul]}}')
    assert found.closed() == {"x"}
    assert any("no middleware auth@consul in this file: copy" in said for said in found.remarks("left"))


def test_fields_of_proxies_are_believed_by_the_gateways_own_list(traefik: Read) -> None:
    found = traefik("""
  routers: {x: {rule: "Path(`/x`)", service: a, middlewares: [ask]}}
  middlewares: {ask: {forwardAuth: {address: "http://auth:1", trustForwardHeader: true}}}
""")
    assert any("trustForwardHeader" in said for said in found.remarks("changed"))


# ---- TOML and Compose


def test_lines_of_toml_are_known(tmp_path: Path) -> None:
    text = """
[http.routers.a]
  rule = "Host(`a.test`)"
  service = "a"
  middlewares = ["p"]
[http.routers.b]
  rule = "Host(`b.test`"
  service = "a"
[http.middlewares.p.plugin.own]
[[http.services.a.loadBalancer.servers]]
  url = "http://10.0.0.1"
"""
    found = imported("traefik", tmp_path / "dynamic.toml", text)
    assert found.closed() == {"a"}
    lines = [said.split(":")[0] for said in found.remarks("left")]
    assert lines == ["2", "7", "9"]


def test_labels_of_a_compose_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DOMAIN=shop.test\n")
    text = r"""
services:
  proxy: {image: traefik, command: ["--entrypoints.inside.address=:8090"]}
  shop:
    image: shop
    expose: [8080]
    labels:
      - traefik.http.routers.shop.rule=Host(`${DOMAIN}`) && PathPrefix(`/api`)
      - traefik.http.routers.shop.middlewares=strip,limit@docker
      - traefik.http.middlewares.strip.stripprefix.prefixes=/api
      - traefik.http.middlewares.limit.ratelimit.average=5
      - traefik.http.routers.staff.rule=PathRegexp(`^/s/\\d+$$`)
      - traefik.http.routers.staff.entrypoints=inside
  other:
    labels:
      traefik.enable: "true"
      traefik.http.routers.other.rule: Host(`other.test`)
      traefik.http.services.named.loadbalancer.server.port: 9000
  off: {labels: [traefik.enable=false, "traefik.http.routers.off.rule=Host(`off.test`)"]}
"""
    found = imported("traefik", tmp_path / "compose.yaml", text)
    assert found.asked("shop.test/api/x") == ("shop", "/x")
    assert found.asked("other.test/x") == ("other", "/x")
    assert found.asked("off.test/x") is None
    urls = {name: service.url for name, service in found.config.services.items()}
    assert urls == {"shop": "http://shop:8080", "named": "http://other:9000"}
    assert found.policies("shop")["rate_limit"].numbers["requests_per_minute"] == 300
    assert [listener.port for listener in found.config.gateway.listeners] == [8000, 8090]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entryPoints: {web: {address: ':80'}}", ":1: the static configuration has no routers"),
        ("a: 1", ":1: no dynamic configuration"),
        ("apiVersion: traefik.io/v1alpha1\nkind: IngressRoute", ":1: resources of Kubernetes are not read"),
        ("http: 7", ":1: http: expected a section"),
        ("http:\n  routers: {}", ":1: it has no routers"),
        ("http:\n  routers:\n  {{ range .x }}\n", r"; templates \(\{\{ … \}\}\) are not evaluated"),
        ("http:\n  routers:\n    a: {rule: [1], service: a}", ":3: .*rule: expected text, and this is a list"),
        ("services:\n  a: {image: x}", ":1: no service has labels"),
        ("services:\n  a: {labels: ['traefik.http.routers.a.rule=Host(`${NOWHERE}`)']}", ":2: .*NOWHERE is not set"),
    ],
)
def test_what_is_no_source_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=f"dynamic.yaml.*{message}"):
        imported("traefik", tmp_path / "dynamic.yaml", text)


# ---- guards that a request would get around


@pytest.mark.parametrize(
    "rule",
    [
        " || ".join(f"PathPrefix(`/a{number}`)" for number in range(100)),
        " || ".join(f"Host(`h{number}.test`) && PathPrefix(`/a{number}`)" for number in range(300)),
        r"HostRegexp(`^.+\\.test$`) && Host(`h1.test`)",
    ],
)
def test_a_long_or_narrow_rule_keeps_its_guard(traefik: Read, rule: str) -> None:
    found = traefik(f"""
  middlewares: {{in: {{ipAllowList: {{sourceRange: [10.0.0.0/8]}}}}}}
  routers:
    all: {{rule: "PathPrefix(`/`)", service: a}}
    staff: {{rule: "{rule}", service: a, middlewares: [in]}}
""")
    taken = found.asked("h1.test/a1/x")
    assert taken is not None
    assert taken[0].startswith("staff")


def test_a_rule_of_many_hosts_is_one_route(traefik: Read) -> None:
    rule = " || ".join(f"Host(`h{number}.test`)" for number in range(2000))
    found = traefik(f"""
  routers:
    a: {{rule: "{rule}", service: a}}
""")
    assert found.asked("h1999.test/") == ("a", "/")


def test_a_router_that_leads_to_https_keeps_its_guard(traefik: Read) -> None:
    found = traefik("""
  middlewares: {in: {ipAllowList: {sourceRange: [10.0.0.0/8]}}, https: {redirectScheme: {scheme: https}}}
  routers:
    all: {rule: "PathPrefix(`/`)", service: a}
    staff: {rule: "PathPrefix(`/staff`)", service: a, middlewares: [https, in]}
    plain: {rule: "PathPrefix(`/plain`)", service: a, middlewares: [https]}
""")
    assert "ip_filter" in found.policies("staff")
    assert [route.name for route in found.config.all_routes] == ["all", "staff"]
