"""TLS on either side, with an authority made for the test."""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from support.authority import Authority, Leaf
from support.backend import Backend, content
from support.client import Wire, request
from support.world import Gateway, until


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> Leaf:
    return authority.leaf("own", "localhost", "api.test", "127.0.0.1")


def secured(gateway: Gateway, context: ssl.SSLContext, name: str | None = "localhost") -> Wire:
    """A connection to the gateway over TLS."""
    plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    return Wire(gateway.port, context.wrap_socket(plain, server_hostname=name))


def wait_for_control(gateway: Gateway, authority: Authority) -> None:
    """Until then a SIGHUP is nobody's."""
    with secured(gateway, authority.client_context()) as wire:
        until(lambda: wire.ask("GET", "/metrics").status == 200, "the control process answers")


def failed_handshakes(gateway: Gateway, context: ssl.SSLContext) -> float:
    with secured(gateway, context) as wire:
        page = wire.ask("GET", "/metrics").body.decode()
    found = [line for line in page.splitlines() if line.startswith("gateway_tls_handshake_failures_total ")]
    return float(found[0].split()[1]) if found else -1


def test_an_https_service(authority: Authority, leaf: Leaf) -> None:
    with Backend(tls=authority.server_context(leaf)) as backend:
        service = {"url": backend.url, "health_check": False}
        config = {
            "services": {
                "trusted": {**service, "tls": {"ca": str(authority.ca)}},
                "named": {**service, "tls": {"ca": str(authority.ca), "server_name": "api.test"}},
                "unchecked": {**service, "tls": {"verify": False}},
                "unknown": service,
                "misnamed": {**service, "tls": {"ca": str(authority.ca), "server_name": "other.test"}},
            }
        }
        with Gateway(config) as gateway:
            for name in ("trusted", "named", "unchecked"):
                assert gateway.get(f"/api/{name}/bytes/300000").body == content(300_000), name
                body = content(200_000)
                assert gateway.ask("POST", f"/api/{name}/echo", body=body).body == body, name
            for name in ("unknown", "misnamed"):
                answer = gateway.get(f"/api/{name}/x")
                assert (answer.status, answer.json()["reason"]) == (502, "upstream_tls"), name
        # the handshakes that were refused came to nothing
        assert {each.target.split("/")[1] for each in backend.requests} == {"bytes", "echo"}


def reported(gateway: Gateway, service: str) -> list[str]:
    """Why the service could not be reached, as the events say it."""
    return [
        event["error"]
        for event in gateway.events()
        if event["event"] == "instance cannot be reached" and event["service"] == service
    ]


def test_why_a_handshake_with_a_service_failed_is_an_event(authority: Authority, leaf: Leaf) -> None:
    expired = authority.server_context(authority.leaf("expired", "localhost", "127.0.0.1", days=-1))
    mutual_context = authority.server_context(leaf)
    mutual_context.load_verify_locations(authority.ca)
    mutual_context.verify_mode = ssl.CERT_REQUIRED
    causes = {
        "unknown": "its certificate is signed by an unknown authority",
        "misnamed": "its certificate does not fit: hostname mismatch, certificate is not valid for 'other.test'",
        "expired": "its certificate has expired",
        "asks": "it asks for a client certificate (tls.certificate, tls.key)",
        "plain": "it closed the connection",
    }
    with (
        Backend(tls=authority.server_context(leaf)) as good,
        Backend(tls=expired) as old,
        Backend(tls=mutual_context) as mutual,
        Backend() as plain,
    ):
        trusted: dict[str, Any] = {"health_check": False, "retries": 0, "tls": {"ca": str(authority.ca)}}
        services: dict[str, Any] = {
            "unknown": {"url": good.url, "health_check": False},
            "misnamed": {**trusted, "url": good.url, "tls": {**trusted["tls"], "server_name": "other.test"}},
            "expired": {**trusted, "url": old.url},
            "asks": {**trusted, "url": mutual.url},
            "plain": {**trusted, "url": plain.url.replace("http:", "https:")},
        }
        with Gateway({"services": services}) as gateway:
            for name, cause in causes.items():
                answer = gateway.get(f"/api/{name}/x")
                assert answer.status == 502
                until(lambda name=name: reported(gateway, name), cause)  # type: ignore[misc]
                assert reported(gateway, name)[0].endswith(f"failed: {cause}"), name
                assert cause not in answer.json()["detail"], "which is not the client's business"


def test_health_of_an_https_service(authority: Authority, leaf: Leaf) -> None:
    with Backend(tls=authority.server_context(leaf)) as backend:
        service = {"url": backend.url, "health_check": "/status/200"}
        config = {"services": {"good": {**service, "tls": {"ca": str(authority.ca)}}, "bad": service}}
        with Gateway(config) as gateway:
            gateway.wait_for_control()
            services = gateway.get("/health").json()["services"]
            assert services["good"]["status"] == "healthy"
            assert services["bad"]["status"] == "unhealthy"
            assert "certificate" in services["bad"]["error"].lower()


def test_tls_on_the_gateways_own_port(authority: Authority, leaf: Leaf, backend: Backend) -> None:
    with Gateway({"gateway": {"tls": leaf.written}, "services": {"echo": backend}}) as gateway:
        context = ssl.create_default_context(cafile=str(authority.ca))
        context.set_alpn_protocols(["h2", "http/1.1"])
        plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
        secure = context.wrap_socket(plain, server_hostname="localhost")
        assert secure.selected_alpn_protocol() == "http/1.1"
        with Wire(gateway.port, secure) as wire:
            fields = dict(wire.ask("GET", "/api/echo/x").json()["fields"])
            assert fields["X-Forwarded-Proto"] == "https"
            assert fields["X-Forwarded-For"] == "127.0.0.1"
            body = content(1_000_000)
            assert wire.ask("POST", "/api/echo/echo", body=body).body == body
            answer = wire.ask("GET", "/api/echo/bytes/3000000", "Connection: close")
            assert answer.body == content(3_000_000)
            assert wire.rest() == b""
        if shutil.which("curl"):
            command = ["curl", "-sS", "--noproxy", "*", "--cacert", str(authority.ca), "--max-time", "20"]
            url = f"https://localhost:{gateway.port}/api/echo/bytes/70000"
            done = subprocess.run([*command, "-4", url], capture_output=True, timeout=30, check=False)
            assert (done.returncode, done.stdout) == (0, content(70_000)), done.stderr


def test_a_refusal_over_tls_is_read_whole(authority: Authority, leaf: Leaf, backend: Backend) -> None:
    config = {"gateway": {"tls": leaf.written}, "services": {"echo": backend}}
    with Gateway(config) as gateway, secured(gateway, authority.client_context()) as wire:
        wire.send(request("POST", "/api/echo/echo", "Content-Length: 99999999") + b"x" * 1000)
        answer = wire.receive()
        assert (answer.status, answer.json()["reason"]) == (413, "body_too_large")
        assert wire.rest() == b""


# ---- sessions


def resumed(gateway: Gateway, context: ssl.SSLContext, session: ssl.SSLSession | None, times: int) -> tuple[int, Any]:
    """How many of so many connections, one after the other, resume the session of the one before; the last session."""
    count = 0
    for _ in range(times):
        plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
        secure = context.wrap_socket(plain, server_hostname="localhost", session=session)
        with Wire(gateway.port, secure) as wire:
            assert wire.ask("GET", "/livez").status == 200  # the ticket of TLS 1.3 comes with it
            count += bool(secure.session_reused)
            session = secure.session
    return count, session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_at_any_worker(authority: Authority, version: ssl.TLSVersion) -> None:
    leaf, other = authority.leaf("mine", "localhost"), authority.leaf("other", "other.test")
    config = {"gateway": {"workers": 2, "tls": {**leaf.written, "certificates": [other.written]}}}
    with Gateway(config) as gateway:
        wait_for_control(gateway, authority)
        context = authority.client_context()
        context.minimum_version = context.maximum_version = version
        count, session = resumed(gateway, context, None, 13)
        assert count == 12
        before = leaf.content().serial_number
        leaf.replace_by(authority.leaf("renewed", "localhost"))
        gateway.signal(signal.SIGHUP)
        until(lambda: {shown(gateway, authority) for _ in range(8)}.isdisjoint({before}), "both have the new one")
        count, session = resumed(gateway, context, session, 12)
        assert count == 12, "after a renewal too"
        old = set(gateway.workers())
        gateway.signal(signal.SIGUSR1)
        until(lambda: len(new := gateway.workers()) == 2 and old.isdisjoint(new), "all workers are replaced")
        assert resumed(gateway, context, session, 12)[0] == 12, "and at their successors"


def shown(gateway: Gateway, authority: Authority) -> int:
    """The serial number of the certificate that a new client gets."""
    plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    with authority.client_context().wrap_socket(plain, server_hostname="localhost") as secure:
        return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"").serial_number


# ---- what comes instead of a handshake


@pytest.mark.parametrize(
    "data", [request("GET", "/api/echo/x"), b"PROXY UNKNOWN\r\n", b"\x00", b"\x80\x2e\x01\x00\x02"]
)
def test_plain_http_on_the_tls_port_gets_a_400_that_says_so(authority: Authority, leaf: Leaf, data: bytes) -> None:
    with Gateway({"gateway": {"tls": leaf.written}}) as gateway:
        with gateway.wire() as wire:
            wire.send(data)
            answer = wire.receive()
            assert (answer.status, answer.json()["reason"]) == (400, "malformed_request")
            assert "TLS" in answer.json()["detail"]
            assert answer.get("connection") == "close"
            assert wire.rest() == b""
        line = gateway.logged(answer.get("x-request-id"))
        assert (line["status_code"], line["client_ip"]) == (400, "127.0.0.1")
        with secured(gateway, authority.client_context()) as wire:
            assert wire.ask("GET", "/livez").status == 200


def test_failed_handshakes_are_counted_and_logged(authority: Authority, leaf: Leaf) -> None:
    with Gateway({"gateway": {"tls": leaf.written, "log": {"level": "DEBUG"}}}) as gateway:
        wait_for_control(gateway, authority)
        assert failed_handshakes(gateway, authority.client_context()) == 0
        with gateway.wire() as wire:
            wire.send(b"\x16\x03\x01\x00\x20" + random.Random(1).randbytes(32))
            wire.rest()
        with pytest.raises(ssl.SSLError):
            secured(gateway, ssl.create_default_context())  # it does not believe the authority
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.set_ciphers("AES256-SHA:@SECLEVEL=0")  # no forward secrecy, no authenticated encryption
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secured(gateway, old)
        until(lambda: failed_handshakes(gateway, authority.client_context()) == 3, "all three are counted")
        reported = [event for event in gateway.events() if event["event"] == "a TLS handshake failed"]
        assert len(reported) == 3
        assert {event["client"] for event in reported} == {"127.0.0.1"}
        assert all(event["reason"] for event in reported)


def test_a_handshake_has_its_time(authority: Authority, leaf: Leaf) -> None:
    limits = {"header_timeout": "2s"}
    with Gateway({"gateway": {"tls": leaf.written, "limits": limits}}) as gateway:
        with gateway.wire() as silent, gateway.wire() as stalled:
            stalled.send(b"\x16\x03\x01")
            assert silent.rest() == stalled.rest() == b""
        with secured(gateway, authority.client_context()) as wire:
            assert wire.ask("GET", "/livez").status == 200


def test_stalled_handshakes_hold_up_nobody(authority: Authority, leaf: Leaf, backend: Backend) -> None:
    with Gateway({"gateway": {"tls": leaf.written}, "services": {"echo": backend}}) as gateway:
        stalled = [gateway.wire() for _ in range(200)]
        for number, wire in enumerate(stalled):
            wire.send(b"\x16\x03\x01"[: number % 4])
        for _ in range(5):
            with secured(gateway, authority.client_context()) as wire:
                assert wire.ask("GET", "/api/echo/x").status == 200
        for wire in stalled:
            wire.socket.close()
            wire.file.close()


def test_handshakes_count_towards_the_limit_of_connections(authority: Authority, leaf: Leaf) -> None:
    limits = {"connections": 3}
    with Gateway({"gateway": {"tls": leaf.written, "limits": limits}}) as gateway:
        with secured(gateway, authority.client_context()) as first, gateway.wire() as second, gateway.wire() as third:
            assert first.ask("GET", "/livez").status == 200
            second.send(b"\x16")
            third.send(b"\x16")

            def is_full() -> bool:
                with gateway.wire() as wire:
                    wire.send(b"\x16")
                    wire.socket.settimeout(0.3)
                    try:
                        return wire.rest() == b""
                    except TimeoutError:
                        return False

            until(is_full, "one more is closed at once")
            assert first.ask("GET", "/livez").status == 200
        assert any("connections are open" in event["event"] for event in gateway.events())

        def lets_in() -> bool:
            try:
                with secured(gateway, authority.client_context()) as wire:
                    return wire.ask("GET", "/livez").status == 200
            except OSError:
                return False

        until(lets_in, "there is room again")


# ---- versions


def test_versions(authority: Authority, leaf: Leaf) -> None:
    with Gateway({"gateway": {"tls": {**leaf.written, "min_version": 1.3}}}) as gateway:
        with secured(gateway, authority.client_context()) as wire:
            assert isinstance(wire.socket, ssl.SSLSocket)
            assert wire.socket.version() == "TLSv1.3"
        older = authority.client_context()
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secured(gateway, older)
        gateway.write({"gateway": {"tls": leaf.written}})
        wait_for_control(gateway, authority)
        gateway.signal(signal.SIGHUP)

        def gets_older() -> bool:
            try:
                with secured(gateway, older) as wire:
                    assert isinstance(wire.socket, ssl.SSLSocket)
                    cipher = wire.socket.cipher()
                    assert cipher is not None
                    assert cipher[0].startswith("ECDHE-")
                    assert wire.socket.compression() is None
                    return wire.ask("GET", "/livez").status == 200
            except OSError:
                return False

        until(gets_older, "the changed section is in use")


def test_a_stalled_handshake_does_not_hold_up_the_end(authority: Authority, leaf: Leaf) -> None:
    limits = {"header_timeout": "1h", "drain_timeout": "1h"}
    with Gateway({"gateway": {"tls": leaf.written, "limits": limits}}) as gateway, gateway.wire() as wire:
        wire.send(b"\x16\x03")
        with secured(gateway, authority.client_context()) as other:
            assert other.ask("GET", "/livez").status == 200
        gateway.stop()
        assert wire.rest() == b""


# ---- clients' certificates


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("required", [True, False])
def test_certificates_of_clients(
    authority: Authority, leaf: Leaf, backend: Backend, tmp_path: Path, version: ssl.TLSVersion, required: bool
) -> None:
    clients, unknown = Authority(tmp_path / "clients", "Clients"), Authority(tmp_path / "unknown", "Strangers")
    alice = clients.leaf("alice", "a.test", common_name='Al"ice', uris=["spiffe://test/alice"])
    mallory, late = unknown.leaf("mallory", common_name="alice"), clients.leaf("late", days=-1)
    tls = {**leaf.written, "client_certificates": {"ca": str(clients.ca), "required": required}}
    spoofed = ("X-Forwarded-Client-Cert: Subject=root", "Client-Cert: :eA==:", "X_SSL_Client_Verify: SUCCESS")

    def ask(gateway: Gateway, own: Leaf | None) -> dict[str, str] | None:
        context = authority.client_context(own)
        context.minimum_version = context.maximum_version = version
        try:
            with secured(gateway, context) as wire:
                fields: dict[str, str] = dict(wire.ask("GET", "/api/echo/x", *spoofed).json()["fields"])
                wire.ask("GET", "/api/echo/x")
                return fields
        except Exception:
            return None

    with Gateway({"gateway": {"tls": tls}, "services": {"echo": backend}}) as gateway:
        fields = ask(gateway, alice)
        assert fields is not None
        der = ssl.PEM_cert_to_DER_cert(alice.certificate.read_text())
        assert fields["X-Forwarded-Client-Cert"] == (
            f'Hash={hashlib.sha256(der).hexdigest()};Subject="CN=Al\\\\\\"ice";URI=spiffe://test/alice;DNS=a.test'
        )
        assert not {name for name in fields if name.lower().replace("_", "-") in ("client-cert", "x-ssl-client-verify")}
        seen = len(backend.requests)
        assert ask(gateway, mallory) is None
        assert ask(gateway, late) is None
        nobody = ask(gateway, None)
        assert (nobody is None) == required
        if nobody is not None:
            assert not [name for name in nobody if "cert" in name.lower()]
        assert len(backend.requests) == seen + (0 if required else 2), "nothing of a refused client reaches a service"


def test_a_proxys_word_about_a_certificate(backend: Backend) -> None:
    line = 'X-Forwarded-Client-Cert: Hash=00;Subject="CN=b"'
    for trusted, expected in (["127.0.0.1/32"], [line.partition(": ")[2]]), ([], []):
        with Gateway({"gateway": {"trusted_proxies": trusted}, "services": {"echo": backend}}) as gateway:
            fields = gateway.get("/api/echo/x", line).json()["fields"]
            assert [value for name, value in fields if name == "X-Forwarded-Client-Cert"] == expected


# ---- names


def asked_for(gateway: Gateway, authority: Authority, name: str | None) -> list[str]:
    """The DNS names of the certificate that a client gets for `name`."""
    context = authority.client_context()
    context.check_hostname = False
    with secured(gateway, context, name) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        found = wire.socket.getpeercert()
        assert wire.ask("GET", "/livez").status == 200
    assert found is not None
    alternatives: Any = found.get("subjectAltName", ())
    return [str(value) for kind, value in alternatives if kind == "DNS"] or [str(found["subject"])]


def test_certificates_by_name(authority: Authority, leaf: Leaf) -> None:
    wild = authority.leaf("wild", "*.shop.test", "127.0.0.2")
    exact = authority.leaf("exact", "One.Shop.test", "other.test")
    old = authority.leaf("old", common_name="common.test")
    with_names = authority.leaf("with-names", "named.test", common_name="unnamed.test")
    more = [wild.written, exact.written, old.written, with_names.written]
    default = ["localhost", "api.test"]
    with Gateway({"gateway": {"tls": {**leaf.written, "certificates": more}}}) as gateway:
        for name, expected in {
            None: default,
            "api.test": default,
            "unknown.test": default,
            "shop.test": default,
            "a.shop.test": ["*.shop.test"],
            "A.Shop.TEST": ["*.shop.test"],
            "a.b.shop.test": default,
            "*.shop.test": ["*.shop.test"],
            "one.shop.test": ["One.Shop.test", "other.test"],
            "other.test": ["One.Shop.test", "other.test"],
            "common.test": ["((('commonName', 'common.test'),),)"],
            "named.test": ["named.test"],
            "unnamed.test": default,
            "test": default,
            "a" * 63 + ".test": default,
        }.items():
            assert asked_for(gateway, authority, name) == expected, name


def test_odd_names(authority: Authority, leaf: Leaf) -> None:
    """A name that is no name harms its own handshake at most, and writes nothing into the log."""
    other = authority.leaf("other", "other.test")
    context = authority.client_context()
    hello, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(hello, out, server_hostname="xxxxxxxxxxxx").do_handshake()
    said = out.read()
    names = [
        b"\xff\xfe\xfd",
        b"\r\n\r\n\x00",
        b"\x00" * 12,
        b"a..b....c.",
        b"............",
        b"*.other.test",
        b"*",
        b"\xc3\xa9",
    ]
    with Gateway({"gateway": {"tls": {**leaf.written, "certificates": [other.written]}}}) as gateway:
        for name in names:
            with gateway.wire() as wire:
                wire.send(said.replace(b"x" * 12, name.ljust(12, b"y")))
                wire.socket.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    wire.rest()
        assert asked_for(gateway, authority, "other.test") == ["other.test"]


# ---- renewal


def serial_of(gateway: Gateway, authority: Authority, name: str) -> int:
    """The serial number of the certificate that a new connection gets."""
    context = authority.client_context()
    context.check_hostname = False
    with secured(gateway, context, name) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        found = wire.socket.getpeercert()
    assert found is not None
    return int(str(found["serialNumber"]), 16)


@pytest.mark.parametrize("workers", [1, 2])
def test_renewed_files_are_taken_over(authority: Authority, backend: Backend, workers: int) -> None:
    own = authority.leaf(f"renewed-{workers}", "localhost")
    other = authority.leaf(f"renewed-other-{workers}", "other.test")
    tls = {**own.written, "certificates": [other.written]}
    config = {"gateway": {"tls": tls, "workers": workers}, "services": {"echo": backend}}
    with Gateway(config) as gateway, secured(gateway, authority.client_context()) as running:
        assert running.ask("GET", "/api/echo/x").status == 200
        before = own.content().serial_number, other.content().serial_number
        assert (serial_of(gateway, authority, "localhost"), serial_of(gateway, authority, "other.test")) == before
        own.replace_by(authority.leaf("fresh", "localhost"))
        until(
            lambda: all(serial_of(gateway, authority, "localhost") == own.content().serial_number for _ in range(8)),
            "every worker has the new certificate",
        )
        assert serial_of(gateway, authority, "other.test") == before[1]
        other.replace_by(authority.leaf("fresh-too", "other.test"))
        gateway.signal(signal.SIGHUP)
        until(lambda: serial_of(gateway, authority, "other.test") == other.content().serial_number, "so has SNI")
        assert running.ask("GET", "/api/echo/x").status == 200, "a connection goes on with what it began with"
        assert own.content().serial_number != before[0]


def test_files_that_cannot_be_used_change_nothing(authority: Authority) -> None:
    own = authority.leaf("broken", "localhost")
    fresh = authority.leaf("broken-next", "localhost")
    old = own.content().serial_number
    with Gateway({"gateway": {"tls": own.written}}) as gateway:
        gateway.clean = False

        def complaints() -> list[str]:
            return [event["reason"] for event in gateway.events() if "cannot be used" in event["event"]]

        for count, (path, content, reason) in enumerate(
            [
                (own.certificate, fresh.certificate.read_bytes(), "not the key of the certificate"),
                (own.certificate, fresh.certificate.read_bytes()[:200], "no certificate in PEM form"),
                (own.certificate, b"", "no certificate in PEM form"),
                (own.key, b"rubbish", ""),
            ],
            1,
        ):
            path.write_bytes(content)
            until(lambda count=count: len(complaints()) == count, reason)  # type: ignore[misc]
            assert reason in complaints()[-1]
            assert str(own.certificate) in complaints()[-1] or str(own.key) in complaints()[-1]
            assert serial_of(gateway, authority, "localhost") == old
        own.certificate.unlink()
        until(lambda: len(complaints()) == 5, "the file is gone")
        assert "No such file" in complaints()[-1]
        own.replace_by(fresh)
        until(lambda: serial_of(gateway, authority, "localhost") == fresh.content().serial_number, "whole again")
        assert len(complaints()) <= 6, "each state is complained of once"


def test_another_section_takes_effect_with_sighup(authority: Authority, leaf: Leaf) -> None:
    more = authority.leaf("more", "more.test")
    with Gateway({"gateway": {"tls": leaf.written}}) as gateway:
        assert asked_for(gateway, authority, "more.test") == ["localhost", "api.test"]
        wait_for_control(gateway, authority)
        gateway.write({"gateway": {"tls": {**leaf.written, "certificates": [more.written]}}})
        gateway.signal(signal.SIGHUP)
        until(lambda: asked_for(gateway, authority, "more.test") == ["more.test"], "the section is in use")
        gateway.write({"gateway": {"tls": {**leaf.written, "client_certificates": {"ca": str(authority.ca)}}}})
        gateway.signal(signal.SIGHUP)

        def is_refused() -> bool:
            try:
                asked_for(gateway, authority, None)
            except Exception:
                return True
            return False

        until(is_refused, "clients have to have certificates")


# ---- services


def test_a_service_that_asks_for_a_client_certificate(authority: Authority, leaf: Leaf) -> None:
    context = authority.server_context(leaf)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    own = authority.leaf("gateway")
    with Backend(tls=context) as backend:
        service = {"url": backend.url, "health_check": {"path": "/status/200", "interval": "200ms"}}
        ca = {"ca": str(authority.ca)}
        config = {
            "services": {
                "known": {**service, "tls": {**ca, **own.written}},
                "anonymous": {**service, "health_check": False, "tls": ca},
                "named": {**service, "tls": {**ca, **own.written, "server_name": "api.test"}},
                "misnamed": {**service, "tls": {**ca, **own.written, "server_name": "other.test"}},
                "unchecked": {**service, "tls": {"verify": False, **own.written}},
            }
        }
        with Gateway(config) as gateway:
            gateway.wait_for_control()
            for name in ("known", "named", "unchecked"):
                assert gateway.get(f"/api/{name}/bytes/1000").body == content(1000), name
            assert gateway.get("/api/anonymous/x").json()["reason"] == "upstream_tls"
            services = gateway.get("/health").json()["services"]
            healthy = {name for name, entry in services.items() if entry["status"] == "healthy"}
            assert healthy == {"known", "named", "unchecked"} | ({"anonymous"} & healthy)
            assert "certificate" in services["misnamed"]["error"].lower()


def test_renewed_files_of_services_are_taken_over(authority: Authority, tmp_path: Path) -> None:
    """The service changes its authority; the gateway sees a changed file, and goes on without a restart."""
    successor = Authority(tmp_path / "successor", "Successor")
    believed = tmp_path / "believed.pem"
    believed.write_bytes(authority.ca.read_bytes())
    service_leaf = successor.leaf("service", "127.0.0.1")
    with Backend(tls=successor.server_context(service_leaf)) as backend:
        service = {"url": backend.url, "health_check": {"path": "/status/200", "interval": "200ms"}}
        config = {"services": {"echo": {**service, "tls": {"ca": str(believed)}}}}
        with Gateway(config) as gateway:
            gateway.clean = False
            until(lambda: gateway.get("/api/echo/x").status in (502, 503), "the authority is unknown")
            believed.write_bytes(b"-----BEGIN CERT")
            until(lambda: [e for e in gateway.events() if "cannot be used" in e["event"]], "half a file is noticed")
            assert gateway.get("/livez").status == 200
            believed.write_bytes(successor.ca.read_bytes())
            until(lambda: gateway.get("/api/echo/x").status == 200, "requests and checks believe the new one")
            assert gateway.get("/metrics").body.decode().count("gateway_config_generation 1.0") == 1


def test_a_connection_that_is_reset_in_its_handshake(authority: Authority, leaf: Leaf) -> None:
    with Gateway({"gateway": {"tls": leaf.written}}) as gateway:
        for data in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"):
            with gateway.wire() as wire:
                wire.send(data)
                wire.reset()
        with secured(gateway, authority.client_context()) as wire:
            assert wire.ask("GET", "/livez").status == 200
