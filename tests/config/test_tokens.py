"""Tokens that the gateway issues: what their configuration has to say, and what follows from it."""

from __future__ import annotations

from config.conftest import Load, Report

KEYED = "gateway: {tokens: {algorithm: Ed25519, issuer: https://api.example.com}}\n"
ONE = "services: {a: {url: http://h}}\n"
PASSWORD = "$argon2id$v=19$m=8,t=1,p=1$Wv6rIeV193CW4cHHvmIcXw$K4KvPymVZjTkxN3VCeZOn/Ltvb6kK45jQTI1m33H/TM"
ALICE = f"consumers: [{{name: alice, password: '{PASSWORD}'}}]\n"
SECRET = "0123456789abcdef0123456789abcdef"


def test_endpoints_are_there_where_tokens_are_issued(load: Load) -> None:
    assert load(ONE, {"SECRET_KEY": SECRET}).token_paths == ()
    assert load(ONE + ALICE).token_paths == ()
    basic = ("/auth/token", "/auth/revoke", "/auth/me")
    assert load(ONE + ALICE, {"SECRET_KEY": SECRET}).token_paths == basic
    assert load(ONE + "gateway: {tokens: {refresh: 1d}}", {"SECRET_KEY": SECRET}).token_paths == basic
    published = "/.well-known/jwks.json", "/.well-known/oauth-authorization-server"
    assert load(ONE + KEYED).token_paths == (*basic, *published)


def test_tokens_need_a_key(report: Report) -> None:
    assert report(ONE + "gateway: {tokens: {refresh: 1d}}") == [
        "portico.yaml:2:11: gateway.tokens: tokens need a key to be signed with: set SECRET_KEY, or write "
        "algorithm: Ed25519 here"
    ]
    assert report(ONE + "policies: {auth: {jwt: {own: true}}}") == [
        "portico.yaml:2:12: policies.auth: the gateway has no keys of its own: write gateway.tokens.algorithm, such as "
        "Ed25519"
    ]


def test_an_issuer_is_where_the_gateway_is(report: Report) -> None:
    message = "expected where clients find the gateway, without a slash at the end: https://api.example.com"
    for issuer in ("https://api.example.com/", "https://api.example.com/x", "api.example.com", "https://a?b"):
        text = ONE + f"gateway: {{tokens: {{algorithm: ES256, issuer: '{issuer}'}}}}"
        assert report(text) == [f"portico.yaml:2:46: gateway.tokens.issuer: {message}"]


def test_routes_accept_the_keys_of_the_gateway_unless_they_say_otherwise(load: Load) -> None:
    environ = {"SECRET_KEY": SECRET, "ALGORITHM": "HS256"}
    (route,) = load(KEYED + "services: {a: {url: http://h, policies: {auth: {jwt: {}}}}}", environ).all_routes
    settings = route.policies["auth"][0].jwt
    assert (settings.own, settings.secret, settings.issuer) == (True, None, None)
    text = KEYED + f"services: {{a: {{url: http://h, policies: {{auth: {{jwt: {{secret: {SECRET}}}}}}}}}}}"
    config = load(text, environ)
    settings = config.all_routes[0].policies["auth"][0].jwt
    assert (settings.own, settings.secret.get_secret_value()) == (False, SECRET)
    assert config.own_auth.jwt is not None
    assert config.own_auth.jwt.own
    assert config.secret is not None  # it still signs cookies
    assert config.secret.get_secret_value() == SECRET
