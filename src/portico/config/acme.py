"""Certificates that are ordered from an authority over ACME (RFC 8555)."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from portico.config.section import FilePath, Section, is_word, written_as
from portico.core.hosts import host_name
from portico.core.settings import NotEmpty, plain_secret

LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"
_LONGEST: Final = 253
"""Characters of a domain name, without the dot at its end (RFC 1035, section 2.3.4)."""
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _domain(text: str) -> str:
    if text.startswith("*."):
        raise ValueError(
            "a wildcard takes a challenge over DNS (DNS-01), and this gateway answers over HTTP: name each host, or "
            "have another program order the certificate and write certificate and key"
        )
    try:
        name = host_name(text.removesuffix("."))
    except ValueError:
        name = ""
    labels = name.split(".")
    if len(name) > _LONGEST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("expected the DNS name of a host, such as www.example.com")
    if labels[-1].isdigit():
        raise ValueError("an address is no DNS name: an authority signs names such as www.example.com")
    return name


def _agreed(value: Any) -> Any:
    if not is_word(value, True):
        raise ValueError(
            "write terms_agreed: true once you have read the terms of service of the authority and agree to them"
        )
    return True


def _directory(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise ValueError(f"expected the https address of an ACME directory, such as {LETS_ENCRYPT}")
    return text


def _email(text: str) -> str:
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+", text) or "," in text or "?" in text:
        raise ValueError("expected one address of mail, such as ops@example.com")
    return text


def _hmac_key(secret: SecretStr) -> SecretStr:
    text = plain_secret(secret.get_secret_value()).rstrip("=")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text) or len(urlsafe_b64decode(text + "=" * (-len(text) % 4))) < 16:
        raise ValueError("expected the key in base64url as the authority gave it, 16 bytes or more")
    return SecretStr(text)


def _unlike(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := next((name for index, name in enumerate(names) if name in names[:index]), None):
        raise ValueError(f"{twice} is in this list already")
    return names


class ExternalAccountSettings(Section):
    """The account at an authority that knows its customers already (RFC 8555, section 7.3.4)."""

    key_id: Annotated[str, Field(min_length=1, max_length=1000)]
    """What the authority calls the account."""
    hmac_key: Annotated[SecretStr, AfterValidator(_hmac_key)]
    """The key that it gave with that, in base64url: `${EAB_HMAC_KEY}`, or `${file:/run/secrets/eab}`."""


class AcmeSettings(Section):
    """A certificate that is ordered from an authority, and renewed in time."""

    domains: Annotated[
        tuple[Annotated[str, AfterValidator(_domain)], ...],
        written_as(list, "domains: [www.example.com]"),
        NotEmpty("write domains: [www.example.com]"),
        Field(min_length=1, max_length=100),
        AfterValidator(_unlike),
    ]
    """The names of the certificate: DNS names without wildcards, each of which leads to this gateway at port 80."""
    terms_agreed: Annotated[
        Literal[True],
        BeforeValidator(_agreed, json_schema_input_type=Literal[True]),
        NotEmpty("write terms_agreed: true once you agree to the terms of service of the authority"),
    ]
    """Has to be `true`: you have read the authority's terms of service and agree to them."""
    email: Annotated[str, AfterValidator(_email)] | None = None
    """Where the authority may write to; given to it when the account is made."""
    directory: Annotated[str, AfterValidator(_directory)] = LETS_ENCRYPT
    """The address of the authority's ACME directory: Let's Encrypt's, where nothing is written."""
    ca_file: FilePath | None = None
    """The authorities (PEM) that signed the directory's own certificate, in place of the public ones."""
    eab: Annotated[
        ExternalAccountSettings | None, NotEmpty("write eab: {key_id: ID, hmac_key: KEY}, or leave it out")
    ] = None
    """The account of an authority's customer, where it asks for one."""
    key_type: Literal["p256", "p384", "rsa2048", "rsa4096"] = "p256"
    """The kind of the certificate's key, of which each certificate has a new one."""
    profile: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    """One of the profiles that the directory offers, such as Let's Encrypt's `shortlived`, of six days."""

    @model_validator(mode="before")
    @classmethod
    def _unagreed(cls, data: Any) -> Any:
        """Where it is not written, the error says what to read first."""
        return {"terms_agreed": False, **data} if isinstance(data, dict) else data

    @property
    def account_name(self) -> str:
        """What the account is kept under: one for each authority, and for each customer of it."""
        return _digest(self.directory, self.eab.key_id if self.eab is not None else "")

    @property
    def name(self) -> str:
        """What the certificate is kept under: another one is ordered once something of this changes."""
        return _digest(self.directory, *sorted(self.domains), self.key_type, self.profile or "")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
