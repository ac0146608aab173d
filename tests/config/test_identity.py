"""The policy `identity`: its keys, where they come from, and what is wrong with them."""

from __future__ import annotations

import json

import pytest

from config.conftest import Load, Report
from portico.config import load_config, warnings_for
from portico.config.passing import dump_config, load_dumped

KEY, OTHER = "k" * 32, "o" * 40
ONE = "services: {a: {url: http://h}}\n"
OWN_KEY = f"services:\n  a: {{url: http://h, policies: {{identity: {{keys: [{OTHER}]}}}}}}\n"
GUARDED = "policies: {rate_limit: {}, auth: {jwt: {require_expiry: true}}, identity: {%s}}"
ENVIRON = {"SECRET_KEY": "s" * 32}


def keys(load: Load, text: str, environ: dict[str, str]) -> list[str]:
    settings, _ = load(text, environ).all_routes[0].policies["identity"]
    return [key.get_secret_value() for key in settings.keys]


def test_keys_from_the_file_and_the_environment(load: Load) -> None:
    environ = {**ENVIRON, "IDENTITY_KEYS": f"{OTHER}, {KEY},"}
    assert keys(load, ONE + GUARDED % "", environ) == [OTHER, KEY]
    assert keys(load, ONE + GUARDED % f"keys: [{KEY}]", environ) == [KEY]
    assert "identity" not in load(ONE, environ).all_routes[0].policies, "a variable turns nothing on"


def test_a_service_may_have_keys_of_its_own(load: Load) -> None:
    first, second = load(
        OWN_KEY + "  b: {url: http://h}\n" + GUARDED % f"keys: [{KEY}], lifetime: 10", ENVIRON
    ).all_routes
    assert first.policies["identity"][0].keys[0].get_secret_value() == OTHER
    assert first.policies["identity"][0].lifetime == 10
    assert second.policies["identity"][0].keys[0].get_secret_value() == KEY


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "policies.identity: identity needs a key: set IDENTITY_KEYS or write policies.identity.keys"),
        ("keys: []", "policies.identity: identity needs a key"),
        ("keys: [short]", "policies.identity.keys[0]: a key has 32 bytes or more"),
        (f"keys: ['{KEY},{KEY}']", "policies.identity.keys[0]: a key has no commas"),
        (f"keys: [{KEY}], lifetime: 1h", "policies.identity.lifetime: has to be 300s or less"),
        (f"key: {KEY}", "policies.identity.key: unknown key"),
    ],
)
def test_what_is_refused(report: Report, written: str, message: str) -> None:
    (line,) = report(ONE + GUARDED % written, ENVIRON)
    assert message in line
    assert KEY not in line


def test_keys_stay_secret(load: Load) -> None:
    config = load(ONE + GUARDED % f"keys: [{KEY}]", ENVIRON)
    assert KEY not in repr(config)
    assert KEY not in config.model_dump_json()
    settings, _ = load_dumped(dump_config(config)).all_routes[0].policies["identity"]
    assert settings.keys[0].get_secret_value() == KEY, "workers get them"
    assert json.loads(dump_config(load_config(None, {})))


def test_warnings(load: Load) -> None:
    def warned(text: str) -> list[str]:
        return [str(problem) for problem in warnings_for(load(text, ENVIRON))]

    assert warned(ONE + GUARDED % f"keys: [{KEY}]") == []
    (line,) = warned(ONE + GUARDED % f"keys: [{'s' * 32}]")
    assert "identity.keys: a key is the secret of auth.jwt too: services that hold it can sign tokens" in line
    (line,) = warned(OWN_KEY + "policies: {rate_limit: {}}")
    assert "services.a.policies.identity: the route a has no auth" in line
