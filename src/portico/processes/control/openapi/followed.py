"""One document of a service: fetched now and then, and kept while the service is away."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from portico.config.openapi import OpenApiSettings
from portico.core.tasks import endless
from portico.openapi import Document, DocumentError, read_document
from portico.openapi.breaking import breaking_changes
from portico.processes.control.check import Check
from portico.processes.control.instance_clients import InstanceClients
from portico.processes.control.openapi.fetching import FetchError, fetch
from portico.processes.control.openapi.records import Record
from portico.processes.control.openapi.ways import Key

logger: Final = logging.getLogger("portico.openapi")

_PAUSE: Final = 1.0
"""Seconds between two fetches at least, whatever happens; where they fail, each pause is twice the last."""
_LONGEST_PAUSE: Final = 600.0
_SPREADS: Final = 20
"""Where many documents are wanted, those that fail are not fetched again before so many times the span of a spread."""
_ABSENT: Final = 5
"""As many failures a service counts for that says that it has no document: it is asked again after half a minute."""
_LOGGED: Final = 20
"""Changes of which an event has the text."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document is: the service or version, where its instances have it, and which those are."""

    key: Key
    settings: OpenApiSettings
    upstream: str

    @property
    def name(self) -> str:
        """How it is shown."""
        service, version = self.key
        return service if version is None else f"{service}@{version}"


@dataclass(eq=False)
class Followed:
    """Fetches a document for as long as it exists. `changed` is called when something else is known of it."""

    source: Source
    clients: InstanceClients
    instances: Callable[[Source], Sequence[Check]]
    changed: Callable[[Followed], None]
    document: Document | None = None
    text: bytes = b""
    """The document as JSON, empty where none is known."""
    fetched: float = 0.0
    turned: float = 0.0
    """When it last became another one."""
    breaking: tuple[str, ...] = ()
    problem: str = ""
    in_short: str = ""
    failures: int = 0
    within: float = 0.0
    """Seconds over which those are spread that are fetched at the same time."""
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    _etag: str = ""

    def start(self, record: Record | None) -> None:
        """Begin, with what was known before."""
        if record is not None and record.path == self.source.settings.path:
            try:
                self.document = read_document(bytes(record.document))
            except DocumentError:  # by the rules of another version of the gateway it was one
                self.document = None
            else:
                self.text, self.fetched = bytes(record.document), record.fetched
                self.turned, self.breaking = record.changed, record.breaking
                self.problem = self.in_short = "it has not been fetched since the start"
        self.task = endless(self._keep_fetching(), f"the document of {self.source.name}")

    @property
    def state(self) -> str:
        """`current`, `last known`, or `missing`."""
        return "missing" if self.document is None else "last known" if self.problem else "current"

    @property
    def record(self) -> Record:
        """What is kept of it."""
        service, version = self.source.key
        path, document = self.source.settings.path, msgspec.Raw(self.text)
        return Record(service, version, path, document, self.fetched, self.turned, self.breaking)

    def about(self) -> dict[str, Any]:
        """For everybody who may read the merged document: no address, and no text of an error."""
        info = self.document.content.get("info") if self.document is not None else None
        shown = {key: info[key] for key in ("title", "version") if isinstance(info, dict) and key in info}
        return {**shown, "state": self.state, **({"reason": self.in_short} if self.in_short else {})}

    def report(self) -> dict[str, Any]:
        """For the admin API."""
        service, version = self.source.key
        report: dict[str, Any] = {"service": service, "version": version, "path": self.source.settings.shown_path}
        report |= {"state": self.state}
        if self.fetched:
            report["age"] = round(time.time() - self.fetched, 3)
        if self.problem:
            report["problem"] = self.problem
        if self.turned:
            report |= {"changed": round(self.turned, 3), "breaking": list(self.breaking)}
        return report

    async def _keep_fetching(self) -> None:
        while True:
            await asyncio.sleep(random.uniform(0.0, self.within))  # noqa: S311 - spreads the fetches, hides nothing
            self.wanted.clear()
            try:
                await self._fetch()
            except FetchError as error:
                self._failed(str(error), error.in_short)
                if error.is_absent:
                    self.failures = max(self.failures, _ABSENT)
            except DocumentError as error:
                self._failed(
                    f"what is at {self.source.settings.shown_path} cannot be used: {error}", "it cannot be used"
                )
            except Exception as error:
                logger.exception("a document could not be fetched", extra=self._extra())
                self._failed(repr(error), "it cannot be used")
            await asyncio.sleep(_PAUSE)
            every = self.source.settings.every
            again = min(_PAUSE * 2.0**self.failures, _LONGEST_PAUSE)
            pause = max(again, _SPREADS * self.within) if self.failures else every
            pause *= random.uniform(0.9, 1.1)  # noqa: S311
            try:
                async with asyncio.timeout(max(0.0, pause - _PAUSE)):
                    await self.wanted.wait()
            except TimeoutError:
                continue

    async def _fetch(self) -> None:
        found = await fetch(self.clients, self.instances(self.source), self.source.settings, self._etag)
        before = self.state
        if found.text is not None:
            document = await asyncio.to_thread(read_document, found.text)
            text = await asyncio.to_thread(msgspec.json.encode, document.content)
            if text != self.text:
                await self._take(document, text)
                before = ""
        self._etag, self.fetched = found.etag, time.time()
        self.problem, self.in_short, self.failures = "", "", 0
        if before != self.state:
            self.changed(self)

    async def _take(self, document: Document, text: bytes) -> None:
        if self.document is None:
            logger.info("the document of a service is there", extra=self._extra())
        else:
            try:
                self.breaking = tuple(await asyncio.to_thread(breaking_changes, self.document, document))
            except Exception:  # the new one is used all the same
                logger.exception("two documents could not be compared", extra=self._extra())
                self.breaking = ()
            self.turned = time.time()
            if self.breaking:
                extra = self._extra() | {"changes": "; ".join(self.breaking[:_LOGGED]), "count": len(self.breaking)}
                logger.warning("the document of a service has changed in ways that break clients", extra=extra)
            else:
                logger.info("the document of a service has changed", extra=self._extra())
        self.document, self.text = document, text

    def _failed(self, problem: str, in_short: str) -> None:
        before = self.state, self.in_short
        if problem != self.problem and in_short != "no instances":
            kept = "none is known" if self.document is None else "the last known one is shown"
            extra = self._extra() | {"reason": problem}
            logger.warning("the document of a service could not be fetched: %s", kept, extra=extra)
        self.problem, self.in_short, self.failures = problem, in_short, self.failures + 1
        if before != (self.state, self.in_short):
            self.changed(self)

    def _extra(self) -> dict[str, Any]:
        service, version = self.source.key
        return {"service": service} | ({"version": version} if version is not None else {})
