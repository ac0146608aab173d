"""The documents of all services: fetched in the background, given to workers that need them, and merged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from portico.config import Config, ListenerSettings, documents_wanted
from portico.core.tasks import cancelled, endless
from portico.openapi import Document, read_document
from portico.processes.control.check import Check
from portico.processes.control.health import HealthChecks
from portico.processes.control.instance_clients import InstanceClients
from portico.processes.control.openapi.followed import Followed, Source
from portico.processes.control.openapi.merging import Page, listeners_shown, merged_pages
from portico.processes.control.openapi.records import DocumentFile, Record
from portico.processes.control.openapi.ways import Key, key_of
from portico.processes.control.state_file import state_path
from portico.processes.control.workers import Workers
from portico.processes.ipc.runtime import Runtime
from portico.snapshot.live import upstream_key

logger: Final = logging.getLogger("portico.openapi")

_SETTLING: Final = 0.05
"""Seconds in which several documents may come, before they are merged."""
_FIRST_MERGE: Final = 10.0
"""Seconds that a reader waits for the first merged document."""
_FEW: Final = 20
"""How many documents are fetched at once where all are wanted, such as at the start."""
_FETCHES: Final = 100
"""More than that are spread, so many a second: a fetch takes about a millisecond, and health checks go on meanwhile."""
_LONGEST_SPREAD: Final = 30.0
_LOGGED: Final = 20


class Documents:
    """Follows what services of the configuration say of themselves. No request waits for one of them."""

    def __init__(self, workers: Workers, health: HealthChecks, runtime: Runtime, config_path: Path | None) -> None:
        self._workers = workers
        self._health = health
        self._runtime = runtime
        self._config_path = config_path
        self._clients = InstanceClients("portico-openapi")
        self._followed: dict[Key, Followed] = {}
        self._file: DocumentFile | None = None
        self._known: dict[Key, Record] = {}
        """What the file has of documents that are not followed yet."""
        self._stored: dict[Key, bytes] = {}
        self._config: Config | None = None
        self._files: dict[bytes, Document] = {}
        self._pages: dict[object, Page] = {}
        self._merge = asyncio.Event()
        self._merged = asyncio.Event()
        self._noted: tuple[object, ...] = ()
        self._task: asyncio.Task[None] | None = None

    async def follow(self, config: Config) -> None:
        """Fetch what is wanted of this configuration from now on; at once, where it was read anew."""
        is_read_anew = self._config is None or config.gateway is not self._config.gateway
        self._config = config
        sources = dict(_sources(config))
        ended = [self._followed.pop(key) for key in [*self._followed] if self._followed[key].source != sources.get(key)]
        for each in ended:
            self._publish(each, config, is_there=False)
        await cancelled([each.task for each in ended if each.task is not None])
        if sources and self._file is None:
            self._open(config)
        self._clients.keep({*{id(check.tls): check.tls for check in self._health.checks.values()}.values()})
        within = min(len(sources) / _FETCHES, _LONGEST_SPREAD) if len(sources) > _FEW else 0.0
        for key, source in sources.items():
            if key not in self._followed:
                self._followed[key] = each = Followed(source, self._clients, self._instances, self._changed)
                each.start(self._known.pop(key, None))
            elif is_read_anew:
                self._followed[key].wanted.set()
            self._followed[key].within = within
            self._publish(self._followed[key], config)
        if _is_shown(config) and self._task is None:
            self._task = endless(self._keep_merging(), "the merging of documents")
        if not listeners_shown(config).keys() <= self._pages.keys():
            self._merged.clear()
        self._merge.set()

    def came(self, service: str) -> None:
        """An instance of a service has come, or come back: it may have a new document, or the first one."""
        for (name, _), each in self._followed.items():
            if name == service:
                each.wanted.set()

    async def page(self, listener: ListenerSettings) -> Page:
        """The merged document of a listener. Only the first one is waited for.

        Raises TimeoutError, and LookupError for a listener that shows none.
        """
        if listener.kind not in self._pages:
            async with asyncio.timeout(_FIRST_MERGE):
                await self._merged.wait()
        return self._pages[listener.kind]

    def states(self) -> dict[str, Any]:
        """For the admin API: each document, and what became of them together."""
        report: dict[str, Any] = {"documents": [each.report() for each in self._followed.values()]}
        pages = self._pages.values()
        report["left_out"] = list(dict.fromkeys(line for page in pages for line in page.left_out))
        for key in ("apart", "failed"):
            report[key] = {name: each for page in pages for name, each in getattr(page, key).items()}
        return report

    async def close(self) -> None:
        """Stop."""
        tasks = [each.task for each in self._followed.values() if each.task is not None]
        await cancelled([*tasks, *([self._task] if self._task is not None else [])])
        await self._clients.close()
        if self._file is not None:
            self._file.close()

    def _open(self, config: Config) -> None:
        path = state_path(config, self._config_path, "documents")
        self._file = DocumentFile(path, self._runtime.directory / "documents")
        self._known = {(each.service, each.version): each for each in self._file.load()}

    def _instances(self, source: Source) -> Sequence[Check]:
        return [check for check in self._health.of(source.key[0]) if check.key == source.upstream]

    def _changed(self, followed: Followed) -> None:
        if self._config is not None:
            self._publish(followed, self._config)
        self._merge.set()
        texts = {key: each.text for key, each in self._followed.items() if each.text}
        if self._file is not None and texts != self._stored:
            self._file.store({key: self._followed[key].record for key in texts})
            self._stored = texts

    def _publish(self, followed: Followed, config: Config, *, is_there: bool = True) -> None:
        """Send a document to the workers that need it, under the name of each version whose it is."""
        service = followed.source.key[0]
        if service not in config.services:
            return
        for version in (None, *config.services[service].versions):
            if key_of(config, service, version) != followed.source.key:
                continue
            if is_there and followed.text:
                self._workers.publish_document(service, version, followed.text)
            else:
                self._workers.forget_document(service, version)

    # ---- the merged document

    async def _keep_merging(self) -> None:
        while True:
            await self._merge.wait()
            await asyncio.sleep(_SETTLING)
            self._merge.clear()
            config = self._config
            assert config is not None
            try:
                self._pages = await asyncio.to_thread(self._pages_of, config)
            except Exception:
                logger.exception("documents could not be merged: the last merged one is shown")
                continue
            self._merged.set()
            self._say_what_is_new()

    def _pages_of(self, config: Config) -> dict[object, Page]:
        known: dict[Key, tuple[Document | None, dict[str, Any]]] = {
            key: (each.document, each.about()) for key, each in [*self._followed.items()]
        }
        for key, text in _files(config):
            if text not in self._files:
                self._files[text] = read_document(text)
            document = self._files[text]
            info = document.content.get("info")
            shown = {name: info[name] for name in ("title", "version") if isinstance(info, dict) and name in info}
            known[key] = document, {**shown, "state": "file"}
        return merged_pages(config, known)

    def _say_what_is_new(self) -> None:
        """An event for what has no room, is told apart or failed, each time that it is something else."""
        report = self.states()
        noted = tuple(map(repr, (report["left_out"], report["apart"], report["failed"])))
        if noted == self._noted:
            return
        self._noted = noted
        if lines := report["left_out"]:
            extra: dict[str, Any] = {"operations": "; ".join(lines[:_LOGGED]), "count": len(lines)}
            logger.warning("operations are not in the merged document: others have their paths", extra=extra)
        if report["apart"]:
            new = [f"{name}: {', '.join(names)}" for name, names in report["apart"].items()]
            extra = {"names": "; ".join(new[:_LOGGED]), "count": len(new)}
            logger.info("components that differ between services have names of their own", extra=extra)
        for name, reason in report["failed"].items():
            logger.error("a document could not be merged", extra={"service": name, "reason": reason})


def _is_shown(config: Config) -> bool:
    """Whether anybody may read the merged document."""
    gateway = config.gateway
    listeners = [gateway.endpoints_of(listener) for listener in gateway.listeners]
    return gateway.endpoints.docs == "admin" or any(each.docs in ("public", "internal") for each in listeners)


def _keys(config: Config) -> Iterator[Key]:
    """Whose documents are needed, by whoever has a route."""
    wanted = documents_wanted(config)
    is_shown = _is_shown(config)
    for route in config.all_routes:
        if route.service is not None and (is_shown or (route.service, route.version) in wanted):
            yield key_of(config, route.service, route.version)


def _sources(config: Config) -> Iterator[tuple[Key, Source]]:
    """Those that are fetched."""
    for key in dict.fromkeys(_keys(config)):
        service, version = key
        upstream = config.services[service].upstream(version)
        if upstream.openapi is not None and upstream.openapi.file is None:
            yield key, Source(key, upstream.openapi, upstream_key(service, version, upstream))


def _files(config: Config) -> Iterator[tuple[Key, bytes]]:
    """Those that are in files."""
    for key in dict.fromkeys(_keys(config)):
        settings = config.services[key[0]].upstream(key[1]).openapi
        if settings is not None and settings.file is not None:
            yield key, config.documents[settings.file]
