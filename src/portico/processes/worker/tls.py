"""The gateway's own certificates while it runs: which one a client gets, and how renewed ones come into use."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from portico.config import TlsSettings
from portico.net.tls.certificates import CertificateError, Pair, names_of, read_certificate
from portico.net.tls.contexts import serve_with, server_context
from portico.net.tls.renewed import Renewed
from portico.net.tls.tickets import TicketContexts

logger: Final = logging.getLogger("portico.tls")

Certified: TypeAlias = tuple[ssl.SSLContext, list[str]]
"""A context with a certificate, and the names of that certificate."""


class Termination:
    """The TLS of a listening socket. Connections keep what they began with; new ones get the newest.

    With `tickets` clients can resume at one worker the sessions that they began at another. Not where they are asked
    for certificates: a session is resumed without one, so it must not outlive a change of the authorities.
    """

    def __init__(self, settings: TlsSettings, directory: Path, tickets: TicketContexts | None = None) -> None:
        """Certificates that are ordered are in the `directory`. Raises CertificateError."""
        _ignore_odd_names()
        self._settings = settings
        self._directory = directory
        self._tickets = tickets
        self._shared: ssl.SSLContext | None = None
        """The current context of `tickets`."""
        self._pairs = _made(settings, directory)
        self._arrange()

    def context(self) -> ssl.SSLContext:
        """For a new connection."""
        return self._entry

    def refresh(self) -> None:
        """Take over files that have changed, and the keys of a new day."""
        renewed = [pair.refresh() for pair in self._pairs]
        if any(renewed) or (self._tickets is not None and self._tickets.current() is not self._shared):
            self._arrange()

    def adopt(self, settings: TlsSettings) -> None:
        """Use other settings, or keep the present ones where the files of the others cannot be used."""
        if settings == self._settings:
            self.refresh()
            return
        try:
            self._pairs = _made(settings, self._directory)
        except CertificateError as error:
            logger.error("changed TLS settings could not be taken over", extra={"reason": str(error)})
            return
        self._settings = settings
        self._arrange()

    def _arrange(self) -> None:
        self._entry = default = self._pairs[0].value[0]
        self._shared = self._tickets.current() if self._tickets is not None else None
        if self._shared is not None and self._settings.client_certificates is None:
            self._entry = self._shared
            serve_with(self._entry, self._settings.min_version)
        if self._entry is not default or len(self._pairs) > 1:
            self._entry.sni_callback = _Chooser(default, (pair.value for pair in self._pairs))


class _Chooser:
    """Chooses by the name that a client asks for (SNI, RFC 6066, section 3); the `default` for any other."""

    def __init__(self, default: ssl.SSLContext, certified: Iterable[Certified]) -> None:
        self._default = default
        self._contexts: dict[str, ssl.SSLContext] = {}
        for context, names in certified:
            for name in names:
                self._contexts.setdefault(name, context)

    def __call__(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        asked = name.lower().rstrip(".") if name else ""
        wildcard = "*." + asked.partition(".")[2]  # it stands for one label (RFC 6125, section 6.4.3)
        connection.context = self._contexts.get(asked) or self._contexts.get(wildcard) or self._default


def _made(settings: TlsSettings, directory: Path) -> list[Renewed[Certified]]:
    return [_renewed(pair, settings) for pair in settings.pairs(directory)]


def _renewed(pair: Pair, settings: TlsSettings) -> Renewed[Certified]:
    clients = settings.client_certificates
    files = list(dict.fromkeys([pair.certificate, pair.key, *([clients.ca] if clients else [])]))
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
