"""Who the client is said to be: believed from trusted proxies, dropped from everybody else."""

from __future__ import annotations

import ipaddress

import pytest

from portico.core.exchange import Client
from portico.core.fields import PASSES, REPORTED, REQUEST_DROP, RESPONSE_DROP, passing
from portico.core.messages import Fields
from portico.proxy.headers.forwarded import (
    _NETWORKS,
    Network,
    Peer,
    _judges,
    believed_lines,
    believed_request_id,
    believed_trace_id,
    client_behind,
)

NETWORKS: list[Network] = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


def fields(*lines: str) -> Fields:
    return Fields([line.partition(":")[0].lower().encode() for line in lines], [line.encode() for line in lines])


def peer(address: str = "10.0.0.1", networks: list[Network] = NETWORKS, secure: bool = False) -> Peer:
    return Peer(Client(address, 8000, secure), networks)


@pytest.mark.parametrize(
    "name",
    [
        *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix"),
        *("X-Real-IP", "Forwarded", "X-Request-ID", "traceparent", "tracestate"),
        *("X-Consumer-Username", "X-Consumer-Scopes"),
        *("X-Forwarded-Client-Cert", "Client-Cert", "Client-Cert-Chain", "X-Client-Cert-DN", "X-SSL-Client-S-DN"),
        *("X-SSL-Client-Cert", "X-SSL-Client-Verify", "X_Forwarded_Client-Cert", "Client_Cert", "X_SSL_Client_S_DN"),
        *("x_forwarded_for", "X-Forwarded_For", "X_Forwarded-For", "X_Real_IP", "X_Real-IP", "x_request_id"),
        *("X_Consumer_Username", "X-Consumer_Username", "X_Consumer-Scopes"),
        *("Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer", "Upgrade", "Expect"),
        *("Transfer-Encoding", "Content-Length", "Host", "Transfer_Encoding", "Content_Length", "Proxy_Connection"),
    ],
)
def test_what_a_client_may_not_say_is_dropped(name: str) -> None:
    assert fields(f"{name}: spoofed", "Accept: */*").without(REQUEST_DROP) == [b"Accept: */*"]
    assert not PASSES(name.lower().encode())
    assert not REPORTED(name.lower().encode())
    assert not passing([b"x-forwarded-user"])(name.lower().encode())


@pytest.mark.parametrize("name", ["X-Consumer-ID", "X-Consumer-Custom-ID", "X-Consumer-Groups", "X-Consumer-Anything"])
@pytest.mark.parametrize("spelt", ["{}", "X_{rest}", "{under}", "{dot}"])
def test_whatever_is_said_of_a_consumer_is_the_gateways_own(name: str, spelt: str) -> None:
    written = spelt.format(name, rest=name[2:], under=name.replace("-", "_"), dot=name.replace("-", "."))
    assert not PASSES(written.lower().encode())
    assert not REPORTED(written.lower().encode()), "also where a trusted proxy says it"


@pytest.mark.parametrize(
    "name",
    [
        *("X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username"),
        *("X-Forwarded-Access-Token", "X_Forwarded_User", "X-Forwarded_User", "x.forwarded.user", "X-Forwarded-Any"),
        *("X-Auth-Request-User", "X-Auth-Request-Email", "X_Auth_Request_User", "X-Auth_Request-Any"),
        *("Remote-User", "REMOTE_USER", "Remote-Groups", "Remote-Email", "Remote-Name", "X-Remote-User"),
        *(
            "X-Remote-Extra-Scope",
            "X_Remote_Group",
            "X-WebAuth-User",
            "X-Authenticated-UserId",
            "X-Credential-Username",
        ),
        *("X-Script-Name", "X_SCRIPT_NAME", "X-Original-URL", "X-Rewrite-URL", "X-Vhm-Root"),
    ],
)
def test_users_are_reported_by_trusted_proxies_alone(name: str) -> None:
    written = name.lower().encode()
    assert not PASSES(written)
    assert REPORTED(written)
    allowed = passing([written])
    assert allowed(written)
    assert not allowed(b"x-forwarded-user-other")


@pytest.mark.parametrize(
    "name", ["Proxy", "proxy", "PROXY", "SCRIPT_NAME", "Script-Name", "script.name", "PATH_INFO", "Path-Info"]
)
def test_no_client_sets_variables_of_cgi(name: str) -> None:
    assert not PASSES(name.lower().encode())
    assert not REPORTED(name.lower().encode())


def test_memory_for_names_has_a_bound() -> None:
    answers = passing()
    for number in range(20_000):
        assert answers(b"x-%d" % number)
    assert not answers(b"x-consumer-" + b"x" * 4096)
    kept: dict[bytes, bool] = answers.__self__  # type: ignore[attr-defined]
    assert len(kept) <= 4096
    assert max(map(len, kept)) <= 128


@pytest.mark.parametrize(
    "name",
    [
        "Remote",
        "X-Remote",
        "Proxy-Status",
        "Proxies",
        "X-User",
        "X-Auth-Token",
        "Accept",
        "Authorization",
        "Cookie",
        "User-Agent",
        "Origin",
        "X-Forward",
        "X-Consumer",
        "Content-Type",
        "Via",
    ],
)
def test_what_a_client_may_say_is_kept(name: str) -> None:
    line = f"{name}: value"
    assert fields(line).without(REQUEST_DROP) == [line.encode()]
    assert PASSES(name.lower().encode())


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        *((name, False) for name in ("Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "X-Request-ID")),
        *((name, True) for name in ("Content-Length", "Set-Cookie", "ETag", "Server", "WWW-Authenticate", "Date")),
    ],
)
def test_what_a_service_says(name: str, kept: bool) -> None:
    assert bool(fields(f"{name}: x").without(RESPONSE_DROP)) == kept


@pytest.mark.parametrize(
    ("address", "networks", "trusted"),
    [
        ("10.1.2.3", NETWORKS, True),
        ("11.1.2.3", NETWORKS, False),
        ("fd00::1", NETWORKS, True),
        ("fd00::1%eth0", NETWORKS, True),
        ("2001:db8::1", NETWORKS, False),
        ("", NETWORKS, False),
        ("10.1.2.3", [], False),
    ],
)
def test_trusted_peers(address: str, networks: list[Network], trusted: bool) -> None:
    assert peer(address, networks).trusted == trusted


@pytest.mark.parametrize(
    ("secure", "proto"), [(False, b"X-Forwarded-Proto: http"), (True, b"X-Forwarded-Proto: https")]
)
def test_fields_for_a_client_without_a_proxy(secure: bool, proto: bytes) -> None:
    assert peer("192.0.2.7", [], secure).lines.split(b"\r\n") == [
        b"X-Forwarded-For: 192.0.2.7",
        b"X-Real-IP: 192.0.2.7",
        proto,
        b"X-Forwarded-Port: 8000",
    ]


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], "10.0.0.1"),
        (["X-Forwarded-For:"], "10.0.0.1"),
        (["X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        (["X-Forwarded-For: 6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (["X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (["X-Forwarded-For: 10.9.9.9, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (["X-Forwarded-For: 10.0.0.3,10.0.0.2"], "10.0.0.3"),
        (["X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 192.0.2.1"], "192.0.2.1"),
        (["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.2"], "192.0.2.1"),
        (["X-Forwarded-For: 192.0.2.1, nonsense, 10.0.0.2"], "10.0.0.2"),
        (["X-Forwarded-For: unknown"], "10.0.0.1"),
        (["X-Forwarded-For: 192.0.2.1, "], "192.0.2.1"),
        (["X-Forwarded-For: 192.0.2.1,, 10.0.0.2 ,"], "192.0.2.1"),
        (["X-Forwarded-For: 2001:DB8:0:0::1"], "2001:db8::1"),
        (["X-Forwarded-For: 2001:db8::1, fd00::2"], "2001:db8::1"),
        (["X-Forwarded-For: 192.0.2.1\u00b2"], "10.0.0.1"),
        (["X-Forwarded-For: ::ffff:192.0.2.9"], "192.0.2.9"),
        (["X-Forwarded-For: 192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(lines: list[str], client: str) -> None:
    assert client_behind(fields(*lines), peer(), NETWORKS) == client


def believed(*lines: str, prefix: bytes = b"") -> dict[str, str]:
    sent = believed_lines(fields(*lines), peer(), "192.0.2.1", b"own.example", prefix)
    assert len({line.partition(b":")[0].lower() for line in sent}) == len(sent)
    return {name: value for name, _, value in (line.decode().partition(": ") for line in sent)}


def test_the_port_belongs_to_the_scheme_that_a_proxy_reports() -> None:
    sent = believed("X-Forwarded-Proto: https", "X-Forwarded-Host: outer.example:8443")
    assert sent["X-Forwarded-Port"] == "8443"
    sent = believed("X-Forwarded-Proto: https", "X-Forwarded-Host: outer.example:8443", "X-Forwarded-Port: 9443")
    assert sent["X-Forwarded-Port"] == "9443"


def test_a_proxy_that_sends_no_forwarding_fields_is_reported_as_the_client() -> None:
    assert believed() == {
        "X-Forwarded-For": "10.0.0.1",
        "X-Real-IP": "192.0.2.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Port": "8000",
        "X-Forwarded-Host": "own.example",
    }


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("X-Forwarded-For: 1.1.1.1, 192.0.2.1", "X-Forwarded-For", "1.1.1.1, 192.0.2.1, 10.0.0.1"),
        ("X-Forwarded-Proto: https", "X-Forwarded-Proto", "https"),
        ("X-Forwarded-Proto: gopher", "X-Forwarded-Proto", "http"),
        ("X-Forwarded-Port: 443", "X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto: HTTPS", "X-Forwarded-Proto", "https"),
        ("X-Forwarded-Proto: wss", "X-Forwarded-Proto", "https"),
        ("X-Forwarded-Proto: WS", "X-Forwarded-Proto", "http"),
        ("X-Forwarded-Proto: https, http", "X-Forwarded-Proto", "https"),
        ("X-Forwarded-Proto: https,http", "X-Forwarded-Proto", "https"),
        ("X-Forwarded-Proto: , https", "X-Forwarded-Proto", "https"),
        ("X-Forwarded-Proto: gopher, https", "X-Forwarded-Proto", "http"),
        ("X-Forwarded-Port: 443, 80", "X-Forwarded-Port", "443"),
        ("X-Forwarded-Port: 99999", "X-Forwarded-Port", "8000"),
        ("X-Forwarded-Port: 65536", "X-Forwarded-Port", "8000"),
        ("X-Forwarded-Port: 65535", "X-Forwarded-Port", "65535"),
        ("X-Forwarded-Port: 0", "X-Forwarded-Port", "8000"),
        ("X-Forwarded-Port: -1", "X-Forwarded-Port", "8000"),
        ("X-Forwarded-Host: a.example, b.internal", "X-Forwarded-Host", "a.example"),
        ("X-Forwarded-Host: [2001:db8::1]:8443, b", "X-Forwarded-Host", "[2001:db8::1]:8443"),
        ("X-Forwarded-Host: a.example:99999", "X-Forwarded-Host", "own.example"),
        ("X-Forwarded-Host: a.example:", "X-Forwarded-Host", "own.example"),
        ("X-Forwarded-Host: a:b:c", "X-Forwarded-Host", "own.example"),
        ("X-Forwarded-Host: outer.example:443", "X-Forwarded-Host", "outer.example:443"),
        ("X-Forwarded-Host: <script>", "X-Forwarded-Host", "own.example"),
        ("X-Forwarded-Prefix: /outer", "X-Forwarded-Prefix", "/outer/inner"),
        ("X-Forwarded-Prefix: /outer/", "X-Forwarded-Prefix", "/outer/inner"),
        ("X-Forwarded-Prefix: /a, /b", "X-Forwarded-Prefix", "/a/inner"),
        ("X-Forwarded-Prefix: /", "X-Forwarded-Prefix", "/inner"),
        ("X-Forwarded-Prefix: //evil.example", "X-Forwarded-Prefix", "/inner"),
        ("X-Forwarded-Prefix: outer", "X-Forwarded-Prefix", "/inner"),
        ("X-Forwarded-Prefix: /caf%C3%A9/a:b@c+d", "X-Forwarded-Prefix", "/caf%C3%A9/a:b@c+d/inner"),
        ("X-Forwarded-Prefix: /a/../b", "X-Forwarded-Prefix", "/inner"),
        ("X-Forwarded-Prefix: /a/.", "X-Forwarded-Prefix", "/inner"),
        ("X-Forwarded-Prefix: /a/...", "X-Forwarded-Prefix", "/a/.../inner"),
        ("X-Forwarded-Prefix: /a%0d", "X-Forwarded-Prefix", "/inner"),
        ("X-Forwarded-Proto: https", "X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto: http", "X-Forwarded-Port", "80"),
    ],
)
def test_what_a_proxy_says_is_kept_where_it_makes_sense(line: str, name: str, value: str) -> None:
    assert believed(line, prefix=b"/inner")[name] == value


@pytest.mark.parametrize(
    ("name", "values", "value"),
    [
        ("X-Forwarded-Proto", ["https", "http"], "https"),
        ("X-Forwarded-Proto", ["https", "https"], "https"),
        ("X-Forwarded-Port", ["443", "80"], "443"),
        ("X-Forwarded-Host", ["outer.example", "inner.example"], "outer.example"),
        ("X-Forwarded-Prefix", ["/outer", "/between"], "/outer/inner"),
    ],
)
def test_several_lines_are_one_list(name: str, values: list[str], value: str) -> None:
    assert believed(*(f"{name}: {each}" for each in values), prefix=b"/inner")[name] == value


def test_a_certificate_that_a_proxy_saw_is_passed_on_where_this_hop_saw_none() -> None:
    lines = ("X-Forwarded-Client-Cert: Hash=1", 'X-Forwarded-Client-Cert: Hash=2;Subject="CN=b"')
    sent = believed_lines(fields(*lines), peer(), "192.0.2.1", b"own.example", b"")
    assert [line.decode() for line in sent if b"Client-Cert" in line] == list(lines)
    own = Peer(Client("10.0.0.1", 8000, True, b"not even a certificate"), NETWORKS)
    sent = believed_lines(fields(*lines), own, "192.0.2.1", b"own.example", b"")
    (line,) = [line for line in sent if b"Client-Cert" in line]
    assert line.startswith(b"X-Forwarded-Client-Cert: Hash=")
    assert len(line) == 30 + 64


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("lines", "ids"),
    [
        ([], (None, None)),
        (["X-Request-ID: abc-123"], ("abc-123", None)),
        (["X-Request-ID: a b"], (None, None)),
        (["X-Request-ID: " + "a" * 129], (None, None)),
        (['X-Request-ID: "}'], (None, None)),
        ([f"traceparent: 00-{TRACE}-b7ad6b7169203331-01"], (None, TRACE)),
        ([f"traceparent: 00-{TRACE.upper()}-b7ad6b7169203331-01"], (None, None)),
        ([f"traceparent: 00-{'0' * 32}-b7ad6b7169203331-01"], (None, None)),
        (["traceparent: nonsense"], (None, None)),
        ([f"traceparent: 00-{TRACE}-{'0' * 16}-01"], (None, None)),
        ([f"traceparent: 00-{TRACE}-b7ad6b7169203331-01-more"], (None, None)),
        ([f"traceparent: 01-{TRACE}-b7ad6b7169203331-01-more"], (None, TRACE)),
        ([f"traceparent: cc-{TRACE}-b7ad6b7169203331-01"], (None, TRACE)),
        ([f"traceparent: ff-{TRACE}-b7ad6b7169203331-01"], (None, None)),
        (["X-Request-ID: a", "X-Request-ID: b"], (None, None)),
        ([f"traceparent: 00-{TRACE}-b7ad6b7169203331-01"] * 2, (None, None)),
    ],
)
def test_ids(lines: list[str], ids: tuple[str | None, str | None]) -> None:
    assert (believed_request_id(fields(*lines)), believed_trace_id(fields(*lines))) == ids


@pytest.mark.parametrize("flags", ["00", "01", "03"])
def test_the_trace_of_a_proxy_goes_on_unchanged(flags: str) -> None:
    lines = (f"traceparent: 00-{TRACE}-b7ad6b7169203331-{flags}", "tracestate: a=1", "tracestate: b=2")
    sent = believed_lines(fields(*lines), peer(), "192.0.2.1", b"own.example", b"")
    assert [line.decode() for line in sent if line.startswith(b"trace")] == list(lines)


def test_what_is_remembered_of_addresses_is_of_these_networks_and_has_bounds() -> None:
    more: list[Network] = [*NETWORKS, ipaddress.ip_network("203.0.113.0/24")]
    said = fields("X-Forwarded-For: 1.2.3.4, 203.0.113.7")
    for _ in range(2):
        for networks, client in ((NETWORKS, "203.0.113.7"), (more, "1.2.3.4")):
            assert client_behind(said, peer(networks=networks), networks) == client
    for _ in range(3 * _NETWORKS):
        peer(networks=[*NETWORKS])
    assert len(_judges) <= _NETWORKS
    own = peer()
    remembered = own.judge.cache_info().currsize  # type: ignore[attr-defined]
    for entry in ("x" * 300, "10.0.0.2" + " " * 300 + "x"):
        assert client_behind(fields(f"X-Forwarded-For: {entry}"), own, NETWORKS) == "10.0.0.1"
    assert own.judge.cache_info().currsize == remembered  # type: ignore[attr-defined]


@pytest.mark.parametrize("prefix", ["/a", "/a" + "b" * 400])
def test_what_proxies_report_again_and_again_is_read_as_the_first_time(prefix: str) -> None:
    said = ("X-Forwarded-Proto: HTTPS", "X-Forwarded-Host: shop.example", "X-Forwarded-Port: 0")
    for _ in range(2):
        found = believed_lines(fields(*said, f"X-Forwarded-Prefix: {prefix}/"), peer(), "1.2.3.4", b"a", b"/p")
        assert found[2:] == [
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Port: 443",
            b"X-Forwarded-Host: shop.example",
            b"X-Forwarded-Prefix: " + prefix.encode() + b"/p",
        ]
