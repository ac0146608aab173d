"""Several listeners, each with its own choice of routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.conftest import Load, Report
from portico.config import dump_config, file_problems, load_dumped, notes_for, warnings_for
from support.authority import Authority

REST = """
services: {shop: {url: http://h}, users: {url: http://h, default_routes: false}}
routes: [{name: people, service: users, path: /people}, {path: /old, redirect: /people}]
policies: {rate_limit: false}
"""
PUBLIC = "{name: public, port: 8080, routes: [shop]}"


def text(listen: str, gateway: str = "") -> str:
    return f"gateway: {{listen: [{listen}]{gateway}}}{REST}"


def keys_of(routes: Any) -> list[str]:
    return [route.name for route in routes]


def test_one_address_is_one_listener(load: Load) -> None:
    config = load("gateway: {host: 127.0.0.1, port: 81}" + REST)
    (listener,) = config.gateway.listeners
    assert (listener.key, listener.host, listener.port, listener.tls, listener.endpoints) == (
        *("", "127.0.0.1", 81),
        *(None, None),
    )
    assert config.served_by(listener) == config.all_routes


def test_each_serves_the_routes_that_it_names_or_all(load: Load) -> None:
    config = load(text(f"{PUBLIC}, {{port: 8081, host: '::1'}}, {{name: more, port: 8082, routes: [redirect, shop]}}"))
    public, every, more = config.gateway.listeners
    assert [listener.key for listener in config.gateway.listeners] == ["public", "8081", "more"]
    assert keys_of(config.served_by(public)) == ["shop"]
    assert keys_of(config.served_by(every)) == ["people", "redirect", "shop"]
    assert keys_of(config.served_by(more)) == ["redirect", "shop"]


def test_names_may_be_patterns(load: Load) -> None:
    config = load(text("{name: a, port: 1, routes: ['*e*', shop]}, {name: b, port: 2, routes: ['sho?']}"))
    assert [keys_of(config.served_by(each)) for each in config.gateway.listeners] == [
        ["people", "redirect", "shop"],
        ["shop"],
    ]


def test_one_for_the_gateways_own_endpoints_alone(load: Load) -> None:
    config = load(text("{port: 80}, {port: 9100, routes: []}"))
    assert config.served_by(config.gateway.listeners[1]) == ()


def test_those_with_the_same_routes_have_one_router(load: Load) -> None:
    config = load(text(f"{PUBLIC}, {{port: 1}}, {{port: 2, routes: [shop]}}, {{port: 3}}, {{port: 4, endpoints: off}}"))
    assert [listener.key for listener, _ in config.route_sets()] == ["public", "1", "4"]


def test_other_processes_read_the_same(load: Load) -> None:
    config = load(text(f"{PUBLIC}, {{port: 8081, routes: [people]}}"))
    again = load_dumped(dump_config(config))
    assert again.gateway.listen == config.gateway.listen
    assert [keys_of(routes) for _, routes in again.route_sets()] == [["shop"], ["people"]]


def test_host_and_port_of_the_environment_are_the_first_ones(load: Load, report: Report) -> None:
    environ = {"GATEWAY_HOST": "127.0.0.1", "GATEWAY_PORT": "7001"}
    listeners = load(text(f"{PUBLIC}, {{port: 8081}}"), environ).gateway.listeners
    assert [(listener.host, listener.port) for listener in listeners] == [("127.0.0.1", 7001), ("0.0.0.0", 8081)]
    assert report(text(PUBLIC), {"GATEWAY_PORT": "x"}) == ["environment: GATEWAY_PORT: expected a whole number"]


@pytest.mark.parametrize(
    ("listen", "gateway", "at", "problem"),
    [
        (PUBLIC, ", port: 80", "80}", "port: gateway.listen says where the gateway listens: write port there"),
        (PUBLIC, ", tls: {certificate: a, key: b}", "{certificate", "tls: gateway.listen says where"),
        ("", "", "[]", "listen: names no address: write [{port: 8080}], or leave it out"),
        ("{name: x}", "", "{name: x}", 'listen[0]: the key "port" has to be written'),
        ("8080", "", "8080", "listen[0]: expected keys and values: write {port: 8080}"),
        ("{port: 70000}", "", "70000", "listen[0].port: has to be 65535 or less"),
        ("{port: 1, hosts: a}", "", "hosts", 'listen[0].hosts: unknown key; did you mean "host"?'),
        ("{port: 1, name: a b}", "", "a b", "listen[0].name: "),
        ("{port: 1, endpoints: internal}", "", "internal", "listen[0].endpoints: expected off"),
        ("{port: 1, host: 'unix:/run/x'}", "", "'unix", "listen[0].host: expected an address or a name of this"),
        (f"{PUBLIC}, {{port: 1, name: public}}", "", "public}", "listen[1].name: a listener above has this name"),
        (
            "{port: 81, host: 127.0.0.1}, {port: 81, host: 127.0.0.2}",
            *("", "81, host: 127.0.0.2"),
            "listen[1].port: two listeners are called 81 by their port: give one a name",
        ),
        (f"{PUBLIC}, {{name: b, port: 8080}}", "", "8080}]", "listen[1].port: the listener public has this address"),
        (
            f"{PUBLIC}, {{name: b, port: 8080, host: 127.0.0.1}}",
            *("", "8080, host"),
            "listen[1].port: the listener public has this address already",
        ),
        (
            "{name: a, port: 443, tls: {certificate: a, key: b, redirect_from: 80}}, {port: 80}",
            *("", "80}]"),
            "listen[1].port: the listener a has this address already",
        ),
        (
            "{name: a, port: 443, tls: {certificate: a, key: b, redirect_from: 443}}",
            *("", "443}}"),
            "listen[0].tls.redirect_from: is the port above already",
        ),
        (
            "{port: 7000}",
            *(", admin: '127.0.0.1:7000'", "7000}"),
            "listen[0].port: gateway.admin, 127.0.0.1:7000, wants the same address",
        ),
        ("{port: 1, proxy_protocol: true}", "", "true", "listen[0].proxy_protocol: needs trusted_proxies"),
        (
            "{port: 1, routes: [shpo]}",
            *("", "shpo"),
            'listen[0].routes[0]: there is no route "shpo"; portico routes lists their names; did you mean "shop"?',
        ),
        ("{port: 1, routes: ['api-*']}", "", "'api", "listen[0].routes[0]: no route has a name like api-*; portico"),
        ("{port: 1, routes: [/shop]}", "", "/shop", "listen[0].routes[0]: expected the name of a route, in which *"),
        ("{port: 1, routes: [shop, shop]}", "", "shop]", "listen[0].routes[1]: shop is in this list already"),
        ("{port: 1, routes: }", "", "}]", "listen[0].routes: nothing is written after the colon: write routes: ["),
    ],
)
def test_what_is_refused(report: Report, listen: str, gateway: str, at: str, problem: str) -> None:
    written = text(listen, gateway)
    (line,) = report(written)
    assert line.startswith(f"portico.yaml:1:{written.index(at) + 1}: gateway.{problem}")


def test_the_same_port_at_other_addresses(load: Load) -> None:
    assert load(text("{name: a, port: 81, host: 127.0.0.1}, {name: b, port: 81, host: 127.0.0.2}"))
    assert load(text("{name: a, port: 0}, {name: b, port: 0}")), "each is given one of its own"


def test_what_is_wrong_with_a_route_is_said_once(report: Report) -> None:
    """Not that the listener names a route that there is not, too."""
    (line,) = report("gateway: {listen: [{port: 1, routes: [a, r]}]}\nservices: {a: {url: x}}\n")
    assert "services.a.url" in line
    (line,) = report("gateway: {listen: [{port: 1, routes: [r]}]}\nroutes: [{name: r, service: none, path: /}]\n")
    assert "routes[0].service" in line


def test_routes_of_services_that_are_found(load: Load, report: Report) -> None:
    listen = "gateway: {listen: [{port: 1, routes: [team-a]}], redis_url: redis://h}\n"
    assert load(listen + "discover: {source: redis, services: ['team-*'], allow: [10.0.0.0/8]}")
    (line,) = report(listen + "discover: {source: redis, services: ['other-*'], allow: [10.0.0.0/8]}")
    assert 'there is no route "team-a"' in line


ALIKE = """
services: {a: {url: http://a, default_routes: false}, b: {url: http://b, default_routes: false}}
routes: [{name: one, service: a, path: /x}, {name: two, service: b, path: /x}]
policies: {rate_limit: false}
"""


def test_two_routes_alike_may_be_on_two_listeners(load: Load, report: Report) -> None:
    apart = "gateway: {listen: [{port: 1, routes: [one]}, {port: 2, routes: [two]}]}"
    assert warnings_for(load(apart + ALIKE)) == []
    (line,) = report("gateway: {listen: [{port: 1, routes: [one]}, {port: 2}]}" + ALIKE)
    assert line.endswith("the route one matches the very same requests (/x) already")


def test_a_route_that_no_listener_serves_is_warned_of(load: Load) -> None:
    warnings = [str(problem) for problem in warnings_for(load(text(f"{PUBLIC}, {{port: 1, routes: [people]}}")))]
    assert [warning.split(": ", 2)[2] for warning in warnings] == [
        "no listener serves the route redirect: name it in routes of one in gateway.listen"
    ]
    assert warnings_for(load(text(f"{PUBLIC}, {{port: 1}}"))) == []


def test_what_hides_what_is_seen_for_each_listener(load: Load) -> None:
    rest = """
services: {a: {url: http://a, default_routes: false}}
routes: [{name: all, service: a, path: /}, {name: any, service: a, path: "~ ^/x"}, {name: x, service: a, path: /x/y}]
policies: {rate_limit: false}
"""
    together = "gateway: {listen: [{port: 1}]}"
    assert sum("no request gets to /x/y" in str(each) for each in warnings_for(load(together + rest))) == 1
    assert sum("/health" in str(each) for each in warnings_for(load(together + rest))) == 1
    apart = "gateway: {listen: [{port: 1, routes: [all, any], endpoints: off}, {port: 2, routes: [x]}]}"
    assert warnings_for(load(apart + rest)) == []


@pytest.mark.parametrize(
    ("listen", "where"),
    [
        ("{port: 80, endpoints: off}, {port: 81, host: '::'}, {port: 82, host: 10.0.0.1}", "[::]:81 and 10.0.0.1:82"),
        ("{port: 80, endpoints: off}, {port: 81, host: 127.0.0.1}", None),
    ],
)
def test_who_may_read_the_endpoints_of_which_listener(load: Load, listen: str, where: str | None) -> None:
    notes = [note for note in notes_for(load(text(listen))) if "everybody" in note]
    assert [note.partition(" may read")[0] for note in notes] == (
        [] if where is None else [f"everybody who reaches {where}"]
    )


def test_certificates_of_each_are_read(load: Load, tmp_path: Path) -> None:
    own = Authority(tmp_path).leaf("own", "localhost")
    good, bad = f"certificate: {own.certificate}, key: {own.key}", "certificate: /absent, key: /absent"
    config = load(text(f"{{port: 1, tls: {{{good}}}}}, {{port: 2, tls: {{{good}, certificates: [{{{bad}}}]}}}}"))
    (problem,) = map(str, file_problems(config))
    assert "gateway.listen[1].tls.certificates[0].certificate: /absent: No such file or directory" in problem
