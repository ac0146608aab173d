"""What is known of ordered certificates: kept in a file of this gateway, and in the Redis that gateways share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from cryptography import x509

from portico.net.tls.certificates import names_of

_RENEWED_AT: Final = 2 / 3
"""The part of its life after which a certificate is renewed, unless the authority suggests another time."""
_RENEWED_BY: Final = 0.9
"""The part by which it is renewed, whatever the authority suggests."""
_KEPT_AT_LEAST, _KEPT_FOR = 0.1, 86_400.0
"""The part, or the seconds, before which it is not: one that always suggests now gets no order after the other."""


class Account(msgspec.Struct, frozen=True):
    """A private key in PEM, and the URL of its account once the authority knows it."""

    key: str
    url: str = ""


class Order(msgspec.Struct, frozen=True):
    """One that has begun, with the private key of its certificate in PEM.

    `answers` are what the authority has to get when it asks, by token; `begun` is in seconds since the epoch.
    """

    url: str
    key: str
    begun: float
    answers: dict[str, str] = {}


class Certificate(msgspec.Struct, frozen=True):
    """One that was issued: the chain and the private key, in PEM."""

    chain: str
    key: str

    @property
    def pem(self) -> bytes:
        """Both."""
        return (self.chain.rstrip() + "\n" + self.key).encode()

    @property
    def life(self) -> Life:
        """From when on and until when it is good."""
        return _life(self.chain)

    @property
    def names(self) -> list[str]:
        """The host names that it is for."""
        return names_of(x509.load_pem_x509_certificate(self.chain.encode()))


class Life(NamedTuple):
    """Seconds since the epoch."""

    begin: float
    end: float

    def after(self, part: float) -> float:
        """When so much of it has passed."""
        return self.begin + (self.end - self.begin) * part


class Record(msgspec.Struct, frozen=True):
    """All that is known of the certificate for some names. Times are in seconds since the epoch.

    Nothing is asked of the authority before `next_try`. `problem` is why the last try came to nothing, `kind` the sort
    of that, `failures` how many have in a row. The authority suggests that the certificate is renewed at `renew_at`,
    and is asked about that again at `ask_at`.
    """

    names: list[str]
    certificate: Certificate | None = None
    order: Order | None = None
    next_try: float = 0.0
    failures: int = 0
    problem: str = ""
    kind: str = ""
    renew_at: float | None = None
    ask_at: float = 0.0

    @property
    def due(self) -> float:
        """When something is to be done next."""
        if self.order is not None or self.certificate is None:
            return self.next_try
        return max(self.next_try, self.renewal)

    @property
    def renewal(self) -> float:
        """When the certificate is renewed; now, where there is none."""
        if self.certificate is None:
            return 0.0
        life = self.certificate.life
        if self.renew_at is None:
            return life.after(_RENEWED_AT)
        earliest = min(life.after(_KEPT_AT_LEAST), life.begin + _KEPT_FOR)
        return min(max(self.renew_at, earliest), life.after(_RENEWED_BY))


class Kept(msgspec.Struct):
    """The content of the file: accounts, and records, by what each is kept under."""

    accounts: dict[str, Account] = {}
    records: dict[str, Record] = {}


encode: Final = msgspec.json.Encoder().encode
decode_kept: Final = msgspec.json.Decoder(Kept).decode
decode_record: Final = msgspec.json.Decoder(Record).decode
decode_account: Final = msgspec.json.Decoder(Account).decode
changed: Final = msgspec.structs.replace


def newer(own: Record, shared: Record) -> Record:
    """What to go by of two records of the same names: the one whose certificate is good for longer, or the shared.

    What an authority has said to this gateway alone holds too: the later `next_try` does.
    """
    if own.certificate is None or shared.certificate == own.certificate:
        if own.certificate == shared.certificate and own.next_try > shared.next_try:
            said = {key: getattr(own, key) for key in ("next_try", "failures", "problem", "kind")}
            return changed(shared, **said)
        return shared
    if shared.certificate is not None and shared.certificate.life.end >= own.certificate.life.end:
        return shared
    return own


def nearest(names: Sequence[str], records: Sequence[Record], now: float) -> Certificate | None:
    """The certificate that is good now for most of these names, of others'; None where none is for any."""
    others = [each.certificate for each in records if each.certificate is not None]
    good = [(len({*names} & {*each.names}), each.life.end, each) for each in others if now < each.life.end]
    count, _, best = max(good, default=(0, 0.0, None), key=lambda found: found[:2])
    return best if count else None


@lru_cache(64)
def _life(chain: str) -> Life:
    certificate = x509.load_pem_x509_certificate(chain.encode())
    return Life(_seconds(certificate.not_valid_before_utc), _seconds(certificate.not_valid_after_utc))


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
