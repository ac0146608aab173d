"""Ways to prove who asks, and what they need elsewhere in the configuration."""

from __future__ import annotations

from .conftest import Load, Report


def policies(auth: str) -> str:
    return f"services: {{s: {{url: 'http://127.0.0.1:1', policies: {{auth: {auth}}}}}}}\n"


def test_certificates_are_asked_for_by_somebody(load: Load, report: Report) -> None:
    assert report(policies("{client_certificate: true}")) == [
        "portico.yaml:1:81: services.s.policies.auth.client_certificate: no client is asked for a certificate: "
        "write gateway.tls.client_certificates: {ca: FILE}"
    ]
    assert report(policies("{client_certificate: {from_proxies: true}}")) == [
        "portico.yaml:1:96: services.s.policies.auth.client_certificate.from_proxies: needs gateway.trusted_proxies: "
        "only a peer named there may say what its client has shown"
    ]
    proxies = "gateway: {trusted_proxies: [10.0.0.0/8]}\n"
    load(policies("{client_certificate: {from_proxies: true}}") + proxies)
