"""The gateway's own TLS: its certificates, those of clients, and the port that redirects to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from portico.config.acme import AcmeSettings
from portico.config.section import FilePath, Section, Whole, written_as
from portico.core.settings import NotEmpty
from portico.net.tls.certificates import Pair, in_one_file


def _version(value: Any) -> Any:
    return str(value) if isinstance(value, float) else value


_ORDERED: Final = "acme: {domains: [www.example.com], terms_agreed: true}"


class CertificateSettings(Section):
    """A certificate and its key: PEM files, the chain in `certificate`."""

    certificate: FilePath
    """The certificate, with the chain behind it, as a PEM file."""
    key: FilePath
    """Its key, as a PEM file that is not encrypted."""

    @property
    def pair(self) -> Pair:
        return Pair(self.certificate, self.key)


class ClientCertificateSettings(Section):
    """The authorities that sign certificates of clients; whether each client has to have one."""

    ca: FilePath
    """The authorities that sign clients' certificates."""
    required: bool = True
    """Whether each client has to have one. With `false` they are asked; a client whose certificate does not verify is
    refused all the same.
    """


class TlsSettings(Section):
    """The certificates for clients: the default one, and more that are chosen by the name that a client asks for (SNI).

    With `acme` one is ordered from an authority; it is the default one where no file is named. `redirect_from` is a
    port of plain HTTP whose clients are redirected to HTTPS on `redirect_to`, or on the gateway's port.
    """

    certificate: FilePath | None = None
    """The default certificate, with the chain behind it, as a PEM file; has to be written unless there is `acme`."""
    key: FilePath | None = None
    """Its key, as a PEM file that is not encrypted."""
    certificates: tuple[CertificateSettings, ...] = ()
    """More pairs of `certificate` and `key`."""
    acme: Annotated[AcmeSettings | None, written_as(dict, _ORDERED), NotEmpty(f"write {_ORDERED}, or leave it out")] = (
        None
    )
    """A certificate that is ordered from an authority and renewed by the gateway."""
    min_version: Annotated[
        Literal["1.2", "1.3"], BeforeValidator(_version, json_schema_input_type=Literal["1.2", "1.3"] | float)
    ] = "1.2"
    """The oldest TLS. Of 1.2 only ECDHE with AES-GCM or ChaCha20 is spoken, without renegotiation and compression."""
    client_certificates: Annotated[
        ClientCertificateSettings | None, NotEmpty("write client_certificates: {ca: FILE}, or leave it out")
    ] = None
    """Certificates of clients, which are asked for them."""
    redirect_from: Annotated[Whole, Field(ge=0, le=65535)] | None = None
    """A second port, of plain HTTP, that answers 308 to HTTPS. 0 picks a free one."""
    redirect_to: Annotated[Whole, Field(ge=1, le=65535)] | None = None
    """The port that it sends clients to, where they see another one than `port`. 443 is left out of the URL."""

    @model_validator(mode="after")
    def _has_a_certificate(self) -> Self:
        if self.certificate is None and self.key is None and self.acme is None:
            raise ValueError('the key "certificate" has to be written, or acme')
        if (self.certificate is None) != (self.key is None):
            missing = "certificate" if self.certificate is None else "key"
            raise ValueError(f'the key "{missing}" has to be written')
        return self

    @model_validator(mode="after")
    def _redirects_from_somewhere(self) -> Self:
        if self.redirect_to is not None and self.redirect_from is None:
            raise ValueError("has redirect_to without redirect_from, the port that redirects")
        return self

    @property
    def pair(self) -> Pair | None:
        """The default certificate, where it is in files."""
        return Pair(self.certificate, self.key) if self.certificate is not None and self.key is not None else None

    @property
    def files(self) -> list[Pair]:
        """All certificates that are in files, the default one first."""
        return [each for each in (self.pair, *(more.pair for more in self.certificates)) if each is not None]

    def pairs(self, ordered: Path) -> list[Pair]:
        """All certificates, the default one first; those that were `ordered` are in this directory."""
        if self.acme is None:
            return self.files
        acme = in_one_file(ordered_file(ordered, self.acme))
        return [*self.files, acme] if self.pair is not None else [acme, *self.files]


def ordered_file(directory: Path, acme: AcmeSettings) -> Path:
    """Where in a directory the certificate is that was ordered, with its key."""
    return directory / f"acme-{acme.name}.pem"
