from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.config import (
    CircuitBreakerSettings,
    ConsistentHashSettings,
    CookieKey,
    HeaderKey,
    HealthCheckSettings,
    HedgeSettings,
    InstanceSettings,
    PassiveHealthSettings,
    RetrySettings,
    ServiceSettings,
    Timeouts,
)
from portico.config.instances import instance_url

STICKY = "write sticky: {cookie: auto}, or sticky: {issued: NAME} for a value that the service itself issues"


def service(**written: object) -> ServiceSettings:
    return ServiceSettings.model_validate({"url": "http://h"} | written)


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "authority"),
    [
        ("http://localhost:8001", "http", "localhost", 8001, "localhost:8001"),
        ("http://localhost:8001/", "http", "localhost", 8001, "localhost:8001"),
        ("HTTP://Example.COM", "http", "example.com", 80, "example.com"),
        ("http://example.com:80", "http", "example.com", 80, "example.com"),
        ("https://example.com", "https", "example.com", 443, "example.com"),
        ("https://example.com:80", "https", "example.com", 80, "example.com:80"),
        ("http://[::1]:8001", "http", "::1", 8001, "[::1]:8001"),
        ("http://[FD00:0:0::1]", "http", "fd00::1", 80, "[fd00::1]"),
        ("http://my_service.internal:1", "http", "my_service.internal", 1, "my_service.internal:1"),
        (" http://h:80\n", "http", "h", 80, "h"),
        ("unix:///run/app.sock", "unix", "localhost", 0, "localhost"),
        (" UNIX:///run/an app.sock\n", "unix", "localhost", 0, "localhost"),
    ],
)
def test_urls_of_instances(url: str, scheme: str, host: str, port: int, authority: str) -> None:
    instance = InstanceSettings(url=url)
    assert (instance.scheme, instance.host, instance.port, instance.authority) == (scheme, host, port, authority)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8001", "a url starts with http:// or https:// and a host, or is unix:///path"),
        ("unix://run/app.sock", "the url of a unix socket has its whole path: unix:///run/app.sock"),
        ("unix:/run/app.sock", "the url of a unix socket has its whole path: unix:///run/app.sock"),
        ("unix:///", "not the path of a unix socket: write unix:///run/app.sock"),
        (f"unix:///{'x' * 107}", "the path of a unix socket has 107 bytes at most"),
        ("ftp://h", "a url starts with http:// or https:// and a host, or is unix:///path"),
        ("http://", "a url starts with http:// or https:// and a host, or is unix:///path"),
        ("http://:80", "the host is not a name or an address"),
        ("http://h:0", "a port is a number from 1 to 65535"),
        ("http://h:", "a port is a number from 1 to 65535"),
        ("http://h:99999", "not a url; write http://host:port"),
        ("http://h/api", "put the path into the route's rewrite"),
        ("http://h?a=b", "has no ? and no #"),
        ("http://h#a", "has no ? and no #"),
        ("http://user:hunter2@h", "holds no user and no password"),
        ("http://a b", "the host is not a name or an address"),
        ("http://ä.de", "the host is not a name or an address"),
        ("http://[::g]", "not a url; write http://host:port"),
        ("http://[fe80::1%eth0]:80", "none of a URL; give the service another address"),
        ("http://[fe80::1%25eth0]:80", "none of a URL; give the service another address"),
    ],
)
def test_urls_that_are_refused(report: Report, url: str, message: str) -> None:
    (line,) = report(f"services: {{a: {{url: '{url}'}}}}")
    assert line.startswith("portico.yaml:1:21: services.a.url: ")
    assert line.endswith(message)
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1%\x1bc \x00X-Evil: 1]:17199",
        "http://[::1%a\u00e9]",
        "http://[::1%a/b]",
        "http://[::1%a%41]",
        "http://[::1%]",
        "http://[::1]evil:80",
        "http://[::1]:80:90",
        "http://x[::1]",
        "http://[[::1]]",
        "http://[v1.x]",
        "http://[127.0.0.1]",
        "http://ho\tst",
        "http://ho\r\nst:80",
        "ht\ntp://host",
        "http://host:8\n0",
        "http://host\x00",
        "http://host\x7f",
        "http://host\x85",
        "http://host\u2028",
        "\x0chttp://host",
        "http://\u212aelvin.example",  # one that is a K in lower case
        "http://\uff11\uff10.1.2.3",
        "http://h%6fst",
        "http://host\\@other",
        "http://a,b",
        "http://*.example.com",
    ],
)
def test_what_is_no_host_by_rfc_3986_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"a url|the host|in brackets|a zone id") as caught:
        instance_url(url)
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert "evil" not in message.lower()


def test_one_url_or_several_instances(load: Load) -> None:
    services = load(
        """\
        services:
          one: {url: http://h:1}
          two: {instances: [{url: http://h:1, weight: 2}, http://h:2]}
        """
    ).services
    assert services["one"].all_instances == (InstanceSettings(url="http://h:1"),)
    assert [(i.url, i.weight) for i in services["two"].all_instances] == [("http://h:1", 2), ("http://h:2", 1)]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{}", "services.a: needs a url, instances or discover"),
        ("", "services.a: needs a url, instances or discover"),
        ("{url: http://h, instances: [http://h]}", "services.a: has both url and instances"),
        ("{instances: []}", "services.a.instances: has to hold 1 or more"),
        ("{instances: [http://h, http://h:80]}", "services.a: names an instance twice"),
        ("{instances: [{url: http://h, weight: -1}]}", "services.a.instances[0].weight: has to be 0 or more"),
        ("{instances: [{weight: 1}]}", 'services.a.instances[0]: the key "url" has to be written'),
        (
            "{versions: {v1: {url: http://h}, v2: }}",
            "services.a: needs a url, instances or discover: its version v2 has no",
        ),
        ("[http://h]", "services.a: expected keys and values"),
    ],
)
def test_instances_that_are_refused(report: Report, written: str, message: str) -> None:
    (line,) = report(f"services: {{a: {written}}}")
    assert line.split(": ", 1)[1].startswith(message)


def test_health_checks() -> None:
    assert service().health == HealthCheckSettings(path=None)
    assert service(health_check="/health").health == HealthCheckSettings(path="/health")
    assert service(health_check=False).health is None
    assert service(health_check=True).health == HealthCheckSettings()
    health = service(health_check={"path": "/h", "interval": "500ms", "expect": [204, "200-202"]}).health
    assert health is not None
    assert (health.interval, health.timeout, health.healthy_after, health.unhealthy_after) == (0.5, 5.0, 1, 3)
    assert [status for status in (199, 200, 202, 203, 204, 205) if health.expects(status)] == [200, 202, 204]


def test_timeouts() -> None:
    assert service().timeouts == Timeouts(connect=5, response=30, idle=60, total=None)
    assert service(timeout=30.0).timeouts == Timeouts(connect=5, response=30, idle=30, total=None)
    assert service(timeout="2s").timeouts == Timeouts(connect=2, response=2, idle=2, total=None)
    assert service(timeout={"tunnel": "1h"}).timeouts.tunnel == 3600
    assert service(timeout=30.0).timeouts.tunnel == 600
    assert service(timeout={"connect": 1, "total": "1m"}).timeouts == Timeouts(
        connect=1, response=30, idle=60, total=60
    )


@pytest.mark.parametrize(
    ("written", "upgrades"),
    [
        ("{}", ("websocket",)),
        ("{upgrades: no}", ()),
        ("{upgrades: []}", ()),
        ("{upgrades: [WebSocket, Foo/2.1]}", ("websocket", "foo/2.1")),
    ],
)
def test_upgrades(load: Load, written: str, upgrades: tuple[str, ...]) -> None:
    services = f"services: {{a: {{url: http://h, versions: {{v1: , v2: {written}}}, upgrades: [bar]}}, b: {written}}}"
    config = load(services.replace("b: {", "b: {url: http://h, "))
    found = {route.name: route.upgrades for route in config.all_routes}
    assert found == {"a": ("bar",), "a-v1": ("bar",), "a-v2": ("bar",) if written == "{}" else upgrades, "b": upgrades}


@pytest.mark.parametrize("protocol", ["h2c", "H2C", "h2c-17", "HTTP/2.0", "http", "TLS/1.3"])
def test_upgrades_that_hide_requests(report: Report, protocol: str) -> None:
    (line,) = report(f"services: {{a: {{url: http://h, upgrades: [{protocol}]}}}}")
    assert "services.a.upgrades[0]: requests inside" in line
    assert line.endswith("would bypass every policy; it cannot be allowed")


def test_retries() -> None:
    assert service().retry == RetrySettings(attempts=2, on=("connect", "reset"), budget=0.2)
    assert service(retries=3).retry == RetrySettings(attempts=3)
    assert service(retries=0).retry.attempts == 0
    retry = service(retries={"on": ["timeout", 503, "504"], "budget": "12.5%"}).retry
    assert (retry.attempts, retry.on, retry.budget) == (2, ("timeout", 503, 504), 0.125)


def test_on_is_a_key_and_no_boolean(load: Load) -> None:
    config = load("services: {a: {url: http://h, retries: {attempts: 1, on: [connect, 502], budget: 20%}}}")
    assert config.services["a"].retry == RetrySettings(attempts=1, on=("connect", 502), budget=0.2)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("retries: 11", "retries: has to be 10 or less"),
        ("retries: yes", "retries: expected a whole number"),
        ("retries: {on: [conect]}", 'did you mean "connect"?'),
        ("retries: {on: [500]}", "retries.on[0]: expected one of connect, reset, timeout, 429, 502, 503, 504"),
        ("retries: {budget: 20}", "retries.budget: has to be 1 or less: write 20% or 0.2"),
        ("timeout: -1", "timeout: has to be more than 0"),
        ("timeout: {tunnel: 0}", "timeout.tunnel: has to be more than 0"),
        ("upgrades: websocket", 'upgrades: expected a list: put brackets around it, ["…"]'),
        ("upgrades: [web socket]", "upgrades[0]: expected the name of a protocol, such as websocket"),
        ("upgrades: ['']", "upgrades[0]: expected the name of a protocol, such as websocket"),
        ("timeout: soon", "timeout: 'soon' is not a duration; write seconds or text such as 500ms, 2s, 5m"),
        ("timeout: [1]", "timeout: expected a duration, or connect, response, idle and total"),
        ("timeout: {conect: 1}", 'timeout.conect: unknown key; did you mean "connect"?'),
        ("health_check: health", "health_check: expected a path that starts with /, without spaces"),
        (
            "health_check: {expect: [2xx]}",
            "health_check.expect[0]: expected a status such as 204 or a range such as 200-299",
        ),
        (
            "health_check: {expect: [299-200]}",
            "health_check.expect[0]: expected a status such as 204 or a range such as 200-299",
        ),
        ("load_balancing: round-robin", 'did you mean "round_robin"?'),
        ("load_balancing: fastest", "one of round_robin, least_connections, power_of_two, random, consistent_hash"),
        ("load_balancing: {consistent_hash: {header: A B}}", "consistent_hash.header: not a name of a header field"),
        ("load_balancing: {consistent_hash: {cookie: 'a=b'}}", "consistent_hash.cookie: not the name of a cookie"),
        ("load_balancing: {consistent_hash: client}", 'expected client_ip; did you mean "client_ip"?'),
        ("sticky: true", f"sticky: expected cookie or issued: {STICKY}"),
        ("sticky: cookie", f"sticky: expected cookie or issued: {STICKY}"),
        ("sticky:", f"sticky: nothing is written after the colon: {STICKY}"),
        ("sticky: {}", f"sticky: says nothing of how an instance is found again: {STICKY}"),
        ("sticky: {ttl: 1h}", f"sticky: says nothing of how an instance is found again: {STICKY}"),
        ("sticky: {cookie: auto, issued: X-Id}", "sticky: has both cookie and issued; keep one of them"),
        ("sticky: {cookie: 'a b'}", "sticky.cookie: not the name of a cookie"),
        ("sticky: {cookie: auto, ttl: 1h}", "sticky: ttl is for issued alone; leave it out"),
        ("sticky: {issued: X-Id, max_age: 1h}", "sticky: max_age is for cookie alone; leave it out"),
        (
            "sticky: {cookie: auto, key: short}",
            "sticky.key: has fewer than 16 characters, so it could be found by trying",
        ),
        ("sticky: {issued: X Id}", "sticky.issued: not a name of a header field"),
        ("circuit_breaker: {failures: 0}", "circuit_breaker.failures: has to be 1 or more"),
        ("circuit_breaker: {error_rate: 0%}", "circuit_breaker.error_rate: has to be more than 0"),
        (
            "circuit_breaker: {max_ejected: 50%}",
            "max_ejected: unknown key; there are error_rate, failures, open_for, open_for_most, volume, window",
        ),
        ("passive_health: {max_ejected: 150%}", "passive_health.max_ejected: has to be 1 or less"),
        ("passive_health: 5", "passive_health: expected keys and values"),
        ("slow_start: -1", "slow_start: has to be 0 or more"),
        ("hedge: {}", 'hedge: the key "after" has to be written'),
        ("hedge: {after: 0}", "hedge.after: has to be more than 0"),
        ("retries: {methods: [GET, 'P T']}", "retries.methods[1]: expected a method such as GET"),
        ("retries: {per_try_timeout: 0}", "retries.per_try_timeout: has to be more than 0"),
        (
            "discover: kafka",
            "discover: expected redis, admin, kubernetes or a section such as {dns: {name: a.internal, port: 8000}}",
        ),
        (
            "trailers: [X-Sum, Content-Length]",
            "trailers[1]: Content-Length is needed before the body; it cannot be a trailer",
        ),
        ("timout: 5", 'timout: unknown key; did you mean "timeout"?'),
        ("tls: {verfy: no}", 'tls.verfy: unknown key; did you mean "verify"?'),
    ],
)
def test_what_is_refused(report: Report, written: str, message: str) -> None:
    (line,) = report(f"services:\n  a:\n    url: http://h\n    {written}")
    assert line.startswith("portico.yaml:4:")
    assert line.endswith(message)


def test_a_version_falls_back_to_its_service(load: Load) -> None:
    service = load(
        """\
        services:
          a:
            url: https://h:1
            timeout: {connect: 1, response: 10}
            retries: 3
            health_check: /health
            preserve_host: true
            tls: {server_name: inner}
            idle_connection_timeout: 2
            versions:
              v1:
              v2:
                url: http://h:2
                timeout: {response: 99}
                retries: 0
                health_check: false
                preserve_host: false
                tls: {verify: false}
        """
    ).services["a"]
    plain, v1, v2 = service.upstream(), service.upstream("v1"), service.upstream("v2")
    assert (v1.instances, v1.shared) == (service.all_instances, True)
    assert (plain.shared, v2.shared) == (False, False)
    assert (v1.timeouts, v1.retry, v1.health, v1.tls) == (plain.timeouts, plain.retry, plain.health, plain.tls)
    assert v1.preserve_host
    assert [instance.url for instance in v2.instances] == ["http://h:2"]
    assert v2.timeouts == Timeouts(connect=1, response=99)
    assert (v2.retry.attempts, v2.health, v2.preserve_host, v2.tls.verify) == (0, None, False, False)
    assert {v.idle_connection_timeout for v in (plain, v1, v2)} == {2.0}
    with pytest.raises(KeyError):
        service.upstream("v3")


@pytest.mark.parametrize("name", ["round_robin", "least_connections", "power_of_two", "random"])
def test_balancing_by_name(name: str) -> None:
    assert service().load_balancing == "round_robin"
    assert service(load_balancing=name).upstream().load_balancing == name


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("consistent_hash", "client_ip"),
        ({"consistent_hash": "client_ip"}, "client_ip"),
        ({"consistent_hash": {"header": "X-User"}}, HeaderKey(header="X-User")),
        ({"consistent_hash": {"cookie": "session"}}, CookieKey(cookie="session")),
    ],
)
def test_balancing_by_what_requests_have_in_common(written: object, key: object) -> None:
    balancing = service(load_balancing=written).load_balancing
    assert isinstance(balancing, ConsistentHashSettings)
    assert balancing.consistent_hash == key


@pytest.mark.parametrize(
    ("written", "issued"),
    [
        ("Mcp-Session-Id", HeaderKey(header="Mcp-Session-Id")),
        ({"header": "X-Id"}, HeaderKey(header="X-Id")),
        ({"cookie": "sid"}, CookieKey(cookie="sid")),
    ],
)
def test_what_a_service_issues(written: object, issued: HeaderKey | CookieKey) -> None:
    sticky = service(sticky={"issued": written}).upstream().sticky
    assert sticky is not None
    assert (sticky.issued, sticky.ttl) == (issued, 3600)


def test_cookies_that_lead_to_instances() -> None:
    assert service().sticky is None
    assert service(sticky=False).sticky is None
    own = service(sticky={"cookie": "where", "key": "k" * 16, "max_age": "1h"}).sticky
    assert own is not None
    assert (own.cookie, own.max_age) == ("where", 3600)
    assert "k" * 16 not in repr(own)


def test_instances_that_fail_are_ejected() -> None:
    plain = service().upstream()
    assert plain.passive_health == PassiveHealthSettings(failures=5, open_for=10, open_for_most=300, max_ejected=0.5)
    assert plain.circuit_breaker is None
    assert service(passive_health=False).upstream().passive_health is None
    assert service(passive_health=True).passive_health == PassiveHealthSettings()
    bolder = service(passive_health={"failures": 2, "error_rate": "50%", "open_for": "1m", "max_ejected": "10%"})
    assert bolder.passive_health == PassiveHealthSettings(failures=2, error_rate=0.5, open_for=60, max_ejected=0.1)
    assert service(circuit_breaker=True).circuit_breaker == CircuitBreakerSettings()
    assert service(circuit_breaker={"failures": 3}).circuit_breaker == CircuitBreakerSettings(failures=3)
    assert service(circuit_breaker=False).circuit_breaker is None


def test_one_mechanism_not_two(report: Report) -> None:
    both = "circuit_breaker: {}, passive_health: {}"
    (line,) = report(f"services: {{a: {{url: http://h, {both}}}}}")
    assert "has both circuit_breaker and passive_health" in line
    assert service(circuit_breaker={}, passive_health=False).passive_health is None


def test_hedging_and_slow_start() -> None:
    assert (service().hedge, service().slow_start) == (None, 0)
    assert service(hedge={"after": "200ms"}).hedge == HedgeSettings(after=0.2, budget=0.1)
    assert service(slow_start="1m").upstream().slow_start == 60


def test_a_route_has_its_own_retries_key_by_key(load: Load) -> None:
    config = load(
        """\
        services: {a: {url: http://h, retries: {attempts: 1, on: [connect, 503], per_try_timeout: 2}}}
        routes:
          - {name: plain, service: a, path: /plain}
          - {name: fewer, service: a, path: /fewer, retries: 0}
          - {name: posts, service: a, path: /posts, retries: {methods: [GET, post]}}
        """
    )
    retry = {route.name: route.retry for route in config.all_routes}
    assert retry["plain"] == retry["a"] == RetrySettings(attempts=1, on=("connect", 503), per_try_timeout=2)
    assert retry["fewer"] == retry["plain"].model_copy(update={"attempts": 0})
    assert retry["posts"] == retry["plain"].model_copy(update={"methods": ("GET", "POST")})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        service().preserve_host = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: http://localhost:1}", "services.a: expected keys and values: write {url: http://host:port}"),
        (
            "services: {a: [http://localhost:1]}",
            "a: expected keys and values: write {instances: [http://host:port, …]}",
        ),
        (
            "services: {a: {versions: {v1: http://localhost:1}}}",
            "services.a.versions.v1: expected keys and values: write {url: http://host:port}",
        ),
        (
            "services: {a: {url: http://h, policies: {cors: {allow_origins: 'https://x'}}}}",
            'allow_origins: expected a list: put brackets around it, ["…"]',
        ),
        ("services: {a: {instances: http://h}}", 'a.instances: expected a list: put brackets around it, ["…"]'),
    ],
)
def test_a_value_in_a_shorter_form_than_there_is(report: Report, text: str, message: str) -> None:
    assert report(text)[0].endswith(message)
