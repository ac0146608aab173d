"""TLS with clients and with services: versions, ciphers, trusted authorities."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from portico.net.tls.certificates import CertificateError, Pair, explain

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325, section 4.2). TLS 1.3 has nothing else."""


def server_context(
    pair: Pair, min_version: str = "1.2", client_ca: Path | None = None, required: bool = True
) -> ssl.SSLContext:
    """For connections of clients. With `client_ca` they are asked for a certificate, which is mandatory if `required`.

    Raises CertificateError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serve_with(context, min_version)
    _load_pair(context, pair)
    if client_ca is not None:
        _load_authorities(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def serve_with(context: ssl.SSLContext, min_version: str) -> None:
    """Set what holds for connections of clients, but for certificates."""
    context.minimum_version = VERSIONS[min_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])


def client_context(verify: bool = True, ca: Path | None = None, pair: Pair | None = None) -> ssl.SSLContext:
    """For connections to services: `ca` replaces the system's authorities, `pair` is the client certificate.

    Raises CertificateError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if ca is not None:
        _load_authorities(context, ca)
    else:
        context.load_default_certs()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if pair is not None:
        _load_pair(context, pair)
    return context


def _load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    try:
        context.load_cert_chain(pair.certificate, pair.key, password="")  # else OpenSSL asks at the terminal
    except OSError as error:  # ssl.SSLError is one
        reason = f"{error.strerror or error} (with the key {pair.key})"
        raise explain(pair) or CertificateError(pair.certificate, reason) from error


def _load_authorities(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(cafile=ca)
    except ssl.SSLError as error:
        raise CertificateError(ca, "no certificates in PEM form") from error
    except OSError as error:
        raise CertificateError(ca, error.strerror or error) from error
