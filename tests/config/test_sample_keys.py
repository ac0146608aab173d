"""Keys that stand in documentation are for the demo, or for those who say so."""

from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.config import load_config
from portico.config.sample_keys import SAMPLE_KEYS

SAMPLE = "your-secret-key-here"
TUTORIAL = "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"
SERVICE = "services: {a: {url: http://h}}\n"
SAYS = "is the key of a sample, which everybody knows: openssl rand -hex 32 makes one of your own"


@pytest.mark.parametrize("key", sorted(SAMPLE_KEYS))
def test_a_sample_key_in_the_environment_is_refused(report: Report, key: str) -> None:
    (line,) = report(SERVICE, {"SECRET_KEY": key})
    assert line.startswith(f"environment: SECRET_KEY: {SAYS}")
    assert key not in line


@pytest.mark.parametrize("key", sorted(SAMPLE_KEYS))
def test_one_in_the_file_is_refused(report: Report, key: str) -> None:
    (line,) = report(f"{SERVICE}policies: {{auth: {{jwt: {{secret: {key}}}}}}}")
    assert "policies.auth.jwt.secret: " in line
    assert (SAYS in line) == (len(key) >= 32), "a short one is refused as such"
    assert key not in line


def test_the_demo_takes_one() -> None:
    assert load_config(None, {"SECRET_KEY": SAMPLE}).gateway.allow_sample_secret_key


def test_who_says_so_may_use_one(load: Load, report: Report) -> None:
    allowed = f"{SERVICE}gateway: {{allow_sample_secret_key: true}}\n"
    assert load(allowed, {"SECRET_KEY": SAMPLE}).token_settings is not None
    settings, _ = (
        load(f"{allowed}policies: {{auth: {{jwt: {{}}}}}}", {"SECRET_KEY": TUTORIAL}).all_routes[0].policies["auth"]
    )
    assert settings.jwt.secret.get_secret_value() == TUTORIAL
    (line,) = report(f"{allowed}policies: {{auth: {{jwt: {{}}}}}}", {"SECRET_KEY": SAMPLE})
    assert "needs a secret of 32 bytes or more" in line
