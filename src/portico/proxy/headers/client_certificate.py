"""The field line that describes a client's certificate to a service, as Envoy's X-Forwarded-Client-Cert."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from cryptography import x509

from portico.net.tls.certificates import UNREADABLE

_BARE: Final = re.compile(r"[!#-+\--:<>-\[\]-~]+")
"""A value that needs no quotes: visible ASCII without `"`, `,`, `;`, `=` and `\\`."""
_VISIBLE: Final = re.compile(r"[!-~]+")


def certificate_line(der: bytes) -> bytes:
    """The field line for a verified certificate: `Hash`, `Subject`, then each URI and DNS name, where present.

    The values come from the certificate: nothing in them may end the quotes or the line.
    """
    parts = [f"Hash={hashlib.sha256(der).hexdigest()}"]
    try:
        parts += _described(x509.load_der_x509_certificate(der))
    except UNREADABLE:  # only the hash is sent
        del parts[1:]
    return b"X-Forwarded-Client-Cert: " + ";".join(parts).encode("ascii")


def _described(certificate: x509.Certificate) -> Iterator[str]:
    subject = certificate.subject.rfc4514_string()
    if subject:
        yield f"Subject={_quoted(_ascii(subject))}"
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for key, kind in (("URI", x509.UniformResourceIdentifier), ("DNS", x509.DNSName)):
        for name in names.get_values_for_type(kind):
            if _VISIBLE.fullmatch(name):  # nothing else is a URI or a host name
                yield f"{key}={name if _BARE.fullmatch(name) else _quoted(name)}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _ascii(name: str) -> str:
    """A distinguished name with the bytes that no field value may hold as pairs of digits (RFC 4514, section 2.4)."""
    return "".join(
        character if " " <= character <= "~" else "".join(f"\\{byte:02X}" for byte in character.encode())
        for character in name
    )
