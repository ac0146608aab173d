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
    key: FilePath

    @property
    def pair(self) -> Pair:
        return Pair(self.certificate, self.key)


class ClientCertificateSettings(Section):
    """The authorities that sign certificates of clients; whether each client has to have one."""

    ca: FilePath
    required: bool = True


class TlsSettings(CertificateSettings):
    """The certificates for clients: the default one, and more that are chosen by the name that a client asks for (SNI).

    `redirect_from` is a port of plain HTTP whose clients are redirected to HTTPS on `redirect_to`, or on the gateway's
    port.
    """

    certificates: tuple[CertificateSettings, ...] = ()
    min_version: Annotated[
        Literal["1.2", "1.3"], BeforeValidator(_version, json_schema_input_type=Literal["1.2", "1.3"] | float)
    ] = "1.2"
    client_certificates: Annotated[
        ClientCertificateSettings | None, NotEmpty("write client_certificates: {ca: FILE}, or leave it out")
    ] = None
    redirect_from: Annotated[Whole, Field(ge=0, le=65535)] | None = None
    redirect_to: Annotated[Whole, Field(ge=1, le=65535)] | None = None

    @model_validator(mode="after")
    def _redirects_from_somewhere(self) -> Self:
        if self.redirect_to is not None and self.redirect_from is None:
            raise ValueError("has redirect_to without redirect_from, the port that redirects")
        return self

    @property
    def pairs(self) -> list[Pair]:
        """All certificates, the default one first."""
        return [self.pair, *(more.pair for more in self.certificates)]
