"""All certificates that the configuration wants ordered."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from portico.config import Config
from portico.core.tasks import cancelled
from portico.processes.control.acme.ordering import OrderedCertificate, moment
from portico.processes.control.acme.served import records_file, serve
from portico.processes.control.acme.store import Store, last_kept
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel
from portico.processes.ipc.runtime import Runtime

_CONFIRMED: Final = 2.0
"""Seconds for workers to confirm that they know what to answer."""


class Certificates:
    """Orders what is wanted, and gives the workers certificates and what they have to answer."""

    def __init__(self, workers: Workers, runtime: Runtime, config_path: Path | None = None) -> None:
        self._workers = workers
        self._runtime = runtime
        self._config_path = config_path
        self._config: Config | None = None
        self._store: Store | None = None
        self._place: tuple[Path | None, str | None] | None = None
        self._ordered: dict[str, OrderedCertificate] = {}
        self._answers: dict[str, str] = {}
        workers.challenges = self._all_answers

    def prepare(self, config: Config) -> None:
        """Have files of all certificates ready, before a worker uses this configuration."""
        if config.gateway.ordered_certificates:
            path = records_file(config, self._config_path)
            kept = self._store.kept if self._store is not None else last_kept(path)
            serve(config, kept.records, self._runtime)

    async def follow(self, config: Config) -> None:
        """Order the certificates of this configuration from now on."""
        self._config = config
        wanted = config.gateway.ordered_certificates
        place = records_file(config, self._config_path), self._shared_url(config)
        moved = place != self._place
        ended = [self._ordered.pop(name) for name in list(self._ordered) if moved or name not in wanted]
        await cancelled([each.task for each in ended])
        for each in ended:
            each.close()
        if moved or not wanted:
            await self._close_store()
        if wanted and self._store is None:
            self._place = place
            path, url = place
            self._store = Store(path, self._runtime.directory / "certificates.json", url, self._runtime.secret)
        for name, settings in wanted.items():
            assert self._store is not None
            if name not in self._ordered:
                self._ordered[name] = OrderedCertificate(name, settings, self._store, self._learned)
            self._ordered[name].settings = settings
        if self._store is not None:
            self._store.forget({*wanted}, time.time())
        await self._learned()

    def states(self) -> list[dict[str, Any]]:
        """For the admin API: names, expiry, when something is done next, what went wrong last."""
        return [_state(each) for each in self._ordered.values()]

    def expiries(self) -> dict[str, float]:
        """By the first name of each, when it expires, in seconds since the epoch; 0 while there is none."""
        found = {}
        for each in self._ordered.values():
            certificate = each.record.certificate
            found[each.names[0]] = certificate.life.end if certificate is not None else 0.0
        return found

    async def close(self) -> None:
        """Stop. An order that has begun is taken up again by the next process."""
        await cancelled([each.task for each in self._ordered.values()])
        for each in self._ordered.values():
            each.close()
        await self._close_store()

    async def _learned(self) -> None:
        """Give workers what is new."""
        if self._config is not None and self._store is not None:
            serve(self._config, {**self._store.kept.records, **self._records()}, self._runtime)
        orders = [each.record.order for each in self._ordered.values()]
        answers = {token: answer for order in orders if order for token, answer in order.answers.items()}
        if answers != self._answers:
            self._answers = answers
            await self._workers.ask(lambda number: channel.NewChallenges(answers, number), _CONFIRMED)

    def _all_answers(self) -> channel.NewChallenges | None:
        return channel.NewChallenges(self._answers) if self._store is not None else None

    def _records(self) -> dict[str, Any]:
        return {name: each.record for name, each in self._ordered.items()}

    def _shared_url(self, config: Config) -> str | None:
        """The Redis that gateways share; not an embedded one, which ends with its gateway."""
        secret = config.gateway.redis_url
        url = secret.get_secret_value() if secret is not None else None
        return None if url == self._runtime.redis_url else url

    async def _close_store(self) -> None:
        if self._store is not None:
            await self._store.close()
        self._store = None


def _state(ordered: OrderedCertificate) -> dict[str, Any]:
    record, settings = ordered.record, ordered.settings
    certificate, now = record.certificate, time.time()
    expires = certificate.life.end if certificate is not None else 0.0
    state: dict[str, Any] = {
        "names": ordered.names,
        "directory": settings.directory,
        "state": "missing" if certificate is None else "valid" if now < expires else "expired",
        "ordering": ordered.is_ordering or record.order is not None,
        "next_try": moment(max(record.due, now)),
    }
    if certificate is not None:
        state["expires"] = moment(expires)
    if problem := ordered.away or record.problem:
        state["problem"] = problem
    return state
