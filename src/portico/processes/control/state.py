"""What the control process knows: the endpoints read it, a reload changes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from portico.config import Config
from portico.processes.control.acme.certificates import Certificates
from portico.processes.control.api_keys import ApiKeys
from portico.processes.control.audit import Audit
from portico.processes.control.cache_purges import CachePurges
from portico.processes.control.canaries import Canaries
from portico.processes.control.discovery import Discovery
from portico.processes.control.health import HealthChecks
from portico.processes.control.issuer_keys import IssuerKeys
from portico.processes.control.live.live import Live
from portico.processes.control.openapi.documents import Documents
from portico.processes.control.overrides import Overrides
from portico.processes.control.telemetry import ControlTelemetry
from portico.processes.control.tokens.issuing import Issuing
from portico.processes.control.workers import Workers
from portico.processes.ipc.runtime import Listening

if TYPE_CHECKING:
    from portico.processes.control.configuration.configuration import Configuration


@dataclass
class State:
    """`generation` counts the configurations, the first being 1; `started` is this process's start, in seconds."""

    config: Config
    generation: int
    config_path: Path | None
    workers: Workers
    health: HealthChecks
    discovery: Discovery
    purges: CachePurges
    issuers: IssuerKeys
    api_keys: ApiKeys
    canaries: Canaries
    tokens: Issuing
    certificates: Certificates
    documents: Documents
    listening: Callable[[], Listening] = Listening
    """Where the gateway listens."""
    started: float = field(default_factory=time.time)
    refused: str | None = None
    """What was wrong with the file when it was last read, if anything."""
    telemetry: ControlTelemetry | None = None
    """What is sent to collectors, once this process has begun."""
    audit: Audit = field(default_factory=Audit)
    """Who changed what over the admin API."""
    overrides: Overrides | None = None
    """What somebody has said about instances; in tests there may be nobody."""
    live: Live = field(init=False)
    """What happens now, for those who watch."""
    configuration: Configuration = field(init=False)
    """The document in force, its history, and how another comes in, once this process has begun."""

    def __post_init__(self) -> None:
        self.live = Live(self.workers)
        self.live.streams.access = lambda: (self.config.gateway.admin_token, self.config.gateway.admin_tokens)
