"""Proofs of possession: keys and addresses in the form in which they are compared."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from portico.policies.auth import dpop
from portico.policies.auth.dpop import Replays, normal_uri, thumbprint_of
from portico.policies.auth.keys import public_jwk

OF_RFC_9449 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
}


def test_the_thumbprint_of_a_key() -> None:
    """The examples of RFC 9449, section 6.1, and RFC 8037, appendix A.3."""
    assert thumbprint_of({**OF_RFC_9449, "kid": "x", "use": "sig"}) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    edwards = {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint_of(edwards) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("written", [None, "x", [], {}, {"kty": "oct", "k": "x"}, {"kty": []}, {"kty": "EC", "x": "x"}])
def test_what_has_none(written: Any) -> None:
    with pytest.raises(ValueError, match="no public key"):
        thumbprint_of(written)


def test_keys_by_which_verifying_takes_long() -> None:
    modulus = (1 << 4095) + 1
    for number, exponent in ((modulus, (1 << 40) + 1), (modulus << 1024 | 1, 65537)):
        key = rsa.RSAPublicNumbers(exponent, number).public_key()
        with pytest.raises(ValueError, match="4096 bits"):
            public_jwk(RSAAlgorithm.to_jwk(key, as_dict=True))
    assert public_jwk(RSAAlgorithm.to_jwk(rsa.RSAPublicNumbers(65537, modulus).public_key(), as_dict=True))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/x", "HTTPS://A.Example:443/x?q#f"),
        ("http://a.example:80", "http://a.example/"),
        ("https://a.example/%7Ex%2f", "https://a.example/~x%2F"),
        ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]"),
    ],
)
def test_spellings_of_one_address(one: str, other: str) -> None:
    assert normal_uri(one) == normal_uri(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/x", "https://a.example/X"),
        ("https://a.example/x", "https://a.example/x/"),
        ("https://a.example:80/x", "https://a.example/x"),
        ("https://a.example/a%2Fb", "https://a.example/a/b"),
        ("https://a.example/x", "https://a.example/y/../x"),
    ],
)
def test_different_addresses(one: str, other: str) -> None:
    assert normal_uri(one) != normal_uri(other)


@pytest.mark.parametrize(
    "text",
    [None, 5, "", "/x", "a.example/x", "ftp://a.example/x", "https://u@a.example/", "https://a\\b/", "https://a b/"],
)
def test_what_is_no_address(text: Any) -> None:
    assert normal_uri(text) == ""


def test_a_proof_is_good_once_however_many_others_come() -> None:
    replays = Replays()
    assert replays.is_new("mine")
    assert all(replays.is_new(f"other {number}") for number in range(150_000))
    assert not replays.peek().is_new("mine")
    assert not replays.is_new("mine")
    assert replays.peek().is_new("next")
    assert replays.is_new("next"), "asking what would be said uses no proof up"


def test_proofs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpop, "_MOST", 100)
    replays = Replays()
    for number in range(1000):
        replays.is_new(str(number))
    assert len(replays._young) + len(replays._old) <= 200
    assert not replays.is_new("950")
