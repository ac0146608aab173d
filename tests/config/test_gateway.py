from __future__ import annotations

import re
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from config.conftest import Load, Report
from portico.config import ConfigError, GatewaySettings, LimitSettings, file_problems, warnings_for

HOST = "expected an address or a name of this machine, without scheme and port; 0.0.0.0 and :: are every address"
TOKEN = "holds control characters, or white space at an end, which no header field can carry"


def test_defaults() -> None:
    gateway = GatewaySettings()
    assert (gateway.host, gateway.port, gateway.workers, gateway.admin) == ("0.0.0.0", 8000, 1, "127.0.0.1:9000")
    assert gateway.limits == LimitSettings(
        header_size=32768,
        header_count=100,
        url_length=16384,
        body_size=10485760,
        connections=10000,
        header_timeout=10,
        body_timeout=30,
        idle_timeout=75,
        drain_timeout=30,
    )
    assert (gateway.log.level, gateway.log.format, gateway.log.access) == ("INFO", "json", "stdout")
    assert gateway.tls is None


def test_everything_written(load: Load) -> None:
    gateway = load(
        """\
        gateway:
          host: "::"
          port: 0
          workers: auto
          admin: "[::1]:0"
          admin_token: ${ADMIN_TOKEN:-}
          redis_url: ${REDIS_URL:-}
          trusted_proxies: [10.0.0.0/8, 127.0.0.1, "::1", "fd00::/8"]
          tls: {certificate: cert.pem, key: key.pem}
          limits: {header_size: 64KiB, body_size: 1GB, header_timeout: 500ms, drain_timeout: 5m}
          log: {level: warning, format: Text, access: off}
        """
    ).gateway
    assert (gateway.workers, gateway.admin_address, gateway.admin_is_local) == ("auto", ("::1", 0), True)
    assert gateway.trusted_proxies == tuple(map(ip_network, ("10.0.0.0/8", "127.0.0.1/32", "::1/128", "fd00::/8")))
    assert gateway.tls is not None
    assert gateway.tls.certificate == Path("cert.pem")
    assert (gateway.limits.header_size, gateway.limits.body_size) == (65536, 10**9)
    assert (gateway.limits.header_timeout, gateway.limits.drain_timeout) == (0.5, 300.0)
    assert (gateway.log.level, gateway.log.format, gateway.log.access) == ("WARNING", "text", "off")
    assert (gateway.admin_token, gateway.redis_url) == (None, None)


def test_addresses_in_their_shortest_form(load: Load) -> None:
    gateway = load("gateway: {host: '[::1]', trusted_proxies: ['::ffff:10.0.0.0/104', '::ffff:1.2.3.4']}").gateway
    assert gateway.host == "::1"
    assert gateway.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("1.2.3.4/32"))


@pytest.mark.parametrize("host", ["localhost", "gateway-1.internal.", "0.0.0.0", "'::'", "'fe80::1%eth0'", "my_host"])
def test_hosts_to_listen_on(load: Load, host: str) -> None:
    assert load(f"gateway: {{host: {host}}}").gateway.host == host.strip("'")


@pytest.mark.parametrize(
    "access", ["stdout", "stderr", "/var/log/access.log", "'off'", "syslog", "syslog://logs.test:1514"]
)
def test_where_the_access_log_goes(load: Load, access: str) -> None:
    assert load(f"gateway: {{log: {{access: {access}}}}}").gateway.log.access == access.strip("'")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("fields: [header.Cookie]", "Cookie lets whoever reads the log in as the client: it is never logged"),
        ("fields: [agent]", "expected one of user_agent, referer, query, protocol, header.NAME or claim.NAME"),
        ("access: 'syslog://a/b'", "expected syslog, or syslog://host:port for a server elsewhere"),
    ],
)
def test_what_the_log_cannot_be(load: Load, written: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(f"gateway: {{log: {{{written}}}}}")


def test_only_a_file_is_rotated(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = map(str, file_problems(load("gateway: {log: {access: stdout, rotate: {}}}")))
    assert found.endswith("gateway.log.rotate: only a file is rotated, and access is stdout")
    monkeypatch.setattr("portico.observe.log_targets._LOCAL_SYSLOG", ())
    (found,) = map(str, file_problems(load("gateway: {log: {access: syslog}}")))
    assert "gateway.log.access: there is no syslog on this machine" in found


@pytest.mark.parametrize("text", ["gateway:\n", "gateway: {limits: , log: , port: ~}\n"])
def test_a_key_with_nothing_after_it_counts_as_not_written(load: Load, text: str) -> None:
    assert load(text).gateway == GatewaySettings()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("port: 65536", "port: has to be 65535 or less"),
        ("port: yes", "port: expected a whole number"),
        ("port: 80.5", "port: expected a whole number"),
        ("workers: 257", "workers: has to be 256 or less"),
        ("workers: many", "workers: expected a whole number or auto"),
        ("host: 5", "host: expected text; put it into quotes"),
        ("admin: 9000", "admin: expected text; put it into quotes"),
        ("admin: localhost", "admin: expected host:port, for example 127.0.0.1:9000"),
        ("admin: '::1:90'", "admin: expected host:port; an IPv6 address goes into brackets: [::1]:9000"),
        ("admin: h:99999", "admin: expected host:port, for example 127.0.0.1:9000"),
        ("trusted_proxies: 10.0.0.0/8", 'trusted_proxies: expected a list: put brackets around it, ["…"]'),
        (
            "trusted_proxies: [10.0.0.1/8]",
            "trusted_proxies[0]: the address has bits beyond the network's; the network is 10.0.0.0/8",
        ),
        ("trusted_proxies: [10]", "trusted_proxies[0]: expected an address or a network such as 10.0.0.0/8"),
        ("host: http://0.0.0.0", f"host: {HOST}"),
        ("host: localhost:8000", f"host: {HOST}"),
        ("host: '[::]:8000'", f"host: {HOST}"),
        ("host: '*'", f"host: {HOST}"),
        ("host: ''", f"host: {HOST}"),
        ("host: 127.0.0.300", f"host: {HOST}"),
        ("admin: http://127.0.0.1:9000", "admin: expected host:port and nothing else, for example 127.0.0.1:9000"),
        ("admin: ':9000'", "admin: expected host:port and nothing else, for example 127.0.0.1:9000"),
        ("admin: '*:9000'", f"admin: {HOST}"),
        ('admin_token: "a\\nb"', f"admin_token: {TOKEN}"),
        ('admin_token: "a\\u007f"', f"admin_token: {TOKEN}"),
        ("admin_token: ' a'", f"admin_token: {TOKEN}"),
        ('log: {access: "a\\0b"}', "log.access: the path of a file has no NUL character"),
        ('embedded_redis: "a\\0b"', "embedded_redis: the path of a file has no NUL character"),
        ('tls: {certificate: "a\\0b", key: k}', "tls.certificate: the path of a file has no NUL character"),
        ("trusted_proxies: [lan]", "trusted_proxies[0]: expected an address or a network such as 10.0.0.0/8"),
        ("tls: {certificate: a}", 'tls: the key "key" has to be written'),
        ("limits: {header_size: 5}", "limits.header_size: has to be 1KiB or more"),
        (
            "limits: {body_size: big}",
            "limits.body_size: 'big' is not a size; write bytes or text such as 64KiB, 10MiB",
        ),
        ("limits: {idle_timeout: 0}", "limits.idle_timeout: has to be more than 0"),
        ("log: {access: yes}", "log.access: expected text; put it into quotes"),
        ("log: {levl: INFO}", 'log.levl: unknown key; did you mean "level"?'),
        (
            "admin: 0.0.0.0:9000",
            "admin: other machines can reach this address: set ADMIN_TOKEN or write gateway.admin_token",
        ),
    ],
)
def test_what_is_refused(report: Report, written: str, message: str) -> None:
    (line,) = report(f"gateway:\n  {written}")
    assert line.split(": ", 1)[1] == f"gateway.{message}"


@pytest.mark.parametrize("admin", ["127.0.0.2:1", "localhost:1", "'[::1]:1'"])
def test_admin_on_loopback_needs_no_token(load: Load, admin: str) -> None:
    assert load(f"gateway: {{admin: {admin}}}").gateway.admin_is_local


def test_admin_elsewhere_with_a_token(load: Load) -> None:
    assert not load("gateway: {admin: '0.0.0.0:1', admin_token: t}").gateway.admin_is_local


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "x_forwarded_proto", "X.Real.IP", "Host", "X-Consumer-Username", "TE"]
)
def test_what_the_gateway_writes_cannot_pass(name: str, report: Report) -> None:
    (line,) = report(f"gateway: {{pass_headers: [X-Consumer-ID, {name}]}}")
    assert line.startswith("portico.yaml:1:41: gateway.pass_headers[1]: ")
    assert "written by the gateway" in line


def test_what_may_pass(load: Load) -> None:
    names = ("X-Consumer-ID", "Remote-User", "Proxy", "X-Forwarded-User")
    assert load(f"gateway: {{pass_headers: [{', '.join(names)}]}}").gateway.pass_headers == names


@pytest.mark.parametrize(
    ("host", "admin", "meet"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("::", "127.0.0.1", True),
        ("10.0.0.1", "127.0.0.1", False),
        ("0.0.0.0", "[::1]", False),
    ],
)
def test_the_admin_api_at_the_port_of_the_gateway(
    load: Load, report: Report, host: str, admin: str, meet: bool
) -> None:
    text = f"gateway: {{host: '{host}', port: 7000, admin: '{admin}:7000'}}"
    if meet:
        assert report(text) == [
            f"portico.yaml:1:{text.index('7000') + 1}: gateway.port: gateway.admin, {admin}:7000, "
            "wants the same address: give one of them another port"
        ]
    else:
        assert load(text)


def test_the_default_admin_address_at_the_port_of_the_gateway(load: Load) -> None:
    """The gateway runs without it."""
    rest = "\nservices: {a: {url: http://a}}\npolicies: {rate_limit: {}}"
    (warning, *_) = warnings_for(load("gateway: {port: 9000}" + rest))
    assert str(warning).startswith("portico.yaml:1:17: gateway.port: gateway.admin, 127.0.0.1:9000, wants the same")
    (warning, *_) = warnings_for(load("gateway: {tls: {certificate: a, key: b, redirect_from: 9000}}" + rest))
    assert str(warning).startswith("portico.yaml:1:56: gateway.tls.redirect_from: gateway.admin, 127.0.0.1:9000")


@pytest.mark.parametrize(("key", "value"), [("redis_url", "redis://h"), ("embedded_redis", sys.executable)])
def test_without_redis_py_an_error_says_how_to_get_it(
    load: Load, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    config = load(f"services: {{a: {{url: http://h}}}}\ngateway: {{{key}: {value}}}\n")
    assert file_problems(config) == []
    monkeypatch.setattr("portico.net.redis.connection.find_spec", lambda name: None)
    (problem,) = map(str, file_problems(config))
    assert f"gateway.{key}: needs redis-py" in problem
    assert "pip install 'portico-gateway[redis]'" in problem
