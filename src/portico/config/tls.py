"""The gateway's own TLS: its certificates, those of clients, and the port that redirects to it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from portico.config.section import FilePath, Section, Whole
from portico.core.settings import NotEmpty
from portico.net.tls.certificates import Pair


def _version(value: Any) -> Any:
    return str(value) if isinstance(value, float) else value


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


class TlsSettings(CertificateSettings):
    """The certificates for clients: the default one, and more that are chosen by the name that a client asks for (SNI).

    `redirect_from` is a port of plain HTTP whose clients are redirected to HTTPS on `redirect_to`, or on the gateway's
    port.
    """

    certificates: tuple[CertificateSettings, ...] = ()
    """More pairs of `certificate` and `key`."""
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
    def _redirects_from_somewhere(self) -> Self:
        if self.redirect_to is not None and self.redirect_from is None:
            raise ValueError("has redirect_to without redirect_from, the port that redirects")
        return self

    @property
    def pairs(self) -> list[Pair]:
        """All certificates, the default one first."""
        return [self.pair, *(more.pair for more in self.certificates)]
