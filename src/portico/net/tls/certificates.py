"""PEM files of certificates and keys: what is in them, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

UNREADABLE: Final = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What the library raises for certificates that OpenSSL, which is more lenient, accepts."""


class CertificateError(Exception):
    """A file that cannot be used; the message names it and says why."""

    def __init__(self, file: Path, reason: object) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, with the chain up to its authority behind it, and the key that belongs to it."""

    certificate: Path
    key: Path


def in_one_file(path: Path) -> Pair:
    """A certificate with its chain and its key in the same file, which changes as a whole."""
    return Pair(path, path)


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a file. Raises CertificateError."""
    try:
        return x509.load_pem_x509_certificate(_bytes_of(path))
    except UNREADABLE as error:
        raise CertificateError(path, "no certificate in PEM form at its beginning") from error


def names_of(certificate: x509.Certificate) -> list[str]:
    """The host names that it is valid for, in lower case: its DNS names or, in old ones, its common name (RFC 6125)."""
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = alternatives.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except UNREADABLE:
        names = []
    return [name.lower().rstrip(".") for name in names]


def days_left(certificate: x509.Certificate) -> float:
    """Days until it expires; negative where it has."""
    return (certificate.not_valid_after_utc - datetime.now(UTC)).total_seconds() / 86400


def explain(pair: Pair) -> CertificateError | None:
    """Which of the two files is wrong and why; None where no fault is found."""
    try:
        certificate = read_certificate(pair.certificate)
        key = load_pem_private_key(_bytes_of(pair.key), password=None)
    except CertificateError as error:
        return error
    except TypeError:
        return CertificateError(pair.key, "the key is encrypted, and there is no prompt for its password")
    except (ValueError, UnsupportedAlgorithm):
        return CertificateError(pair.key, "no private key in PEM form")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        return CertificateError(pair.key, f"not the key of the certificate {pair.certificate}")
    return None


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(path, error.strerror or error) from error
