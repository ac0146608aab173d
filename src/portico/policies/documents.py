"""The OpenAPI documents of services, as far as policies read them: known to a process, compiled, by service."""

from __future__ import annotations

import logging
from collections.abc import Collection
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from portico.core.slices import Steps
from portico.openapi import DocumentError, reading_document
from portico.openapi.operations import Operations, operations_of

logger: Final = logging.getLogger("portico.openapi")

Key: TypeAlias = tuple[str, str | None]
"""A service, and the version of it that a route leads to, or None for the service itself."""


class Documents:
    """Those that are known now. One that cannot be used does not replace the one before it."""

    def __init__(self) -> None:
        self.known: dict[Key, Operations] = {}
        self._digests: dict[Key, bytes] = {}

    def learning(self, key: Key, text: bytes) -> Steps[None]:
        """Go by this document of a service from now on."""
        digest = blake2b(text).digest()
        if self._digests.get(key) == digest:
            return
        try:
            document = yield from reading_document(text)
            operations = yield from operations_of(document)
        except Exception as error:  # whatever others wrote must not end this process
            reason = str(error) if isinstance(error, DocumentError) else repr(error)
            extra = {"service": "@".join(filter(None, key)), "reason": reason}
            logger.error("the OpenAPI document of a service cannot be used: the last one is", extra=extra)
            return
        self.known[key], self._digests[key] = operations, digest

    def forget(self, key: Key) -> None:
        """A service has no document any more."""
        self.known.pop(key, None)
        self._digests.pop(key, None)

    def keep(self, keys: Collection[Key]) -> None:
        """Forget all but these."""
        for key in [key for key in self.known if key not in keys]:
            self.forget(key)


def key_of(handling: Any) -> Key:
    """The service that a request is for; `handling` is that of its match."""
    return handling.service_name, handling.version
