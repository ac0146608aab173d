"""The gateway's own certificates while it runs: which one a client gets, and how renewed ones come into use."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, TypeAlias

from portico.config import TlsSettings
from portico.net.tls.certificates import CertificateError, Pair, names_of, read_certificate
from portico.net.tls.contexts import server_context
from portico.net.tls.renewed import Renewed

logger: Final = logging.getLogger("portico.tls")

Certified: TypeAlias = tuple[ssl.SSLContext, list[str]]
"""A context with a certificate, and the names of that certificate."""


class Termination:
    """The TLS of a listening socket. Connections keep what they began with; new ones get the newest."""

    def __init__(self, settings: TlsSettings) -> None:
        """Raises CertificateError."""
        _ignore_odd_names()
        self._settings = settings
        self._pairs = _made(settings)
        self._arrange()

    def context(self) -> ssl.SSLContext:
        """For a new connection."""
        return self._default

    def refresh(self) -> None:
        """Take over files that have changed."""
        renewed = [pair.refresh() for pair in self._pairs]
        if any(renewed):
            self._arrange()

    def adopt(self, settings: TlsSettings) -> None:
        """Use other settings, or keep the present ones where the files of the others cannot be used."""
        if settings == self._settings:
            self.refresh()
            return
        try:
            self._pairs = _made(settings)
        except CertificateError as error:
            logger.error("changed TLS settings could not be taken over", extra={"reason": str(error)})
            return
        self._settings = settings
        self._arrange()

    def _arrange(self) -> None:
        self._default, _ = self._pairs[0].value
        if len(self._pairs) > 1:
            self._default.sni_callback = _Chooser(pair.value for pair in self._pairs)


class _Chooser:
    """Chooses by the name that a client asks for (SNI, RFC 6066, section 3); the first for any other."""

    def __init__(self, certified: Iterable[Certified]) -> None:
        self._contexts: dict[str, ssl.SSLContext] = {}
        for context, names in certified:
            for name in names:
                self._contexts.setdefault(name, context)

    def __call__(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name:
            asked = name.lower().rstrip(".")
            wildcard = "*." + asked.partition(".")[2]  # it stands for one label (RFC 6125, section 6.4.3)
            context = self._contexts.get(asked) or self._contexts.get(wildcard)
            if context is not None:
                connection.context = context


def _made(settings: TlsSettings) -> list[Renewed[Certified]]:
    return [_renewed(pair, settings) for pair in settings.pairs]


def _renewed(pair: Pair, settings: TlsSettings) -> Renewed[Certified]:
    clients = settings.client_certificates
    files = [pair.certificate, pair.key, *([clients.ca] if clients else [])]
    return Renewed(partial(_certified, pair, settings), files)


def _certified(pair: Pair, settings: TlsSettings) -> Certified:
    clients = settings.client_certificates
    asks = (clients.ca, clients.required) if clients else ()
    return server_context(pair, settings.min_version, *asks), names_of(read_certificate(pair.certificate))


def _ignore_odd_names() -> None:
    """Keep clients from filling the log: Python reports a name that is not ASCII as an error that cannot be caught.

    The handshake fails all the same, and is counted.
    """
    report = sys.unraisablehook

    def unless_odd(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, UnicodeDecodeError) and isinstance(unraisable.object, bytes)):
            report(unraisable)

    sys.unraisablehook = unless_odd
