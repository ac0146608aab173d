"""Consumers as they are written."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr

from portico.config.section import Secret, Section, Whole
from portico.core.consumers import Consumer
from portico.core.passwords import checked_hash
from portico.core.settings import NotEmpty
from portico.net.tls.client_names import checked_certificate_name
from portico.policies.consumer_fields import ConsumerName, ScopeName

_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise ValueError("expected sha256: and 64 hexadecimal digits, never the key itself: portico keys hash makes it")
    return text.lower()


def _password(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None:
        checked_hash(secret.get_secret_value())
    return secret


class ConsumerLimit(Section):
    """What replaces the numbers of rate limits counted by consumer; what is not written stays.

    Numbers that none of those limits has are added to the first of them for this consumer.
    """

    requests_per_minute: Annotated[float, Field(gt=0, le=1e9)] | None = None
    burst: Annotated[Whole, Field(ge=1, le=10**9)] | None = None
    requests_per_hour: Annotated[Whole, Field(ge=1, le=10**12)] | None = None
    requests_per_day: Annotated[Whole, Field(ge=1, le=10**12)] | None = None
    requests_per_month: Annotated[Whole, Field(ge=1, le=10**12)] | None = None


class ConsumerSettings(Section):
    """A caller, identified by the `username` of a token, or else its `preferred_username` or `sub`, or by an API key.

    `password` is the argon2 hash of its password, or of its client secret; `keys` are the SHA-256 hashes of its API
    keys, beside those that `portico keys` makes, `certificates` subjects and other names of its certificates; `scopes`
    are what it has where it shows one of these.
    """

    name: ConsumerName
    rate_limit: Annotated[
        ConsumerLimit | None, NotEmpty("write rate_limit: {requests_per_minute: 60}, or leave it out")
    ] = None
    scopes: tuple[ScopeName, ...] = ()
    password: Annotated[Secret, AfterValidator(_password)] = None
    keys: tuple[Annotated[str, AfterValidator(_digest)], ...] = ()

    certificates: tuple[Annotated[str, AfterValidator(checked_certificate_name)], ...] = ()

    def compiled(self) -> Consumer:
        """The same for whoever asks the directory of consumers."""
        digests = tuple(bytes.fromhex(each.removeprefix("sha256:")) for each in self.keys)
        password = self.password.get_secret_value() if self.password is not None else ""
        return Consumer(self.name, self.scopes, digests, password, self.certificates)
