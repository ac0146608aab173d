"""Tokens of the admin API that have names."""

from __future__ import annotations

import pytest

from portico.config import Config, ConfigError, load_text
from portico.config.admin import Caller, find_caller


def load(tokens: str, **environ: str) -> Config:
    return load_text(f"gateway: {{{tokens}}}\nservices: {{s: {{url: http://h}}}}", "portico.yaml", environ)


def problems(tokens: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tokens, **environ)
    return str(caught.value)


def test_they_stand_beside_the_one_without_a_name() -> None:
    config = load(
        "admin_tokens: [{name: ada, token: '${ADA}', access: write}, {name: ops, token: t}]", ADA="a", ADMIN_TOKEN="x"
    )
    callers = config.gateway.admin_callers
    assert find_caller(callers, b"x") == Caller("admin")
    assert find_caller(callers, b"a") == Caller("ada")
    assert find_caller(callers, b"t") == Caller("ops", can_write=False), (
        "reading is what a token is for, if nothing is said"
    )
    assert find_caller(callers, b"") is None
    assert "'a'" not in repr(config.gateway)


def test_they_open_an_address_that_others_reach() -> None:
    assert not load("admin: '0.0.0.0:1', admin_tokens: [{name: ada, token: t}]").gateway.admin_is_local


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("admin_token: abc, admin_tokens: [{name: a, token: abc}]", "same as gateway.admin_token, or ADMIN_TOKEN"),
        ("admin_tokens: [{name: a, token: abc}, {name: b, token: abc}]", "[1].token: is the same as the token of a"),
        ("admin_tokens: [{name: a, token: abc}, {name: a, token: b}]", "[1].name: a token above has this name"),
        ("admin_tokens: [{name: ada, token: ''}]", "[0].token: is empty"),
        ("admin_tokens: [{name: ada, token: '${NONE:-}'}]", "[0].token: is empty"),
        ("admin_tokens: [{name: ada, token: }]", "[0].token"),
        ("admin_tokens: [{name: ada, token: ' a'}]", "white space at an end"),
        ("admin_tokens: [{name: local, token: abc}]", "[0].name: local is what the audit log"),
        ("admin_tokens: [{name: 'a b', token: abc}]", "[0].name: expected letters"),
        ("admin_tokens: [{name: ada, token: abc, access: admin}]", "[0].access"),
        ("admin_tokens: {name: ada, token: abc}", "expected a list"),
        ("admin_tokens: ", "nothing is written after the colon"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_no_token_is(written: str, message: str) -> None:
    text = problems(written)
    assert message in text
    assert "abc" not in text
