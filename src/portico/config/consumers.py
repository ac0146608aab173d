"""Consumers as they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr

from portico.config.section import Many, Secret, Section, Whole
from portico.core.consumers import Consumer, Consumers, Numbers
from portico.core.passwords import checked_hash
from portico.core.settings import NotEmpty
from portico.core.slices import Steps
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


class ConsumerNumbers(Section):
    """What replaces the numbers of one limit counted by consumer; what is not written stays."""

    requests_per_minute: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """In place of that of every limit `by: consumer` that has one."""
    burst: Annotated[Whole, Field(ge=1, le=10**9)] | None = None
    """In place of that of every limit `by: consumer` that has one."""
    requests_per_hour: Annotated[Whole, Field(ge=1, le=10**12)] | None = None
    """In place of that of every limit `by: consumer` that has one."""
    requests_per_day: Annotated[Whole, Field(ge=1, le=10**12)] | None = None
    """In place of that of every limit `by: consumer` that has one."""
    requests_per_month: Annotated[Whole, Field(ge=1, le=10**12)] | None = None
    """In place of that of every limit `by: consumer` that has one."""


class ConsumerLimit(ConsumerNumbers):
    """What replaces the numbers of rate limits counted by consumer; what is not written stays.

    Numbers that none of those limits has are added to the first of them for this consumer. They are not for limits with
    `cost`, whose units are others: `limits` replaces the numbers of a limit by its name.
    """

    limits: Annotated[
        dict[str, ConsumerNumbers], NotEmpty("write limits: {tokens: {requests_per_day: 100000}}, or leave it out")
    ] = Field(default_factory=dict)
    """Numbers of limits `by: consumer` by their names, also of those with `cost`."""


class ConsumerSettings(Many):
    """A caller, identified by the `username` of a token, or else its `preferred_username` or `sub`, or by an API key.

    `password` is the argon2 hash of its password, or of its client secret; `keys` are the SHA-256 hashes of its API
    keys, beside those that `portico keys` makes, `certificates` subjects and other names of its certificates; `scopes`
    are what it has where it shows one of these.
    """

    name: ConsumerName
    """The consumer, as `auth` finds it, without control characters; unique."""
    rate_limit: Annotated[
        ConsumerLimit | None, NotEmpty("write rate_limit: {requests_per_minute: 60}, or leave it out")
    ] = None
    """Numbers for this consumer in place of those of limits `by: consumer`; those that no limit has hold beside the
    first.
    """
    scopes: tuple[ScopeName, ...] = ()
    """What the consumer may do where it shows no token that says so itself: with an API key."""
    password: Annotated[Secret, AfterValidator(_password)] = None
    """The argon2 hash of its password, or of the secret of a client, never that itself: `portico password` makes it.
    With it the consumer can sign in.
    """
    keys: tuple[Annotated[str, AfterValidator(_digest)], ...] = ()
    """SHA-256 hashes of its API keys, `sha256:` and 64 hexadecimal digits, beside the keys that `portico keys` makes;
    never a key itself.
    """

    certificates: tuple[Annotated[str, AfterValidator(checked_certificate_name)], ...] = ()
    """Names of certificates that are its own: a subject as `CN=alice,O=Example` (RFC 4514), or `DNS:`, `URI:`,
    `email:`, `IP:` and `sha256:` with what follows. No two consumers have the same.
    """

    @property
    def numbers(self) -> Numbers | None:
        """Its own numbers of rate limits, as far as they are written."""
        written = self.rate_limit
        return None if written is None else written.model_dump(exclude_none=True, exclude_defaults=True)

    def compiled(self) -> Consumer:
        """The same for whoever asks the directory of consumers."""
        digests = tuple(bytes.fromhex(each.removeprefix("sha256:")) for each in self.keys)
        password = self.password.get_secret_value() if self.password is not None else ""
        return Consumer(self.name, self.scopes, digests, password, self.certificates)


def directory_of(consumers: Iterable[ConsumerSettings]) -> Steps[Consumers]:
    """What is known of all of them, in steps; those with the same scopes share these."""
    alike: dict[tuple[str, ...], tuple[str, ...]] = {}
    names: dict[str, str] = {}

    def compiled() -> Iterator[tuple[Consumer, Numbers | None]]:
        for each in consumers:
            scopes = alike.get(each.scopes)
            if scopes is None:
                scopes = tuple(names.setdefault(name, name) for name in each.scopes)
                alike[scopes] = scopes
            yield replace(each.compiled(), scopes=scopes), each.numbers

    return (yield from Consumers.gathering(compiled()))
