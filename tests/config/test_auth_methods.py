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


def test_a_resource_says_who_issues_tokens(load: Load, report: Report) -> None:
    named = "resource: {url: 'https://gw.example/api/s'}"
    for written, message in (
        (f"api_key: true, {named}", "resource says where tokens are issued, and none are accepted: leave it out"),
        (
            f"jwt: {{issuer: s, jwks_url: 'https://id.example/k'}}, {named}",
            "resource does not say who issues tokens: write authorization_servers in it",
        ),
        ("jwt: {secret: x}, resource: {url: 'https://gw.example/a?b'}", "expected the address that clients use"),
        ("jwt: {secret: x}, resource: {url: 'https://gw.example/a%22'}", "its path may have letters"),
    ):
        (problem,) = report(policies(f"{{{written}}}"))
        assert message in problem
    issued = "jwt: {issuer: 'https://id.example', jwks_url: 'https://id.example/k'}"
    config = load(policies(f"{{{issued}, {named}}}"))
    assert list(config.resources_of(config.gateway.listeners[0])) == ["/.well-known/oauth-protected-resource/api/s"]


def test_passwords_are_asked_for_where_somebody_has_one(report: Report) -> None:
    (problem,) = report(policies("{basic: true}"))
    assert "services.s.policies.auth.basic: no consumer has a password: write consumers" in problem
