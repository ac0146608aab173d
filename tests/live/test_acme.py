"""Certificates ordered from an authority that asks for its proofs at the gateway's plain port."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509

from support.acme_server import AcmeServer
from support.authority import Authority
from support.backend import Backend
from support.client import Wire, ask
from support.metrics import samples
from support.portico import run_portico
from support.redis_servers import RedisServer
from support.waiting import comes_true
from support.world import Gateway, until

ORDERED = "a certificate is ordered"
ISSUED = "a certificate was issued"
FAILED = "a certificate could not be had"
METRIC = "gateway_certificate_expiry_timestamp_seconds"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("acme"))


@pytest.fixture
def acme(authority: Authority) -> Iterator[AcmeServer]:
    with AcmeServer(authority, authority.leaf("acme", "localhost")) as own:
        yield own


@pytest.fixture(scope="module")
def shop() -> Iterator[Backend]:
    with Backend() as own:
        yield own


@pytest.fixture(scope="module")
def gateway(authority: Authority, shop: Backend) -> Iterator[Gateway]:
    """It has a certificate in files, and orders none."""
    leaf = authority.leaf("own", "localhost")
    with Gateway(config(shop, {**leaf.written, "redirect_from": 0})) as own:
        yield own


def config(shop: Backend, tls: dict[str, Any], **gateway: Any) -> dict[str, Any]:
    """All paths lead to the shop."""
    service = {"url": shop.url, "health_check": False, "default_routes": False}
    route = {"name": "all", "service": "shop", "path": "/", "rewrite": "keep"}
    return {"gateway": {"tls": tls, **gateway}, "services": {"shop": service}, "routes": [route]}


def ordered(acme: AcmeServer, *names: str, **more: Any) -> dict[str, Any]:
    """The TLS of a gateway with a certificate for these names."""
    order = {"domains": list(names), "terms_agreed": True, "directory": acme.directory}
    return {"acme": {**order, "ca_file": str(acme.authority.ca), **more}, "redirect_from": 0}


def order(gateway: Gateway, shop: Backend, acme: AcmeServer, *names: str, **more: Any) -> None:
    """Have the gateway that is running want a certificate."""
    acme.asks_at = [gateway.redirecting_port]
    leaf = {key: str(acme.authority.folder / f"own.{end}") for key, end in (("certificate", "pem"), ("key", "key"))}
    gateway.write(config(shop, {**leaf, **ordered(acme, *names, **more)}))
    gateway.reload()


def presented(gateway: Gateway, name: str) -> x509.Certificate:
    """Whatever certificate a client gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", gateway.port), 20) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        found = secure.getpeercert(binary_form=True)
    assert found
    return x509.load_der_x509_certificate(found)


def is_trusted(gateway: Gateway, authority: Authority, name: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", gateway.port), 20) as plain:
            authority.client_context().wrap_socket(plain, server_hostname=name).close()
    except ssl.SSLCertVerificationError:
        return False
    return True


def events(gateway: Gateway, name: str, about: str) -> list[dict[str, Any]]:
    """Those of that name about a certificate."""
    return [each for each in gateway.events() if each["event"] == name and about in each.get("names", "")]


def state(gateway: Gateway) -> dict[str, Any]:
    """What the admin API says of the one certificate."""
    (found,) = ask(gateway.admin_port, "GET", "/admin/status", "Host: localhost").json()["certificates"]
    assert isinstance(found, dict)
    return found


def told(gateway: Gateway) -> str:
    """What `portico status` says of it."""
    done = run_portico("status", "--config", str(gateway.file), "--admin", f"127.0.0.1:{gateway.admin_port}")
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("certificate for ")]
    return line


def expiry(gateway: Gateway, name: str) -> float:
    page = ask(gateway.admin_port, "GET", "/metrics", "Host: localhost").body.decode()
    return samples(page)[METRIC, (f'name="{name}"',)]


def test_from_nothing_to_a_certificate(gateway: Gateway, shop: Backend, acme: AcmeServer) -> None:
    acme.finalize_takes = 2.0
    acme.bad_nonces = 2
    order(gateway, shop, acme, "a.test", "www.a.test", email="ops@a.example")
    first = presented(gateway, "a.test")
    assert first.issuer == first.subject, "self-signed, until there is one"
    assert expiry(gateway, "a.test") == 0
    assert expiry(gateway, "localhost") > time.time()
    assert state(gateway)["state"] == "missing"
    until(lambda: is_trusted(gateway, acme.authority, "www.a.test"), "the certificate is used")
    assert is_trusted(gateway, acme.authority, "localhost"), "that of the file is there beside it"
    (issued,) = events(gateway, ISSUED, "a.test, www.a.test")
    assert (state(gateway)["state"], state(gateway)["expires"]) == ("valid", issued["expires"])
    assert told(gateway).startswith(
        f"certificate for a.test, www.a.test: valid until {issued['expires']}, renewed from "
    )
    assert expiry(gateway, "a.test") == presented(gateway, "a.test").not_valid_after_utc.timestamp()
    (only,) = acme.orders
    assert only.owner.contact == ["mailto:ops@a.example"]
    if shutil.which("curl"):
        where = f"https://a.test:{gateway.port}"
        command = ["curl", "-sS", "--noproxy", "*", "--cacert", str(acme.authority.ca), "--max-time", "20"]
        to = ["--resolve", f"a.test:{gateway.port}:127.0.0.1", "-o", "/dev/null", "-w", "%{http_code}"]
        done = subprocess.run([*command, *to, f"{where}/bytes/7"], capture_output=True, timeout=30, check=False)
        assert (done.returncode, done.stdout) == (0, b"200"), done.stderr
    (kept,) = gateway.directory.glob("**/*.certificates.json")
    assert kept.stat().st_mode & 0o777 == 0o600


def test_only_tokens_on_order_are_answered(gateway: Gateway, shop: Backend, acme: AcmeServer) -> None:
    """At every listener, before the redirect and all routes; other paths there are for these as ever."""
    acme.finalize_takes = 600
    order(gateway, shop, acme, "b.test")
    until(lambda: acme.orders and acme.orders[0].finalized, "the order is being finalized")
    token = acme.orders[0].proofs[0].tokens["http-01"]
    path = f"/.well-known/acme-challenge/{token}"
    plain = ask(gateway.redirecting_port, "GET", path)
    assert (plain.status, plain.get("content-type")) == (200, "application/octet-stream")
    assert plain.body.startswith(token.encode() + b".")
    assert ask(gateway.redirecting_port, "HEAD", path).status == 200
    assert ask(gateway.redirecting_port, "POST", path).status == 308
    assert ask(gateway.redirecting_port, "GET", path + "x").status == 308
    context = acme.authority.client_context()
    connection = context.wrap_socket(
        socket.create_connection(("127.0.0.1", gateway.port), 20), server_hostname="localhost"
    )
    with Wire(gateway.port, connection) as wire:
        assert wire.ask("GET", path).body == plain.body
        for other in ("/.well-known/acme-challenge/bytes", "/.well-known/acme-challenge", path + "/x"):
            assert wire.ask("GET", other).json()["target"] == other, "the route's"
        assert wire.ask("POST", path, body=b"x").json()["target"] == path
    gateway.write(config(shop, {"certificate": "own.pem", "key": "own.key"}))


def test_a_renewal_is_no_failed_handshake(gateway: Gateway, shop: Backend, acme: AcmeServer) -> None:
    acme.life = 60.0
    acme.suggests = 0, 1  # at once, which is after a tenth of its life: no order comes right after the other
    order(gateway, shop, acme, "c.test")
    until(lambda: is_trusted(gateway, acme.authority, "c.test"), "the first one is used")
    first = presented(gateway, "c.test").serial_number
    end = time.monotonic() + 40
    while presented(gateway, "c.test").serial_number == first:
        assert is_trusted(gateway, acme.authority, "c.test")
        assert time.monotonic() < end, "it was not renewed"
    assert acme.orders[0].replaces is None
    assert [bool(part) for part in (acme.orders[1].replaces or "").split(".")] == [True, True], "RFC 9773, section 5"
    assert acme.orders[1].begun >= acme.orders[0].begun + 5


def test_what_the_authority_says_of_a_failed_proof(gateway: Gateway, shop: Backend, acme: AcmeServer) -> None:
    acme.refuses = {"www.e.test": ("caa", "CAA record for www.e.test prevents issuance")}
    order(gateway, shop, acme, "e.test", "www.e.test")
    (failed,) = until(lambda: events(gateway, FAILED, "e.test"), "an event says so")
    assert failed["kind"] == "caa"
    assert failed["reason"] == "www.e.test: CAA record for www.e.test prevents issuance"
    assert failed["next_try"] > failed["timestamp"]
    assert told(gateway) == (
        f"certificate for e.test, www.e.test: not there yet, next try {failed['next_try']}; {failed['reason']}"
    )
    for _ in range(3):
        gateway.reload()
    assert not comes_true(lambda: acme.attempts > 1, 1.5), "a reload is no reason to try again"
    order(gateway, shop, acme, "e.test")
    until(lambda: is_trusted(gateway, acme.authority, "e.test"), "another certificate does not wait for that")
    order(gateway, shop, acme, "e.test", "new.e.test")
    assert is_trusted(gateway, acme.authority, "e.test"), "what was there is used for its name until the other is"
    until(lambda: is_trusted(gateway, acme.authority, "new.e.test"), "the other one is used")


def test_too_many_requests_means_later(authority: Authority, shop: Backend, acme: AcmeServer) -> None:
    """C32, with seconds in place of an hour: also with the directory away at the start, and control killed."""
    acme.stop()
    with Gateway(config(shop, ordered(acme, "shop.test"))) as gateway:
        (away,) = until(lambda: events(gateway, FAILED, "shop.test"), "the directory is away")
        assert away["kind"] == "unreachable"
        assert "Connection refused" in away["reason"]
        acme.asks_at = [gateway.redirecting_port]
        acme.life = 80.0
        acme.suggests = 0, 1  # it is to be renewed at once: after a tenth of its life
        acme.start()
        until(lambda: is_trusted(gateway, authority, "shop.test"), "it is tried again by itself")
        acme.limited = "8"
        (limited,) = until(lambda: [e for e in events(gateway, FAILED, "shop.test") if e["kind"] == "rateLimited"])
        assert limited["reason"] == "too many certificates already"
        first = acme.attempts - 1
        for _ in range(10):
            gateway.reload()
        for _ in range(2):
            gateway.stop()
            gateway.write(config(shop, ordered(acme, "shop.test")))
            gateway.start()
            assert is_trusted(gateway, authority, "shop.test"), "the old one is there from the first handshake on"
            assert state(gateway)["problem"] == limited["reason"]
            assert state(gateway)["next_try"] >= limited["next_try"]
        acme.suggests = time.time() + 3600, time.time() + 3601
        acme.asks_at = [gateway.redirecting_port]
        acme.finalize_takes = 4.0
        attempts, acme.limited = acme.attempts, None
        until(lambda: acme.attempts > attempts, "it is tried again")
        limited_ones = acme.attempted[first:]
        assert all(later >= earlier + 8 for earlier, later in itertools.pairwise(limited_ones)), (
            "never before it may be"
        )
        until(lambda: acme.orders[-1].finalized, "it is finalized")
        old = presented(gateway, "shop.test")
        os.kill(gateway.control(), signal.SIGKILL)
        until(lambda: presented(gateway, "shop.test") != old, "the order is taken up again")
        assert acme.attempts == attempts + 1, "not begun anew"


def test_gateways_that_share_a_redis_order_once(authority: Authority, shop: Backend, acme: AcmeServer) -> None:
    """One has a port that redirects, the other a listener without routes for what authorities ask."""
    with RedisServer() as redis:
        written = config(shop, ordered(acme, "both.test"), redis_url=redis.url)
        tls = {"acme": ordered(acme, "both.test")["acme"]}
        listen = [{"name": "web", "port": 0, "tls": tls}, {"name": "plain", "port": 0, "routes": []}]
        other_written = {**written, "gateway": {"redis_url": redis.url, "listen": listen}}
        with Gateway(written) as one, Gateway(other_written) as other:
            acme.asks_at = [one.redirecting_port, other.port_of("plain")]
            for each in (one, other):
                until(lambda each=each: is_trusted(each, authority, "both.test"), "both have it")  # type: ignore[misc]
            assert len(acme.orders) == 1
            assert presented(one, "both.test") == presented(other, "both.test")
            assert sum(len(events(each, ORDERED, "both.test")) for each in (one, other)) == 1
