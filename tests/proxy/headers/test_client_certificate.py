"""The line that describes a client's certificate to a service: whatever is in that, it stays one value of one field."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.core.exchange import Client
from portico.proxy.headers.client_certificate import certificate_line
from portico.proxy.headers.forwarded import Peer

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(common_name: str | None = None, names: Sequence[x509.GeneralName] = ()) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + datetime.timedelta(days=1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def value(der: bytes) -> str:
    """The field's value behind the hash, which is checked."""
    line = certificate_line(der).decode("ascii")
    name, _, rest = line.partition(": ")
    digest = f"Hash={hashlib.sha256(der).hexdigest()}"
    assert name == "X-Forwarded-Client-Cert"
    assert rest.startswith(digest)
    return rest.removeprefix(digest)


@pytest.mark.parametrize(
    ("common_name", "subject"),
    [
        (None, ""),
        ("alice", ';Subject="CN=alice"'),
        ('al"ice', ';Subject="CN=al\\\\\\"ice"'),
        ("a,b;c=d", ';Subject="CN=a\\\\,b\\\\;c=d"'),
        ("J\u00fcrgen", ';Subject="CN=J\\\\C3\\\\BCrgen"'),
        ("a\r\nX-Real-IP: 6.6.6.6", ';Subject="CN=a\\\\0D\\\\0AX-Real-IP: 6.6.6.6"'),
    ],
)
def test_subjects(common_name: str | None, subject: str) -> None:
    assert value(certificate(common_name)) == subject


def test_names() -> None:
    names = [
        x509.DNSName("a.test"),
        x509.UniformResourceIdentifier("spiffe://test/a;b=c"),
        x509.RFC822Name("a@b.test"),
        x509.UniformResourceIdentifier("spiffe://test/x"),
        x509.DNSName("*.b.test"),
        x509.DNSName("bad\r\nX-Real-IP: 6.6.6.6"),
        x509.DNSName('"'),
    ]
    assert value(certificate(None, names)) == (
        ';URI="spiffe://test/a;b=c";URI=spiffe://test/x;DNS=a.test;DNS=*.b.test;DNS="\\""'
    )


def test_what_cannot_be_read_has_its_hash() -> None:
    assert value(b"nonsense") == ""


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=40).filter(str.isprintable) | st.text('"\\,;=+<># \r\n\x00\x7f\u20ac', min_size=1))
def test_no_subject_gets_out_of_its_quotes(common_name: str) -> None:
    try:
        der = certificate(common_name)
    except ValueError:
        return  # no such certificate can be made
    assert re.fullmatch(r';Subject="(?:[ !#-\[\]-~]|\\\\|\\")*"', value(der))


def test_a_connection_without_one_says_nothing() -> None:
    assert b"Cert" not in Peer(Client("192.0.2.1", 443, True), []).lines
    lines = Peer(Client("192.0.2.1", 443, True, certificate("alice")), []).lines.split(b"\r\n")
    assert lines[-1].startswith(b"X-Forwarded-Client-Cert: Hash=")
