from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.config import Timeouts, load_config
from portico.core.consumers import Consumer

SERVICES = """\
services:
  gemini: {url: http://h:1, timeout: {connect: 1, response: 2}, versions: {v1: , v2: {url: http://h:2}}}
  atc: {url: http://h:3}
"""
HOST = "expected a host name without port, such as api.example.com or *.example.com"
METHOD = "name each method, such as GET; a route without methods takes every one"
VALUE = "this is compared as it stands: a pattern is written as ~ and then a regular expression"
PREFIX = "a path is a prefix by whole segments: write"


def test_a_service_has_default_routes(load: Load) -> None:
    routes = load(SERVICES).all_routes
    assert [(r.name, r.service, r.version, r.path, r.rewrite) for r in routes] == [
        ("gemini", "gemini", None, "/api/gemini", "/{path}"),
        ("gemini-v1", "gemini", "v1", "/v1/gemini", "/api/{path}"),
        ("gemini-v2", "gemini", "v2", "/v2/gemini", "/api/{path}"),
        ("atc", "atc", None, "/api/atc", "/{path}"),
    ]
    assert all(route.is_default for route in routes)


def test_a_service_with_versions_only(load: Load) -> None:
    routes = load("services: {a: {versions: {v1: {url: http://h}}}}").all_routes
    assert [(route.name, route.path) for route in routes] == [("a-v1", "/v1/a")]


def test_written_routes_are_added_to_the_default_ones(load: Load) -> None:
    config = load(SERVICES + "routes: [{service: gemini, path: /g}, {service: gemini, path: /api/gemini, rewrite: /x}]")
    paths = [route.path for route in config.all_routes]
    assert paths == ["/g", "/api/gemini", "/v1/gemini", "/v2/gemini", "/api/atc"]
    assert config.all_routes[1].rewrite == "/x"


def test_a_service_without_default_routes(load: Load) -> None:
    config = load("services: {a: {url: http://h, default_routes: false}}\nroutes: [{service: a, path: /g}]")
    assert [route.path for route in config.all_routes] == ["/g"]


def test_everything_written(load: Load) -> None:
    route = load(
        SERVICES
        + """\
routes:
  - name: legacy
    service: gemini
    version: v2
    path: /old/gemini/
    hosts: [API.example.com, "*.example.org"]
    methods: [get, POST]
    headers: {X-Api: "1"}
    rewrite: /api/{path}
    timeout: {response: 50}
    preserve_host: true
"""
    ).all_routes[0]
    assert (route.name, route.path, route.rewrite) == ("legacy", "/old/gemini", "/api/{path}")
    assert (route.hosts, route.methods) == (("api.example.com", "*.example.org"), ("GET", "POST"))
    assert (dict(route.headers), route.preserve_host) == ({"X-Api": "1"}, True)
    assert route.timeouts == Timeouts(connect=1, response=50)
    assert route.source == ("routes", 0)


def test_names_that_routes_get(load: Load) -> None:
    config = load(
        SERVICES
        + """\
routes:
  - {service: gemini, path: /a}
  - {service: gemini, path: /b}
  - {service: gemini, path: /c, version: v1}
  - {service: gemini, path: /d, name: atc}
"""
    )
    written, own = ["gemini", "gemini-2", "gemini-v1", "atc"], ["gemini-3", "gemini-v1-2", "gemini-v2", "atc-2"]
    assert [route.name for route in config.all_routes] == [*written, *own]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("path: x", "path: expected a path that starts with /"),
        ("path: /a?b", "path: a path has no ?"),
        ("path: '/a#b'", "path: a path has no #"),
        ("path: /a b", "path: a path has no spaces"),
        ("path: /é", "path: characters beyond ASCII are written as %XX"),
        ("path: /a/../b", "path: a path has no . and .. segments"),
        ("path: /a/.", "path: a path has no . and .. segments"),
        ("path: //a", "path: a path has no empty segments"),
        ("path: /a/*", f"path: {PREFIX} /a"),
        ("path: '/a/{id}'", f"path: {PREFIX} /a, or ~ ^/a/(?P<id>[^/]+)$"),
        ("path: '/users/[0-9]+'", f"path: {PREFIX} /users, or ~ ^/users/[0-9]+"),
        ("path: '^~ /static/'", f"path: {PREFIX} /static/"),
        ("path: '^/x'", f"path: {PREFIX} /x"),
        ("path: '/x$'", f"path: {PREFIX} /x, or = /x"),
        ("path: '/users/.*'", f"path: {PREFIX} /users"),
        ("path: '/users/.+/x'", f"path: {PREFIX} /users, or ~ ^/users/.+/x"),
        ("path: '/a/(b|c)'", f"path: {PREFIX} /a, or ~ ^/a/(b|c)"),
        ("path: '/users/*/posts'", f"path: {PREFIX} /users, or ~ ^/users/[^/]+/posts$"),
        ("path: '/x(.*)'", f"path: {PREFIX} /, or ~ ^/x(.*)"),
        ("path: '^/users/([0-9]+)$'", f"path: {PREFIX} /users, or ~ ^/users/([0-9]+)$"),
        ("path: '/files/{path:path}'", f"path: {PREFIX} /files"),
        ("path: '= x'", "path: expected a path that starts with /"),
        ("path: '= /a b'", "path: a path has no spaces"),
        ("path: '= /a//b'", "path: a path has no empty segments"),
        ("path: '~ ^/a b'", "path: no path has a space in it: write %20"),
        (
            "path: '~ ^/(?P<host>x)'",
            "path: a group cannot be called host: {host} means something else in rewrite and redirect",
        ),
        ("headers: {X: '~ ('}", "headers.X: the pattern has a ( without its )"),
        ("query: {v: 2}", "query.v: expected text, in quotes where it is a number, or true for any value"),
        ("query: {v: false}", "query.v: expected text, in quotes where it is a number, or true for any value"),
        ("query: {'a=b': '1'}", "query.a=b: not the name of a query parameter"),
        ("query: {v: '2.*'}", f"query.v: {VALUE}"),
        ("fallback: true", "fallback: a fallback takes what no other route takes, by any path: leave path out"),
        ("path: '/users/:id'", f"path: {PREFIX} /users, or ~ ^/users/(?P<id>[^/]+)$"),
        ("path: '/users/<int:id>/x'", f"path: {PREFIX} /users, or ~ ^/users/(?P<id>[0-9]+)/x$"),
        ("path: '/users/\\d+'", f"path: {PREFIX} /users, or ~ ^/users/\\d+"),
        (
            "rewrite: '/x/$1'",
            "rewrite: a rewrite has {path}, or {name} for what a pattern captured, and nothing like $1",
        ),
        ("rewrite: api", "rewrite: expected a path that starts with /"),
        ("rewrite: '/{path}/{path}'", "rewrite: {path} is in a rewrite once at most"),
        *(
            (
                f"rewrite: '{rewrite}'",
                "rewrite: {path} begins behind the prefix's slash: write a / before it, or keep for the path as it is",
            )
            for rewrite in ("/api/based{path}", "/a-{path}", "/a/b{path}/c")
        ),
        ("rewrite: kept", "rewrite: expected a path that starts with /"),
        *(
            (
                f"redirect_slash: true\n    rewrite: {rewrite}",
                "redirect_slash: needs a path other than / and a rewrite that ends with /{path}; leave it out",
            )
            for rewrite in ("keep", "/fixed", "'/{path}/x'", "'/{path}.json'")
        ),
        (
            "path: /\n    redirect_slash: true",
            "redirect_slash: needs a path other than / and a rewrite that ends with /{path}; leave it out",
        ),
        ("redirect_slash: 308", "redirect_slash: expected true or false"),
        ("encoded_slashes: /", "encoded_slashes: expected true or false"),
        (
            "rewrite: '/{rest}'",
            "rewrite: of a prefix there is {path}; {rest} is captured by a pattern: ~ ^/users/(?P<rest>[^/]+)$",
        ),
        ("rewrite: '/{re st}'", "rewrite: a path has no spaces"),
        ("rewrite: '/{}'", "rewrite: braces are written around a name only, such as {path}"),
        ("hosts: [h:80]", "hosts[0]: a host has no scheme, port or path: write h"),
        ("hosts: ['a.*']", f"hosts[0]: {HOST}"),
        ("hosts: ['*']", "hosts[0]: a route without hosts takes every host; leave them out"),
        ("hosts: [https://API.example.com/]", "hosts[0]: a host has no scheme, port or path: write api.example.com"),
        ("hosts: ['https://*.example.com:8443']", "hosts[0]: a host has no scheme, port or path: write *.example.com"),
        ("hosts: [api.example.com/x]", "hosts[0]: a host has no scheme, port or path: write api.example.com"),
        ("hosts: ['[::1]:8000']", "hosts[0]: a host has no scheme, port or path: write [::1]"),
        ("hosts: ['~^(.*)$']", f"hosts[0]: {HOST}"),
        ("hosts: ['']", f"hosts[0]: {HOST}"),
        ("methods: ['*']", f"methods[0]: {METHOD}"),
        ("methods: [any]", f"methods[0]: {METHOD}"),
        ("methods: ['GET|POST']", "methods[0]: expected a method such as GET"),
        ("methods: ['GET, POST']", "methods[0]: one method, without commas; several are a list: [GET, POST]"),
        ("headers: {X: '*'}", f"headers.X: {VALUE}"),
        ("headers: {X: 'v.*'}", f"headers.X: {VALUE}"),
        ("headers: {X: '^v1$'}", f"headers.X: {VALUE}"),
        ("headers: {X: 'v1|v2'}", f"headers.X: {VALUE}"),
        ("headers: {X: 'v[0-9]'}", f"headers.X: {VALUE}"),
        ("headers: {X: 'v*'}", f"headers.X: {VALUE}"),
        ("headers: {X: '/^v/'}", f"headers.X: {VALUE}"),
        ("headers: {X: 'v\\d+'}", f"headers.X: {VALUE}"),
        ("headers: {'X-*': a}", "headers.X-*: a header field is named in full: its name is not a pattern"),
        ("methods: [G T]", "methods[0]: expected a method such as GET"),
        ("methods: GET", 'methods: expected a list: put brackets around it, ["…"]'),
        ("headers: {X: 1.10}", "headers.X: expected text; put it into quotes"),
        ("headers: {'X Y': a}", "headers.X Y: not a name of a header field"),
        ('headers: {X: "a\\nb"}', "headers.X: not the value of a header field"),
        ("service: gemni", 'service: there is no service "gemni"; did you mean "gemini"?'),
        ("version: v11", 'version: the service gemini has no version "v11"; did you mean "v1"?'),
        ("pth: /x", 'pth: unknown key; did you mean "path"?'),
        ("name: a/b", "name: a name has only letters, digits, _ . - and starts with a letter or digit"),
    ],
)
def test_what_is_refused(report: Report, written: str, message: str) -> None:
    given = {"service": "service: gemini", "path": "path: /x"}
    given[written.partition(":")[0]] = written
    (line,) = report(SERVICES + "routes:\n  - " + "\n    ".join(given.values()))
    assert line.split(": ", 1)[1] == f"routes[0].{message}"


@pytest.mark.parametrize(
    "written",
    [
        *("path: /~user", "path: /$metadata", "path: /Products(1)", "path: /c++", "path: /v1.0", "path: /x:act"),
        *("headers: {X: text/*}", "headers: {X: '*/*'}", "headers: {X: 'DOM\\user'}", "headers: {X: a=1; b=2}"),
        *("methods: [M-SEARCH]", "headers: {X: '[::1]:80'}", "headers: {X: 'a+b (c) $1.50'}"),
    ],
)
def test_what_only_looks_like_a_pattern(load: Load, written: str) -> None:
    path = "" if written.startswith("path") else "path: /x, "
    assert load(f"services: {{a: {{url: http://h}}}}\nroutes: [{{service: a, {path}{written}}}]").routes


def test_hosts_are_compared_as_clients_send_them(load: Load) -> None:
    hosts = [
        "API.Example.com.",
        "'*.münchen.example'",
        "BÜCHER.example",
        "straße.example",
        "'[::0001]'",
        "'::2'",
        "10.0.0.1",
    ]
    route = load(f"services: {{a: {{url: http://h}}}}\nroutes: [{{service: a, path: /x, hosts: [{', '.join(hosts)}]}}]")
    assert route.routes[0].hosts == (
        *("api.example.com", "*.xn--mnchen-3ya.example", "xn--bcher-kva.example", "xn--strae-oqa.example"),
        *("[::1]", "[::2]", "10.0.0.1"),
    )


def test_keys_that_have_to_be_written(report: Report) -> None:
    assert report("routes: [{}]") == [
        'portico.yaml:1:10: routes[0]: the key "path" has to be written, or fallback: true for what no other route '
        "takes",
        'portico.yaml:1:10: routes[0]: the key "service" has to be written, or split, or respond or redirect for a '
        "route that answers itself",
    ]


def test_two_routes_for_the_same_requests(report: Report) -> None:
    text = """\
    routes:
      - {service: gemini, path: /x, name: one, methods: [GET, POST], hosts: [a], headers: {A: b}}
      - {service: atc, path: /x/, name: two, methods: [post, get], hosts: [A], headers: {a: b}}
    """
    (line,) = report(SERVICES + text.replace("\n    ", "\n").lstrip())
    assert line == "portico.yaml:6:5: routes[1]: the route one matches the very same requests (/x) already"


def test_routes_that_differ_in_one_thing(load: Load) -> None:
    texts = ["", ", methods: [GET]", ", hosts: [a]", ", headers: {A: b}", ", headers: {A: c}"]
    routes = "\n".join(f"  - {{service: atc, path: /x{text}}}" for text in texts)
    assert len(load(f"services: {{atc: {{url: http://h}}}}\nroutes:\n{routes}").all_routes) == 5 + 1


def test_a_written_route_that_matches_like_a_default_one(report: Report) -> None:
    assert report(SERVICES + "routes: [{service: gemini, path: /api/atc}]") == [
        "portico.yaml:3:3: services.atc: the route gemini matches the very same requests (/api/atc) already"
    ]


def test_two_routes_of_one_name(report: Report) -> None:
    routes = "routes: [{service: atc, path: /a, name: n}, {service: atc, path: /b, name: n}]"
    assert report(SERVICES + routes) == ["portico.yaml:4:76: routes[1].name: the route for /a has this name already"]


def test_a_route_to_a_service_whose_versions_alone_have_instances(report: Report) -> None:
    text = "services: {a: {versions: {v1: {url: http://h}}}}\nroutes: [{service: a, path: /a}]"
    assert report(text) == [
        "portico.yaml:2:20: routes[0].service: only the versions of a have instances; write version: one of v1"
    ]


@pytest.mark.parametrize("name", ["gateway", "none"])
def test_names_that_a_service_cannot_have(report: Report, name: str) -> None:
    assert report(f"services: {{{name}: {{url: http://h}}}}") == [
        f'portico.yaml:1:12: services.{name}: a service cannot be called "{name}": metrics use that word'
    ]


def test_consumers(load: Load, report: Report) -> None:
    text = "consumers: [{name: alice, rate_limit: {requests_per_minute: 600}}, {name: bob}]"
    alice, bob = load(text).consumers
    assert alice.name == "alice"
    assert alice.rate_limit is not None
    assert (alice.rate_limit.requests_per_minute, alice.rate_limit.burst) == (600, None)
    assert bob.rate_limit is None
    assert report("consumers: [{name: a}, {name: a}]") == [
        "portico.yaml:1:31: consumers[1].name: a consumer above has this name already"
    ]
    names = [consumer.name for consumer in load("consumers: [{name: Jane Doe}, {name: Ju\u0308rgen}]").consumers]
    assert names == ["Jane Doe", "J\u00fcrgen"]
    assert report("consumers: [{name: J\u00fcrgen}, {name: Ju\u0308rgen}]") == [
        "portico.yaml:1:36: consumers[1].name: a consumer above has this name already"
    ]
    assert report('consumers: [{name: "a\\x85"}]') == [
        "portico.yaml:1:20: consumers[0].name: a name or scope has no control characters"
    ]
    assert report("consumers: [{name: a, password: hunter2}]") == [
        "portico.yaml:1:33: consumers[0].password: expected an argon2 hash in quotes, never the password itself: "
        "portico password makes one"
    ]


def test_the_directory_of_consumers(load: Load, report: Report) -> None:
    key, other = "aB" * 32, "0" * 64
    text = f"consumers: [{{name: ann, keys: ['SHA256:{key}'], scopes: [orders:read]}}, {{name: bob, keys: , scopes: }}]"
    directory = load(text).consumer_directory
    ann, bob = directory
    assert (ann, bob) == (Consumer("ann", ("orders:read",), (bytes.fromhex(key),)), Consumer("bob"))
    assert (directory.find("ann"), directory.find("eve")) == (ann, None)
    assert (directory.with_key(bytes.fromhex(key)), directory.with_key(bytes.fromhex(other))) == (ann, None)
    assert directory == load(text).consumer_directory
    assert hash(directory) == hash(load(text).consumer_directory)
    assert directory != load(text.replace("read", "write")).consumer_directory
    assert key.lower() not in repr(ann).lower()
    password = "$argon2id$v=19$m=8,t=1,p=1$Wv6rIeV193CW4cHHvmIcXw$K4KvPymVZjTkxN3VCeZOn/Ltvb6kK45jQTI1m33H/TM"
    config = load(f"consumers: [{{name: ann, password: '{password}'}}, {{name: bob, password: }}]")
    assert [each.password for each in config.consumer_directory] == [password, ""]
    assert password not in f"{config!r}{config.consumer_directory.find('ann')!r}"
    assert report(f"consumers: [{{name: a, keys: ['sha256:{other}']}}, {{name: b, keys: ['sha256:{other}']}}]") == [
        "portico.yaml:1:124: consumers[1].keys[0]: this key is written already"
    ]
    named = "certificates: ['DNS:a.example']"
    assert report(f"consumers: [{{name: a, {named}}}, {{name: b, {named}}}]") == [
        "portico.yaml:1:82: consumers[1].certificates[0]: this name is written already"
    ]
    assert report("consumers: [{name: a, keys: [portico_secret]}]") == [
        "portico.yaml:1:30: consumers[0].keys[0]: expected sha256: and 64 hexadecimal digits, never the key itself: "
        "portico keys hash makes it"
    ]


def test_without_a_file_the_sample_services_are_there() -> None:
    config = load_config(None, {})
    assert {name: service.url for name, service in config.services.items()} == {
        "gemini": "http://localhost:8001",
        "atc": "http://localhost:8002",
        "portfolio": "http://localhost:8003",
    }
    for service in config.services.values():
        assert service.health is not None
        assert (service.health.path, service.timeouts.response, service.retry.attempts) == ("/health", 30.0, 3)
        assert service.upstream("v1").instances == service.upstream("v2").instances == service.all_instances
    paths = [route.path for route in config.all_routes]
    assert paths[:3] == ["/api/gemini", "/v1/gemini", "/v2/gemini"]
    assert len(paths) == 9
    limit, scope = config.all_routes[0].policies["rate_limit"]
    assert (limit.requests_per_minute, limit.burst, limit.by, scope) == (60, 20, "client_ip", "gateway")
    assert config.all_routes[0].policies["cors"][0].allow_origins == ["*"]
    assert set(config.own_policies) == {"cors", "rate_limit"}


def test_a_route_has_its_own_upgrades_and_silence(load: Load) -> None:
    routes = load(
        """\
        services: {a: {url: http://h, upgrades: [foo], timeout: {tunnel: 60}}}
        routes:
          - {service: a, path: /plain, upgrades: false}
          - {service: a, path: /long, upgrades: [websocket], timeout: {tunnel: 1h}}
          - {service: a, path: /same}
        """
    ).all_routes
    assert [(route.path, route.upgrades, route.timeouts.tunnel) for route in routes] == [
        ("/plain", (), 60),
        ("/long", ("websocket",), 3600),
        ("/same", ("foo",), 60),
        ("/api/a", ("foo",), 60),
    ]


def test_a_path_that_is_kept(load: Load) -> None:
    config = load(
        SERVICES + "routes: [{service: atc, path: /k, rewrite: keep}, {service: atc, path: /, rewrite: keep}]"
    )
    assert [(route.rewrite, route.redirect_slash) for route in config.all_routes[:2]] == [("keep", False)] * 2


def test_which_routes_redirect_to_their_slash(load: Load) -> None:
    """What a service says holds for those of its routes that take a prefix off, unless they say otherwise."""
    services = """\
    services:
      a: {url: http://h:1, versions: {v1: {redirect_slash: false}, v2: {url: http://h:2}}}
      b: {url: http://h:3, redirect_slash: false}
    routes:
      - {service: a, path: /x}
      - {service: a, path: /kept, rewrite: "/kept/{path}"}
      - {service: a, path: /off, redirect_slash: false}
      - {service: a, path: /fixed, rewrite: /one}
      - {service: a, path: /}
      - {service: a, path: /v1, version: v1}
      - {service: b, path: /y}
      - {service: b, path: /on, redirect_slash: true}
    """
    routes = load(services).all_routes
    on = {route.path for route in routes if route.redirect_slash}
    assert on == {"/x", "/kept", "/on", "/api/a", "/v2/a"}
    assert {route.path for route in routes} - on == {"/off", "/fixed", "/", "/v1", "/y", "/v1/a", "/api/b"}
