"""What a service registers about the process that it runs in."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from portico.client.registry_keys import check_description, check_ttl, check_url

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Announcement:
    """One instance of the service `name`: `http://host:port`, kept for `ttl` seconds after each heartbeat.

    Raises ValueError for values that no registry would accept.
    """

    name: str
    url: str
    ttl: float = 30
    id: str | None = None
    weight: int = 1
    version: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    openapi: str | None = None

    def __post_init__(self) -> None:
        for what, value in (("name", self.name), ("id", self.id), ("version", self.version)):
            if value is not None and not _NAME.fullmatch(value):
                raise ValueError(f"{what}: {value!r} has to consist of letters, digits, _ . - and begin with one")
        check_url(self.url)
        check_ttl(self.ttl)
        check_description(self.weight, self.metadata, self.openapi)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the URL."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def of_this_process(self) -> Announcement:
        """The same with an id that no other process has, if it has none: workers of one server share a URL."""
        if self.id is not None:
            return self
        host = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname()).strip("-")[:60] or "host"
        return replace(self, id=f"{host}-{os.getpid()}-{secrets.token_hex(3)}")
