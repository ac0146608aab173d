"""The certificates that the gateway presents, of files and ordered ones, over the admin API: `/admin/certificates`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from fastapi import APIRouter, Depends

from portico.config import presented_certificates
from portico.net.tls.certificates import CertificateError, names_of, read_certificate
from portico.processes.control.admin.models import Page, Shown
from portico.processes.control.bound import Bound
from portico.processes.control.state import State

_AT_ONCE: Final = 16
_KEPT: Final = ("names", "state", "expires", "ordering", "next_try", "problem")
"""What is shown of an ordered one."""


class PresentedCertificate(Shown):
    """One certificate."""

    names: list[str]
    """The host names that it is valid for."""
    source: str
    """`file`, or `acme` for one that is ordered."""
    where: str
    """Its file, or the directory of its authority."""
    keys: list[str]
    """Where the configuration names it."""
    issuer: str = ""
    state: str
    """`valid`, `expired`, or `missing` for one that is not there or cannot be read."""
    expires: str | float | None = None
    """Seconds since the epoch, or a time as RFC 3339 writes it."""
    ordering: bool = False
    """Whether an order is under way."""
    next_try: str | float | None = None
    problem: str = ""


class CertificatesPage(Page):
    """All that there are."""

    certificates: list[PresentedCertificate]


def certificate_routes(state: State) -> APIRouter:
    """`/admin/certificates`."""
    router = APIRouter(tags=["certificates"], dependencies=[Depends(Bound(_AT_ONCE))])

    @router.get("/admin/certificates")
    async def certificates() -> CertificatesPage:
        """The certificates that the gateway presents, and until when: those of files first, read now."""
        found = await asyncio.to_thread(_of_files, [*presented_certificates(state.config)])
        ordered = [_ordered(each) for each in state.certificates.states()]
        return CertificatesPage(generation=state.generation, certificates=[*found, *ordered])

    return router


def _of_files(named: Iterable[tuple[tuple[str | int, ...], Path]]) -> list[PresentedCertificate]:
    keys: dict[Path, list[str]] = {}
    for key, file in named:
        keys.setdefault(file, []).append(".".join(map(str, key)))
    return [_of_file(file, where) for file, where in keys.items()]


def _of_file(file: Path, keys: list[str]) -> PresentedCertificate:
    said: dict[str, Any] = {"source": "file", "where": str(file), "keys": keys}
    try:
        certificate = read_certificate(file)
    except CertificateError as error:
        return PresentedCertificate(names=[], state="missing", problem=str(error), **said)
    end = certificate.not_valid_after_utc.timestamp()
    state = "valid" if time.time() < end else "expired"
    names, issuer = names_of(certificate), _issuer(certificate)
    return PresentedCertificate(names=names, issuer=issuer, state=state, expires=end, **said)


def _issuer(certificate: x509.Certificate) -> str:
    try:
        return certificate.issuer.rfc4514_string()
    except ValueError:
        return ""


def _ordered(state: dict[str, Any]) -> PresentedCertificate:
    said = {"source": "acme", "where": state["directory"], "keys": []}
    return PresentedCertificate.model_validate({**{name: state[name] for name in _KEPT if name in state}, **said})
