from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.config import HealthCheckSettings, InstanceSettings, RetrySettings, ServiceSettings, Timeouts


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
    ],
)
def test_urls_of_instances(url: str, scheme: str, host: str, port: int, authority: str) -> None:
    instance = InstanceSettings(url=url)
    assert (instance.scheme, instance.host, instance.port, instance.authority) == (scheme, host, port, authority)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8001", "a url starts with http:// or https:// and a host"),
        ("ftp://h", "a url starts with http:// or https:// and a host"),
        ("http://", "a url starts with http:// or https:// and a host"),
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
    ],
)
def test_urls_that_are_refused(report: Report, url: str, message: str) -> None:
    (line,) = report(f"services: {{a: {{url: '{url}'}}}}")
    assert line.startswith("portico.yaml:1:21: services.a.url: ")
    assert line.endswith(message)
    assert "hunter2" not in line


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
        ("{}", "services.a: needs a url or instances"),
        ("", "services.a: needs a url or instances"),
        ("{url: http://h, instances: [http://h]}", "services.a: has both url and instances"),
        ("{instances: []}", "services.a.instances: has to hold 1 or more"),
        ("{instances: [http://h, http://h:80]}", "services.a: names an instance twice"),
        ("{instances: [{url: http://h, weight: 0}]}", "services.a.instances[0].weight: has to be 1 or more"),
        ("{instances: [{weight: 1}]}", 'services.a.instances[0]: the key "url" has to be written'),
        ("{versions: {v1: {url: http://h}, v2: }}", "services.a: needs a url or instances: its version v2 has none"),
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
    assert line.endswith("would pass by every policy; it cannot be allowed")


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
        ("retries: {on: [500]}", "retries.on[0]: expected one of connect, reset, timeout, 502, 503, 504"),
        ("retries: {budget: 20}", "retries.budget: has to be 1 or less"),
        ("timeout: -1", "timeout: has to be more than 0"),
        ("timeout: {tunnel: 0}", "timeout.tunnel: has to be more than 0"),
        ("upgrades: websocket", "upgrades: expected a list"),
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
        ("load_balancing: round-robin", 'expected round_robin; did you mean "round_robin"?'),
        (
            "load_balancing: random",
            "load_balancing: this way of balancing is not supported by this version; write round_robin",
        ),
        (
            "load_balancing: {consistent_hash: {header: X-User}}",
            "load_balancing: this way of balancing is not supported by this version; write round_robin",
        ),
        ("circuit_breaker: {failures: 5}", "circuit_breaker: not supported by this version"),
        ("discover: redis", "discover: not supported by this version"),
        (
            "trailers: [X-Sum, Content-Length]",
            "trailers[1]: Content-Length decides about a message before its content; it cannot come behind it",
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


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        service().preserve_host = True  # type: ignore[misc]
