"""TLS on either side, with an authority made for the test."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .backend import Backend, content
from .client import Wire, request
from .world import Gateway


@dataclass
class Authority:
    """PEM files: the authority's certificate, and a leaf that it signed for 127.0.0.1, localhost and api.test."""

    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("tls")
    made = Authority(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Portico test authority")])
    key_usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)

    def certificate(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(ca_name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        return builder.not_valid_after(now + datetime.timedelta(days=1))

    ca_identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = certificate(ca_name, ca_key.public_key())
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    ca = ca.add_extension(key_usage, critical=True).add_extension(ca_identifier, critical=False)
    own = certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")]), key.public_key())
    names = [x509.DNSName("localhost"), x509.DNSName("api.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    own = own.add_extension(x509.SubjectAlternativeName(names), critical=False)
    own = own.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier), critical=False
    )
    pem = serialization.Encoding.PEM
    made.ca.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    made.certificate.write_bytes(own.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    plain = serialization.NoEncryption()
    made.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return made


def server_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    return context


def test_an_https_service(authority: Authority) -> None:
    with Backend(tls=server_context(authority)) as backend:
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
                assert (answer.status, answer.json()["reason"]) == (502, "upstream_refused"), name
        # the handshakes that were refused came to nothing
        assert {each.target.split("/")[1] for each in backend.requests} == {"bytes", "echo"}


def test_health_of_an_https_service(authority: Authority) -> None:
    with Backend(tls=server_context(authority)) as backend:
        service = {"url": backend.url, "health_check": "/status/200"}
        config = {"services": {"good": {**service, "tls": {"ca": str(authority.ca)}}, "bad": service}}
        with Gateway(config) as gateway:
            gateway.wait_for_control()
            services = gateway.get("/health").json()["services"]
            assert services["good"]["status"] == "healthy"
            assert services["bad"]["status"] == "unhealthy"
            assert "certificate" in services["bad"]["error"].lower()


def test_tls_on_the_gateways_own_port(authority: Authority, backend: Backend) -> None:
    tls = {"certificate": str(authority.certificate), "key": str(authority.key)}
    with Gateway({"gateway": {"tls": tls}, "services": {"echo": backend}}) as gateway:
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
        with gateway.wire() as wire:  # who speaks no TLS gets nothing, and nobody else suffers
            wire.send(request("GET", "/api/echo/x"))
            assert b"200" not in wire.rest()
        if shutil.which("curl"):
            command = ["curl", "-sS", "--noproxy", "*", "--cacert", str(authority.ca), "--max-time", "20"]
            url = f"https://localhost:{gateway.port}/api/echo/bytes/70000"
            done = subprocess.run([*command, "-4", url], capture_output=True, timeout=30, check=False)
            assert (done.returncode, done.stdout) == (0, content(70_000)), done.stderr


def test_a_refusal_over_tls_is_read_whole(authority: Authority, backend: Backend) -> None:
    tls = {"certificate": str(authority.certificate), "key": str(authority.key)}
    with Gateway({"gateway": {"tls": tls}, "services": {"echo": backend}}) as gateway:
        context = ssl.create_default_context(cafile=str(authority.ca))
        plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
        with Wire(gateway.port, context.wrap_socket(plain, server_hostname="localhost")) as wire:
            wire.send(request("POST", "/api/echo/echo", "Content-Length: 99999999") + b"x" * 1000)
            answer = wire.receive()
            assert (answer.status, answer.json()["reason"]) == (413, "body_too_large")
            assert wire.rest() == b""
