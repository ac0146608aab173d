"""Keys with nothing after their colon."""

from __future__ import annotations

import pytest

from config.conftest import Load, Report

SECRET = {"SECRET_KEY": "s" * 32, "IDENTITY_KEYS": "k" * 32}


@pytest.mark.parametrize(
    ("text", "key", "suggestion"),
    [
        ("servics:\n", "servics", "services"),
        ("services:\nnonsense:\n", "nonsense", None),
        ("gateway: {prt: }\n", "gateway.prt", "port"),
        ("services: {a: {url: http://h, helth_check: }}\n", "services.a.helth_check", "health_check"),
        ("services: {a: {url: http://h, timeout: {conect: }}}\n", "services.a.timeout.conect", "connect"),
        ("policies: {auth: {jwt: {isuer: }}}\n", "policies.auth.jwt.isuer", "issuer"),
        ("policies: {auth: {jwt: {}, nme_encoding: }}\n", "policies.auth.nme_encoding", "name_encoding"),
        ("policies: {identity: {lifetme: }}\n", "policies.identity.lifetme", "lifetime"),
        ("policies: {cors: {alow_origins: }}\n", "policies.cors.alow_origins", "allow_origins"),
        ("routes: [{service: a, path: /, hots: }]\nservices: {a: {url: http://h}}\n", "routes[0].hots", "hosts"),
    ],
)
def test_an_unknown_key_is_an_error_without_a_value_too(
    report: Report, text: str, key: str, suggestion: str | None
) -> None:
    used = "services: {s: {url: http://s}}\n" if "services" not in text and "servics" not in text else ""
    (line,) = report(text + used, SECRET)
    assert f": {key}: unknown key" in line
    known = "there are consumers, discover, gateway, include, policies, routes, services"
    assert line.endswith(f'did you mean "{suggestion}"?' if suggestion else known)


@pytest.mark.parametrize("value", ["", "~", "null"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policies: {auth: %s}", "policies.auth: nothing is written after the colon: write auth: {jwt: {}}, or"),
        ("services: {s: {policies: {auth: %s}}}", "s.policies.auth: nothing is written after the colon"),
        ("policies: {authorize: %s}", "authorize: {scopes: [orders:read]}, or authorize: false to turn it off"),
        ("policies: {identity: %s}", "write identity: {}, or identity: false to turn it off"),
        ("policies: {cors: %s}", "policies.cors: nothing is written"),
        ("policies: {rate_limit: %s}", "policies.rate_limit: nothing is written"),
        ("policies: {auth: {jwt: %s}}", "policies.auth.jwt: nothing is written after the colon: write jwt: {}"),
        ("policies: {auth: {jwt: {issuer: %s}}}", "policies.auth.jwt.issuer: nothing is written"),
        ("policies: {auth: {jwt: {audience: %s}}}", "policies.auth.jwt.audience: nothing is written"),
        ("policies: {auth: {jwt: {require_expiry: %s}}}", "policies.auth.jwt.require_expiry: expected true or false"),
        ("gateway: {tls: %s}", "gateway.tls: nothing is written after the colon: write tls: {certificate: FILE"),
        ("gateway: {tls: {certificate: a, key: b, client_certificates: %s}}", "client_certificates: nothing is"),
        ("services: {s: {url: https://s, tls: {ca: %s}}}", "services.s.tls.ca: nothing is written"),
        ("services: {s: {url: http://s, circuit_breaker: %s}}", "services.s.circuit_breaker: nothing is written"),
        ("services: {s: {url: http://s, hedge: %s}}", "services.s.hedge: nothing is written"),
        ("services: {s: {url: http://s, discover: %s}}", "services.s.discover: nothing is written"),
        ("discover: %s", "discover: nothing is written"),
        ("discover: {source: admin, allow: %s}", "discover.allow: nothing is written"),
        ("routes: [{service: s, path: /, hosts: %s}]", "routes[0].hosts: nothing is written"),
        ("routes: [{service: s, path: /, methods: %s}]", "routes[0].methods: nothing is written"),
        ("routes: [{service: s, path: /, headers: %s}]", "routes[0].headers: nothing is written"),
        ("consumers: [{name: a, rate_limit: %s}]", "consumers[0].rate_limit: nothing is written"),
    ],
)
def test_what_restricts_or_turns_on_has_to_say_how(report: Report, text: str, message: str, value: str) -> None:
    written = text % value
    lines = report(written if "services" in written else f"{written}\nservices: {{s: {{url: http://s}}}}", SECRET)
    assert message in lines[0]


@pytest.mark.parametrize(
    "text",
    [
        "services:\nroutes:\npolicies:\nconsumers:\ngateway:\n",
        "gateway: {limits: , log: , port: , admin_token: , redis_url: }\nservices:\n",
        "services: {s: {url: http://s, timeout: , retries: , health_check: , tls: , policies: , versions: {v1: }}}",
        "policies: {auth: {jwt: {secret: }}}",
    ],
)
def test_the_rest_counts_as_not_written(load: Load, text: str) -> None:
    assert load(text, SECRET)


def test_a_variable_completes_an_empty_rate_limit(load: Load) -> None:
    assert load("services:\npolicies: {rate_limit: }", {"RATE_LIMIT_BURST": "5"})


@pytest.mark.parametrize("text", ["root:\n", "a: 1\nb: 2\n", "root:*:19000:0:\n", "version: 3\nx: \n"])
def test_a_file_of_something_else(report: Report, text: str) -> None:
    (line,) = report(text)
    assert "this is no configuration of Portico" in line or "expected keys and values at the top" in line
    assert "root" not in line
