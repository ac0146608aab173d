"""TLS towards services: one context for each distinct `tls` setting, rebuilt when its files change."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from functools import partial
from typing import Final, TypeAlias

from portico.config import UpstreamTlsSettings
from portico.net.tls.contexts import client_context
from portico.net.tls.renewed import Renewed

UpstreamContext: TypeAlias = Renewed[ssl.SSLContext]


class UpstreamContexts:
    """The contexts of all services; making one costs tens of milliseconds."""

    def __init__(self) -> None:
        self._made: Final[dict[UpstreamTlsSettings, UpstreamContext]] = {}

    def get(self, settings: UpstreamTlsSettings) -> UpstreamContext:
        """The context for `settings`. Raises CertificateError where there is none yet and its files cannot be used."""
        if settings not in self._made:
            make = partial(client_context, settings.verify, settings.ca, settings.pair)
            self._made[settings] = Renewed(make, settings.files)
        return self._made[settings]

    def keep(self, used: Collection[UpstreamTlsSettings]) -> None:
        """Forget all others."""
        for settings in self._made.keys() - used:
            del self._made[settings]

    def refresh(self) -> bool:
        """Whether there are new contexts because files have changed."""
        renewed = [context.refresh() for context in self._made.values()]
        return any(renewed)
