"""A certificate authority made for a test."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Leaf:
    """PEM files: a certificate that the authority signed, and its key."""

    certificate: Path
    key: Path

    @property
    def written(self) -> dict[str, str]:
        """As a configuration says it."""
        return {"certificate": str(self.certificate), "key": str(self.key)}

    def replace_by(self, other: Leaf) -> None:
        """Put the other's content into this one's files, each of them at once."""
        for own, new in ((self.certificate, other.certificate), (self.key, other.key)):
            put(own, new.read_bytes())

    def content(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes())


def put(path: Path, content: bytes) -> None:
    """Replace a file as a whole."""
    partial = path.with_suffix(".new")
    partial.write_bytes(content)
    partial.replace(path)


class Authority:
    """Signs what it is asked to; `ca` is the file with its own certificate."""

    def __init__(self, folder: Path, name: str = "Portico test authority") -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        own = self._builder(self._name, self._key.public_key(), 1)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        own = own.add_extension(usage, critical=True).add_extension(self._identifier, critical=False)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def leaf(
        self,
        file: str,
        *names: str,
        common_name: str | None = "leaf",
        days: float = 1,
        uris: Sequence[str] = (),
        subject: x509.Name | None = None,
    ) -> Leaf:
        """A new certificate and key in FILE.pem and FILE.key; `names` are host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        common = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
        builder = self._builder(subject or x509.Name(common), key.public_key(), days)
        alternatives = [_alternative(name) for name in names] + [x509.UniformResourceIdentifier(uri) for uri in uris]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        signer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier)
        builder = builder.add_extension(signer, critical=False)
        made = Leaf(self.folder / f"{file}.pem", self.folder / f"{file}.key")
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        put(made.certificate, builder.sign(self._key, hashes.SHA256()).public_bytes(pem))
        put(made.key, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        return made

    def sign(self, public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, names: Sequence[str], life: float) -> str:
        """A certificate for somebody else's key, good for so many seconds from now on, with the chain, in PEM."""
        now = datetime.datetime.now(datetime.UTC)
        builder = self._named(x509.Name([]), public)
        builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(seconds=life))
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        signer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier)
        builder = builder.add_extension(alternatives, critical=True).add_extension(signer, critical=False)
        pem = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return (pem + self.ca.read_bytes()).decode()

    def client_context(self, leaf: Leaf | None = None) -> ssl.SSLContext:
        """A client that believes this authority, and shows `leaf` where it is asked to."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if leaf is not None:
            context.load_cert_chain(leaf.certificate, leaf.key)
        return context

    def server_context(self, leaf: Leaf) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.certificate, leaf.key)
        return context

    def _builder(self, name: x509.Name, public: ec.EllipticCurvePublicKey, days: float) -> x509.CertificateBuilder:
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        builder = self._named(name, public).not_valid_after(end)
        return builder.not_valid_before(end - datetime.timedelta(days=abs(days) + 1))

    def _named(self, name: x509.Name, public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(public)
        return builder.serial_number(x509.random_serial_number())


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
