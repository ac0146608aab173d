"""Certificates of clients: whose they are, by their subject or another of their names.

That an authority has signed them is checked in the handshake, by the gateway (`gateway.tls.client_certificates`) or by
the proxy that reports them.
"""

from __future__ import annotations

import re
import time
from binascii import a2b_base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from portico.core.consumers import Consumers
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.settings import Settings
from portico.net.tls.certificates import UNREADABLE
from portico.net.tls.client_names import certificate_names
from portico.policies.auth.identified import Identity, Proved, Verified, by_credentials
from portico.policies.consumer_fields import NameEncoding, consumer_lines
from portico.policies.policy import Context, Policy

_BELIEVED: Final = 300.0
HOW: Final = "come with a certificate"
CHALLENGE: Final = b'WWW-Authenticate: ClientCertificate realm="portico"'
_UNKNOWN: Final = Refusal("credentials_invalid", "the certificate is that of no consumer, or of several", (CHALLENGE,))
_EXPIRED: Final = Refusal("credentials_expired", "the certificate is not valid at this time", (CHALLENGE,))
_UNREADABLE: Final = Refusal("credentials_invalid", "the certificate cannot be read", (CHALLENGE,))
_REPORTED: Final = re.compile(rb":([A-Za-z0-9+/]+={0,2}):")
"""A byte sequence (RFC 9651, section 3.3.5)."""


class ClientCertificateSettings(Settings):
    """Whether certificates count that trusted proxies report in `Client-Cert` (RFC 9440), in place of their own."""

    from_proxies: bool = False
    """Whether `gateway.trusted_proxies` report the certificates of their clients in `Client-Cert` (RFC 9440)."""


def build_client_certificate(
    settings: ClientCertificateSettings, encoding: NameEncoding, context: Context, absent: Answer | None
) -> Policy:
    """The method: a certificate identifies the one consumer who has a name of it, others get 401, and none `absent`."""
    directory = context.directory
    verified: Verified = context.state.keep(("client_certificate", context.scope, encoding, directory.digest), Verified)
    shown = reported_certificate if settings.from_proxies else own_certificate
    return by_credentials(verified, shown, _identifying(directory, encoding), absent)


def own_certificate(exchange: Exchange) -> bytes | None:
    """The certificate of the connection, in DER."""
    return exchange.stream.client.certificate


def reported_certificate(exchange: Exchange) -> bytes | Answer | None:
    """The same; behind a trusted proxy the one that it reports, whose own certificate is not its clients'."""
    if not exchange.trusted:
        return own_certificate(exchange)
    assert exchange.request is not None
    values = exchange.request.fields.all(b"client-cert")
    if not values:
        return None
    reported = _REPORTED.fullmatch(values[0])
    if len(values) > 1 or reported is None:
        return _UNREADABLE
    try:
        return a2b_base64(reported[1], strict_mode=True)
    except ValueError:
        return _UNREADABLE


def _identifying(directory: Consumers, encoding: NameEncoding) -> Callable[[bytes], Proved]:
    def identify(der: bytes) -> Proved:
        try:
            certificate = x509.load_der_x509_certificate(der)
            names = certificate_names(certificate)
        except UNREADABLE:
            return _UNREADABLE
        moment = datetime.now(UTC)
        if not certificate.not_valid_before_utc <= moment < certificate.not_valid_after_utc:
            return _EXPIRED  # the handshake was before that
        owners = directory.with_certificate(names)
        if len(owners) != 1:
            return _UNKNOWN
        (owner,) = owners
        ends = min(certificate.not_valid_after_utc.timestamp(), time.time() + _BELIEVED)
        return Identity(ends, owner.name, owner.scopes, consumer_lines(owner.name, owner.scopes, encoding), {})

    return identify
