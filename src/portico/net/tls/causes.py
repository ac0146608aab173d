"""Why a TLS handshake with a service failed, in words for the operator."""

from __future__ import annotations

import ssl
from typing import Final

_UNKNOWN_AUTHORITY: Final = "its certificate is signed by an unknown authority"
_CERTIFICATES: Final = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    23: "its certificate is revoked",
    26: "its certificate is not for servers",
}
"""By the results of verification, as OpenSSL's x509_vfy.h has them."""
_NO_VERSION: Final = "it shares no version of TLS with this gateway"
_NO_CERTIFICATE: Final = "it asks for a client certificate (tls.certificate, tls.key)"
_REFUSED_CERTIFICATE: Final = "it does not accept this gateway's certificate"
_PROTOCOL: Final = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it does not speak TLS",
    "PACKET_LENGTH_TOO_LONG": "it does not speak TLS",
    "RECORD_LAYER_FAILURE": "it does not speak TLS",
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": _NO_VERSION,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it shares no cipher with this gateway, or wants what it does not get",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _NO_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": _REFUSED_CERTIFICATE,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _REFUSED_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _REFUSED_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _REFUSED_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _REFUSED_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": _REFUSED_CERTIFICATE,
    "TLSV1_ALERT_ACCESS_DENIED": _REFUSED_CERTIFICATE,
    "TLSV1_UNRECOGNIZED_NAME": "it knows no server of this name (tls.server_name)",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "it does not speak HTTP/1.1",
    "UNEXPECTED_EOF_WHILE_READING": "it closed the connection",
}
"""By OpenSSL's names of its errors."""


def proxy_error_of(error: OSError) -> str:
    """What `Proxy-Status` calls a failed handshake (RFC 9209, sections 2.3.14 to 2.3.16)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "tls_certificate_error"
    return "tls_alert_received" if "ALERT" in str(getattr(error, "reason", "")) else "tls_protocol_error"


def cause_of(error: OSError) -> str:
    """What was wrong, as a clause with the service as `it`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _CERTIFICATES.get(getattr(error, "verify_code", 0))
        return known or f"its certificate does not fit: {getattr(error, 'verify_message', error)}".rstrip(".").lower()
    if isinstance(error, ssl.SSLEOFError):
        return "it closed the connection"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or "unknown error"  # one that Python makes has none
        return _PROTOCOL.get(reason) or reason.replace("_", " ").lower()
    return error.strerror.lower() if error.strerror else "it closed the connection"


def reason_of(error: Exception) -> str:
    """What was wrong, in a few words; for a handshake that failed within a client's own error those of `cause_of`."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, ssl.SSLError):
        inner = inner.__cause__ or inner.__context__
    return cause_of(inner) if inner is not None else str(error) or type(error).__name__
