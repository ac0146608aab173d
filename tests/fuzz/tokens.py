"""The property of tokens: no mutant of one lets anybody in, and none raises anything."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

from pydantic import SecretStr

from policies.exchanges import exchange
from portico.core.errors import Refusal
from portico.policies.auth import AuthSettings, JwtSettings, build_auth
from portico.policies.policy import Context, Policy, State
from support.issuer import public_jwk
from support.mutated_tokens import ALGORITHMS, ISSUER, PUBLISHED, good, mutant, mutated_keys
from support.tokens import SECRET

from .case import Case

_MARK: Final = "a mutated token, number "


def make_tokens(random: Random) -> Case:
    """A case is the number that a mutant is drawn by: keys are others in each process."""
    return Case([f"{_MARK}{random.randrange(10**12)}"])


def check_tokens(case: Case) -> None:
    """Every mutant is refused with 401 by all who accept the token that it was made of."""
    for text in case.clients:
        number = text.removeprefix(_MARK)
        if number != text and number.isdecimal():
            check_mutant(Random(int(number)))


def check_mutant(random: Random) -> None:
    """Raises AssertionError where a mutant is not refused."""
    algorithm = random.choice(ALGORITHMS)
    if random.random() < 0.05:
        _check_keys(random)
        return
    token = mutant(random, algorithm)
    for policy in _policies(algorithm) if token is not None else ():
        _refused(policy, str(token))


def _check_keys(random: Random) -> None:
    """With other keys in its set, the issuer's own tokens are refused."""
    with TemporaryDirectory() as directory:
        try:
            policy = _by_keys(Path(directory), mutated_keys(random))
        except ValueError:  # it has no key that can be used
            return
        for algorithm in PUBLISHED:
            _refused(policy, good(algorithm))


def _refused(policy: Policy, token: str) -> None:
    asked = exchange(f"Authorization: Bearer {token}")
    verdict = policy(asked)
    assert isinstance(verdict, Refusal), f"let in, or asked of others: {token}"
    assert verdict.status == 401, f"{verdict.status}: {token}"
    assert any(line.startswith(b"WWW-Authenticate: Bearer ") for line in verdict.lines)
    assert SECRET not in verdict.detail
    assert (asked.consumer, asked.claims_or_token, asked.request_lines) == (None, None, ())


@cache
def _policies(algorithm: str) -> list[Policy]:
    """Who accepts the good tokens of an algorithm."""
    policies = []
    if algorithm == "HS256":
        policies.append(_built(secret=SecretStr(SECRET), issuer=ISSUER))
    else:
        with TemporaryDirectory() as directory:  # it is read once
            keys = json.dumps({"keys": [public_jwk(each) for each in PUBLISHED]})
            policies.append(_by_keys(Path(directory), keys))
            several = [{"issuer": ISSUER, "jwks_file": Path(directory, "keys.json"), "audience": "api"}]
            policies.append(_built(issuers=several))
    for policy in policies:
        assert policy(exchange(f"Authorization: Bearer {good(algorithm)}")) is None
    return policies


def _by_keys(directory: Path, keys: str) -> Policy:
    file = directory / "keys.json"
    file.write_text(keys)
    return _built(jwks_file=file, issuer=ISSUER)


def _built(**settings: Any) -> Policy:
    own = {} if "issuers" in settings else {"audience": "api"}
    written = AuthSettings(jwt=JwtSettings.model_validate({**own, **settings}))
    return build_auth(written, Context("gateway", State()))
