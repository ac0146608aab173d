"""What a client's certificate says it is: names by which a configuration may know it."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

_FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{64}", re.IGNORECASE)
_EXPECTED: Final = (
    "expected a subject as CN=alice,O=Example (RFC 4514), or DNS:alice.example, URI:spiffe://example/alice, "
    "email:alice@example.com, IP:192.0.2.1, or sha256: and 64 hexadecimal digits"
)


def certificate_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Its names as `checked_certificate_name` gives them. Raises one of `UNREADABLE`."""
    names = [f"sha256:{certificate.fingerprint(SHA256()).hex()}"]
    if subject := certificate.subject.rfc4514_string():
        names.append(subject)
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return tuple(names)
    names += [f"DNS:{_host(name)}" for name in others.get_values_for_type(x509.DNSName)]
    names += [f"URI:{name}" for name in others.get_values_for_type(x509.UniformResourceIdentifier)]
    names += [f"email:{name}" for name in others.get_values_for_type(x509.RFC822Name)]
    names += [f"IP:{name}" for name in others.get_values_for_type(x509.IPAddress)]
    return tuple(names)


def checked_certificate_name(text: str) -> str:
    """One name in the form in which names are compared: to the letter, but for hosts and spellings of a subject.

    Raises ValueError.
    """
    kind, colon, name = text.partition(":")
    if _FINGERPRINT.fullmatch(text):
        return text.lower()
    if colon and name and kind == "DNS":
        if "*" in name:
            raise ValueError("a name is compared whole: it has no patterns")
        return f"DNS:{_host(name)}"
    if colon and name and kind in ("URI", "email"):
        return text
    if kind == "IP":
        return f"IP:{ipaddress.ip_address(name)}"
    try:
        subject = x509.Name.from_rfc4514_string(text).rfc4514_string()
    except ValueError:
        subject = ""
    if not subject:
        raise ValueError(_EXPECTED)
    return subject


def _host(name: str) -> str:
    return name.lower().rstrip(".")
