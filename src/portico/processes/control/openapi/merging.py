"""The merged documents of a configuration, one for each set of routes that listeners have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec

from portico.config import Config, ListenerSettings
from portico.openapi import Document
from portico.openapi.merge import merge
from portico.processes.control.openapi.ways import Key, parts_for

Known: TypeAlias = Mapping[Key, tuple[Document | None, Mapping[str, Any]]]
"""The documents there are, each with what is said of it."""


@dataclass(frozen=True, slots=True)
class Page:
    """A merged document as it is sent, and what a reader of it should know."""

    body: bytes
    etag: str
    left_out: tuple[str, ...] = ()
    apart: Mapping[str, Sequence[str]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


WHOLE: Final = ListenerSettings(port=0)
"""What serves all routes: the page of listeners that do, and of the admin API."""


def listeners_shown(config: Config) -> dict[object, ListenerSettings]:
    """A listener for each page that there is, by what kind it is of."""
    shown = [each for each in config.gateway.listeners if each.endpoints != "off"]
    return {each.kind: each for each in (WHOLE, *shown)}


def merged_pages(config: Config, known: Known) -> dict[object, Page]:
    """A page for each kind of listeners. It takes as long as the documents are large: run it in a thread."""
    return {kind: _page(config, listener, known) for kind, listener in listeners_shown(config).items()}


def _page(config: Config, listener: ListenerSettings, known: Known) -> Page:
    documents = {key: document for key, (document, _) in known.items() if document is not None}
    parts, schemes = parts_for(config, listener, documents, {key: about for key, (_, about) in known.items()})
    merged = merge(parts, config.gateway.title, schemes)
    body = msgspec.json.encode(merged.content)
    return Page(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', merged.left_out, merged.apart, merged.failed)
