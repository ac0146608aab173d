"""Access tokens: they are what the configuration accepts."""

from __future__ import annotations

from pathlib import Path

import jwt
from pydantic import SecretStr

from portico.policies.auth import JwtSettings
from portico.processes.control.state_file import StateFile
from portico.processes.control.tokens.access import AccessTokens
from portico.processes.control.tokens.key_store import KeyStore
from portico.processes.control.tokens.signing import BySecret
from support.tokens import SECRET


def test_a_token_is_for_the_audience_of_the_type_and_by_the_algorithm_that_routes_accept() -> None:
    settings = JwtSettings(
        secret=SecretStr(SECRET), algorithms=["HS512"], audience=["api", "other"], types=["at+jwt"], issuer="me"
    )
    access = AccessTokens(BySecret(SecretStr(SECRET), "HS512"), "me", settings, 60)
    issued = access.issue("J\u00fcrgen", ["a", "b"], "app", life=5)
    assert jwt.get_unverified_header(issued) == {"alg": "HS512", "typ": "at+jwt"}
    claims = jwt.decode(issued, SECRET, ["HS512"], audience="api", issuer="me")
    assert (claims["sub"], claims["scope"], claims["client_id"]) == ("J\u00fcrgen", "a b", "app")
    assert claims["exp"] - claims["iat"] == 5


def test_a_gateway_that_comes_before_the_last_has_gone_has_its_keys(tmp_path: Path) -> None:
    path, other = tmp_path / "keys.json", tmp_path / "other.json"
    first = StateFile(path, other, "this is")
    first.store(b"keys", safely=False)
    second = StateFile(path, other, "this is")
    assert second.problem
    assert KeyStore(second, path, None, "").last() == b"keys"
    first.close()
