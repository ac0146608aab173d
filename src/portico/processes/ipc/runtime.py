"""What the processes of one gateway share on disk: a private directory with sockets and the last good configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from portico.config import (
    AcmeSettings,
    Config,
    GatewaySettings,
    Source,
    dump_config,
    gateway_of,
    load_dumped,
    ordered_file,
    with_redis,
)
from portico.core.found import Found
from portico.core.overrides import Override
from portico.core.replacing import replace_file
from portico.net.tls.tickets import TicketContexts
from portico.policies.counters.shared_buckets import BucketTable
from portico.wire.loads import Loads

T = TypeVar("T")
K = TypeVar("K")


class Listening(msgspec.Struct, frozen=True):
    """The URLs at which clients are served, by the key of each listener, and every host with a port of it."""

    urls: dict[str, str] = {}
    places: list[tuple[str, int]] = []


class _KeptFound(msgspec.Struct):
    found: dict[str, list[Found]] = {}


class _KeptEntries(msgspec.Struct):
    entries: msgspec.Raw = msgspec.Raw(b"")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Paths inside the directory, which only its owner can enter.

    Also the URL of the embedded Redis, if there is one, the tables in which several workers count limits and
    connections, and for each listener with TLS the contexts whose session tickets all of them accept. `secret` is what
    they sign with where no key is configured.
    """

    directory: Path
    redis_url: str | None = None
    table: BucketTable | None = None
    tickets: Mapping[str, TicketContexts] = field(default_factory=dict)
    loads: Loads | None = None
    secret: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    @property
    def control_socket(self) -> Path:
        """Where the control process answers HTTP for the gateway's own endpoints."""
        return self.directory / "control.sock"

    @property
    def channel_socket(self) -> Path:
        """Where workers receive snapshots and report metrics."""
        return self.directory / "channel.sock"

    @property
    def log_lock(self) -> Path:
        """Locked around writes to a log that several workers share."""
        return self.directory / "log.lock"

    @property
    def _config_file(self) -> Path:
        return self.directory / "config"

    def _source_file(self, generation: int) -> Path:
        return self.directory / f"source.{generation}"

    @property
    def _listening_file(self) -> Path:
        return self.directory / "listening"

    @property
    def _registry_file(self) -> Path:
        return self.directory / "registry"

    @property
    def _weights_file(self) -> Path:
        return self.directory / "weights"

    @property
    def _overrides_file(self) -> Path:
        return self.directory / "overrides"

    def has_certificate(self, acme: AcmeSettings) -> bool:
        """Whether there is a file with a certificate of that section, whoever signed it."""
        return ordered_file(self.directory, acme).exists()

    def store_certificate(self, acme: AcmeSettings, pem: bytes) -> None:
        """Store a certificate with its chain and key, for workers, unless it is there already."""
        path = ordered_file(self.directory, acme)
        if not path.exists() or path.read_bytes() != pem:
            replace_file(path, pem)

    def store_weights(self, weights: Mapping[str, Mapping[str, float]]) -> None:
        """Store the weights of canaries for workers that start later."""
        replace_file(self._weights_file, msgspec.json.encode(weights))

    def weights(self) -> dict[str, dict[str, float]]:
        """The weights that were stored last: per cent by service, by the route's name."""
        try:
            return msgspec.json.decode(self._weights_file.read_bytes(), type=dict[str, dict[str, float]])
        except FileNotFoundError:
            return {}

    def store_overrides(self, overrides: Sequence[Override]) -> None:
        """Store what somebody has said about instances for workers that start later."""
        replace_file(self._overrides_file, msgspec.json.encode(overrides))

    def overrides(self) -> list[Override]:
        """What was stored last of that."""
        try:
            return msgspec.json.decode(self._overrides_file.read_bytes(), type=list[Override])
        except FileNotFoundError:
            return []

    def store_listening(self, listening: Listening) -> None:
        """Store where the gateway listens now."""
        replace_file(self._listening_file, msgspec.json.encode(listening))

    def listening(self) -> Listening:
        """Where it listens."""
        return msgspec.json.decode(self._listening_file.read_bytes(), type=Listening)

    def store_registry(self, found: Mapping[str, Sequence[Found]], entries: Any) -> None:
        """Store what is registered for processes that start later: `found` for workers, `entries` for control."""
        replace_file(self._registry_file, msgspec.json.encode({"found": found, "entries": entries}))

    def found(self) -> dict[str, list[Found]]:
        """The instances that are registered, by service."""
        return self._stored_registry(_KeptFound).found

    def registry_entries(self, kind: type[T]) -> list[T]:
        """The `entries` that were stored last."""
        raw = self._stored_registry(_KeptEntries).entries
        return msgspec.json.decode(raw, type=list[kind]) if raw else []  # type: ignore[valid-type]

    def _stored_registry(self, kind: type[K]) -> K:
        try:
            return msgspec.json.decode(self._registry_file.read_bytes(), type=kind)
        except FileNotFoundError:
            return kind()

    def completed(self, config: Config) -> Config:
        """The configuration in use: with the embedded Redis where it names none."""
        if self.redis_url is None or config.gateway.redis_url is not None:
            return config
        return with_redis(config, self.redis_url)

    def store(self, config: Config, generation: int) -> None:
        """Store the configuration for processes that start later; replaced as a whole or not at all."""
        before = [*self.directory.glob("source.*")]
        if config.source is not None:
            replace_file(self._source_file(generation), msgspec.json.encode(config.source))
        replace_file(self._config_file, b"%d\n" % generation + dump_config(config))
        for path in before:
            if path != self._source_file(generation):
                path.unlink(missing_ok=True)

    def stored(self, *, serves: bool = False) -> tuple[Config, int]:
        """The configuration that was stored last, and its generation; `serves`: see `load_dumped`."""
        generation, _, dumped = self._config_file.read_bytes().partition(b"\n")
        return load_dumped(dumped, serves=serves), int(generation)

    def stored_source(self, generation: int) -> Source | None:
        """The texts that this one was read from; None where it was read from no file."""
        try:
            return msgspec.json.decode(self._source_file(generation).read_bytes(), type=Source)
        except FileNotFoundError:
            return None

    def store_refused(self, why: str | None) -> None:
        """Store what is wrong with the file, for a control process that starts later."""
        replace_file(self.directory / "refused", (why or "").encode())

    def refused(self) -> str | None:
        """What was wrong with the file when it was last read, if anything."""
        try:
            return (self.directory / "refused").read_text() or None
        except FileNotFoundError:
            return None

    def stored_gateway(self) -> GatewaySettings:
        """The gateway's own settings of the same, without the cost of all the rest."""
        return gateway_of(self._config_file.read_bytes().partition(b"\n")[2])
