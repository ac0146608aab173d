"""Settings of discovery, and which addresses are accepted."""

from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.config import dump_config, load_dumped, refusal
from portico.config.discovery import DiscoverSettings
from portico.config.instances import instance_url
from portico.core.found import Found

REDIS = "gateway: {redis_url: redis://h}\n"


@pytest.mark.parametrize(
    ("url", "allow", "accepted"),
    [
        ("http://10.1.2.3:80", None, True),
        ("http://orders.internal", None, True),
        ("http://169.254.169.254", None, False),
        ("http://[fe80::1]", None, False),
        ("http://[::ffff:169.254.169.254]", None, False),
        ("http://0.0.0.0:80", None, False),
        ("http://224.0.0.1", None, False),
        ("http://2130706433", None, False),
        ("http://0x7f000001", None, False),
        ("http://127.1", None, False),
        ("http://10.1.2.3", ["10.0.0.0/8"], True),
        ("http://11.1.2.3", ["10.0.0.0/8"], False),
        ("http://[::ffff:10.1.2.3]", ["10.0.0.0/8"], True),
        ("http://a.example.com", ["*.example.com"], True),
        ("http://example.com", ["*.example.com"], False),
        ("http://evilexample.com", ["*.example.com"], False),
        ("http://orders", ["orders"], True),
        ("http://orders", ["10.0.0.0/8"], False),
    ],
)
def test_where_an_instance_may_be(url: str, allow: list[str] | None, accepted: bool) -> None:
    assert (refusal(url, allow) is None) == accepted


NO_SERVICE = [
    "169.254.0.1",
    "169.254.169.254",  # AWS, Azure, Google, and most others
    "169.254.170.2",  # credentials of an ECS task
    "[fe80::1]",
    "[febf:ffff::1]",
    "[fd00:ec2::254]",  # AWS
    "[fd00:ec2::23]",
    "[fd20:ce::254]",  # Google
    "[fd00:42::42]",  # Scaleway
    "100.100.100.200",  # Alibaba
    "192.0.0.192",  # Oracle
    "168.63.129.16",  # Azure
    "metadata.google.internal",
    "METADATA.Google.internal",
    "metadata.google.internal.",
    "metadata.goog",
    "instance-data.ec2.internal",
    "0.0.0.0",
    "0.1.2.3",
    "[::]",
    "224.0.0.1",
    "[ff02::1]",
    "255.255.255.255",
    "169.254.169.254.",
    "[::FFFF:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::a9fe:a9fe]",  # IPv4-compatible, RFC 4291
    "[::ffff:0:a9fe:a9fe]",  # IPv4-translated, RFC 2765
    "[64:ff9b::a9fe:a9fe]",  # NAT64, RFC 6052
    "[64:ff9b::168.63.129.16]",
    "[64:ff9b:1::a9fe:a9fe]",  # NAT64 of one's own, RFC 8215
    "[64:ff9b:1:a9fe:a9:fe00::]",  # the same as a /48, with the octet in the middle that is left out
    "[2002:a9fe:a9fe::]",  # 6to4, RFC 3056
    "[2002:a9fe:a9fe::1]",
    "[2001:0:a9fe:a9fe::1]",  # Teredo, RFC 4380: its server, and its client
    "[2001:0:102:304:0:0:5601:5601]",
    "[2001:db8::5efe:a9fe:a9fe]",  # ISATAP, RFC 5214
    "[2001:db8::200:5efe:a9fe:a9fe]",
]


@pytest.mark.parametrize("host", NO_SERVICE)
def test_addresses_at_which_there_is_no_service(host: str) -> None:
    """A network that happens to hold one does not permit it: it has to be named."""
    url = instance_url(f"http://{host}:80")
    everywhere = ("0.0.0.0/0", "::/0", "*.internal", "*.google.internal", "*.goog")
    for allow in (None, everywhere, ("169.0.0.0/8", "fe00::/8", "100.64.0.0/10", "2001:db8::/32")):
        assert refusal(url, allow) is not None


@pytest.mark.parametrize(
    ("host", "allow"),
    [
        ("169.254.169.254", ["169.254.169.254"]),
        ("169.254.7.8", ["169.254.0.0/16"]),
        ("169.254.7.8", ["169.254.7.0/24", "10.0.0.0/8"]),
        ("169.254.169.254.", ["169.254.169.254"]),
        ("[::ffff:169.254.169.254]", ["169.254.169.254"]),
        ("[64:ff9b::a9fe:a9fe]", ["64:ff9b::/96", "169.254.169.254"]),
        ("[fe80::1]", ["fe80::/64"]),
        ("[fd00:ec2::254]", ["fd00:ec2::254"]),
        ("100.100.100.200", ["100.100.100.200"]),
        ("metadata.google.internal", ["metadata.google.internal"]),
        ("metadata.google.internal.", ["Metadata.google.internal"]),
        ("0.0.0.0", ["0.0.0.0"]),
    ],
)
def test_they_may_be_allowed_by_name(host: str, allow: list[str]) -> None:
    origins = DiscoverSettings.model_validate({"source": "admin", "allow": allow}).allow
    url = instance_url(f"http://{host}:80")
    assert refusal(url, None) is not None
    assert refusal(url, origins) is None


@pytest.mark.parametrize(
    ("host", "allow"),
    [
        ("169.254.169.254", ["169.254.7.0/24"]),
        ("[64:ff9b::a9fe:a9fe]", ["169.254.169.254"]),
        ("[64:ff9b::a9fe:a9fe]", ["64:ff9b::/96"]),
        ("metadata.google.internal", ["169.254.169.254"]),
    ],
)
def test_another_name_does_not_allow_them(host: str, allow: list[str]) -> None:
    origins = DiscoverSettings.model_validate({"source": "admin", "allow": allow}).allow
    assert refusal(instance_url(f"http://{host}:80"), origins) is not None


@pytest.mark.parametrize(
    "host",
    ["10.1.2.3", "127.0.0.1", "[::1]", "100.100.100.201", "168.63.129.17", "[2001:db8::1]", "[fd00:1::254]",
     "google.internal", "metadata", "[2002:a01:203::1]", "[64:ff9b::a01:203]", "[64:ff9b:1::a01:203]",
     "[2001:db8::5eff:a9fe:a9fe]", "1.169.254.169.example"],
)  # fmt: skip
def test_addresses_at_which_a_service_may_be(host: str) -> None:
    assert refusal(instance_url(f"http://{host}:80"), None) is None


@pytest.mark.parametrize(
    "host",
    ["2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376", "025177524776", "169.254.43518",
     "169.16689662", "169.254.0xa9fe", "0x", "169.254.169.254..", "127.1", "127.0.0.1.0x1."],
)  # fmt: skip
@pytest.mark.parametrize("allow", [None, ["0.0.0.0/0", "169.254.0.0/16"]])
def test_other_notations_of_addresses_are_refused_whatever_they_mean(host: str, allow: list[str] | None) -> None:
    """What getaddrinfo and inet_aton read as an address."""
    try:
        objection = refusal(instance_url(f"http://{host}:80"), allow)
    except ValueError as error:
        objection = str(error)
    assert objection == "the host is not a name or an address"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {discover: redis}}", "services.a.discover: needs a Redis"),
        ("discover: redis", "discover: needs a Redis"),
        ("discover: {source: admin, path: /x}", "discover.path: {name} has"),
        ("discover: {source: admin, allow: [10.0.0.1/8]}", "discover.allow[0]: the address has bits"),
        ("discover: {source: admin, service: {url: http://h}}", "discover.service.url: unknown key"),
        (
            "discover: {source: admin, service: {policies: {auth: {jwt: {}}}}}",
            "discover.service.policies.auth.jwt: jwt",
        ),
    ],
)
def test_what_is_refused(report: Report, text: str, message: str) -> None:
    (line,) = report(text)
    assert message in line


def test_services_that_are_found_survive_dumping(load: Load) -> None:
    config = load("services: {a: {url: http://h}}\ndiscover: {source: admin, path: '/x/{name}/y'}")
    admitted = config.admitting(["b", "a", "c"])
    there = load_dumped(dump_config(admitted))
    assert there.admitted == admitted.admitted == ("b", "c"), "what is written wins"
    assert [route.path for route in there.all_routes] == ["/x/b/y", "/x/c/y", "/api/a"]
    assert there.all_routes == admitted.all_routes
    assert [route.path for route in there.admitting(["c"]).all_routes] == ["/x/c/y", "/api/a"]


def test_which_instances_serve_which_version(load: Load) -> None:
    written = "{discover: redis, url: http://own, versions: {v1: {}, v2: {url: http://two}}}"
    service = load(REDIS + f"services: {{a: {written}}}").services["a"]
    found = [Found("http://own", 9), Found("http://any"), Found("http://1", 2, "v1"), Found("http://2", 1, "v2")]

    def members(version: str | None) -> list[tuple[str, int]]:
        return [(each.url, each.weight) for each in service.upstream(version, found).instances]

    assert members(None) == [("http://own", 1), ("http://any", 1)]
    assert members("v1") == [("http://own", 1), ("http://any", 1), ("http://1", 2)]
    assert members("v2") == [("http://two", 1), ("http://2", 1)]


@pytest.mark.parametrize(
    ("written", "directory"),
    [
        ("redis", "redis"),
        ("kubernetes", "kubernetes"),
        ("{kubernetes: {}}", "kubernetes"),
        ("{kubernetes: }", "kubernetes"),
        ("{kubernetes: orders, allow: [10.0.0.0/8]}", "kubernetes"),
        ('{kubernetes: {service: orders, namespace: shop, port: "8000", scheme: https}}', "kubernetes"),
        ("{dns: {name: _http._tcp.orders.internal, type: srv}}", "dns"),
        ("{dns: {name: orders.internal, port: 8000}}", "dns"),
        ("{dns: {name: orders.internal, port: 8000, server: '[fd00::10]:5353'}}", "dns"),
    ],
)
def test_where_instances_are_found(load: Load, written: str, directory: str) -> None:
    config = load(REDIS + f"services: {{a: {{discover: {written}}}}}")
    again = load_dumped(dump_config(config))
    for each in (config, again):
        settings = each.discovery("a")
        assert settings is not None
        assert settings.directory == directory
        assert each.directories == {directory}
        if settings.kubernetes is not None and settings.kubernetes.port is not None:
            assert settings.kubernetes.port == 8000


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{kubernetes: {service: Orders}}", "small letters"),
        ("{kubernetes: shop/orders}", "its namespace is written beside it"),
        ("{kubernetes: {port: 0}}", "a number from 1 to 65535"),
        ("{kubernetes: {port: true}}", "the name of a port"),
        ("{kubernetes: {}, source: redis}", "not source and kubernetes"),
        ("{allow: [10.0.0.0/8]}", "and has none"),
        ("{dns: orders.internal}", "write {name: orders.internal, port: 8000}, or type: SRV"),
        ("{dns: 'orders.internal:8000'}", "its port is written beside it"),
        ("{dns: {name: orders.internal, type: SRV, port: 80}}", "leave port out"),
        ("{dns: {name: a, port: 80, server: ns.internal}}", "the address of a name server"),
        ("{dns: {name: http://orders, port: 80}}", "expected a name such as"),
        ("{dns: {name: a, type: MX, port: 80}}", "SRV"),
        ("{kubernetes: {servce: orders}}", "service"),
        ("kubernets", "redis, admin, kubernetes"),
    ],
)
def test_where_instances_cannot_be_found(report: Report, written: str, said: str) -> None:
    assert said in "".join(report(REDIS + f"services: {{a: {{discover: {written}}}}}"))


@pytest.mark.parametrize("url", ["api.internal", "ftp://api", "https://", "https://user@api", "https://api?x"])
def test_an_address_that_is_no_api_server(report: Report, url: str) -> None:
    said = "".join(report(f"gateway: {{kubernetes: {{url: '{url}'}}}}\nservices: {{a: {{url: http://h}}}}"))
    assert "https://HOST:PORT" in said
