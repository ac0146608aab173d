"""The control process's end of the channel: messages to the workers, and the totals of all, ended ones included."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Set
from itertools import chain
from typing import Any, Final

import msgspec

from portico.config import Config, documents_wanted, dump_config
from portico.core.found import Found
from portico.observe.families import add_up_families
from portico.observe.parts import add_up_parts
from portico.observe.sides import add_up_sides
from portico.policies.auth.key_sets import KeySource
from portico.processes.control.instance_states import InstanceStates
from portico.processes.control.rounds import Rounds
from portico.processes.ipc import channel

logger: Final = logging.getLogger("portico.control")

_COLLECT_TIMEOUT: Final = 0.5
_COLLECT_SHARE: Final = 0.1
"""The share of a worker's time that this may take: requests to control must not stall the traffic of workers."""
_COUNTERS: Final = (
    "retries", "limit_fallbacks", "tunnel_bytes_in", "tunnel_bytes_out", "hedges", "hedges_won"
)  # fmt: skip
"""What is counted for each service."""
_COUNTERS_OF_PARTS: Final = ("openings", "cached", "errors")
"""What is counted for each instance of a service, or each outcome or reason."""
PARTS: Final = ("by_route", "by_instance")
"""What is counted for parts of services that may be gone by now."""
_REMEMBERED: Final = 64
"""Ended workers whose totals are kept separately; older ones are added up into one."""


LATE: Final = "has not said that it took it over"
"""What is wrong with a worker that may use a configuration yet."""


class Workers:
    """All workers that are connected, and the totals of all that ever were."""

    def __init__(self) -> None:
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._totals: dict[str, dict[str, Any]] = {}
        self._snapshot: channel.NewSnapshot | None = None
        self._health: dict[tuple[str, str], bool] = {}
        self._found: dict[str, dict[str, list[Found]]] = {}
        """The registered instances by service and URL."""
        self._informed: set[str] = set()
        """The workers that were sent all of them, and since then what changed."""
        self._weights: dict[str, dict[str, float]] = {}
        self._questions = 0
        self._fresh = Rounds(self._collect, _COLLECT_SHARE)
        self._waiting: dict[tuple[str, int], asyncio.Future[channel.Message]] = {}
        """The worker and number of each question that is pending; an answer to an earlier one may come late."""
        self._adopted: dict[str, channel.Adopted] = {}
        self._prepared: dict[str, str | None] | None = None
        """What is wrong in each worker that was asked to prepare; None: it has not answered yet."""
        self._progress = asyncio.Event()
        self.ejected: Callable[[str, str, str, bool], None] = lambda *_: None
        """Called with each worker that has ejected an instance, and whether a check has to fail first."""
        self.welcome: Callable[[], list[channel.Message]] = list
        """Gives what a worker has to know of the cache which connects now."""
        self._keys: dict[KeySource, tuple[bytes, float]] = {}
        self.keys_wanted: Callable[[KeySource], None] = lambda _: None
        """Called with each source of keys of which a worker knows too few."""
        self._documents: dict[tuple[str, str | None], bytes] = {}
        self._documents_wanted: frozenset[tuple[str, str | None]] = frozenset()
        self.api_keys: Callable[[], channel.NewApiKeys | None] = lambda: None
        """Gives the API keys for a worker that connects now."""
        self.revocations: Callable[[], channel.NewRevocations | None] = lambda: None
        """Gives the tokens that were revoked for a worker that connects now."""
        self.keys_used: Callable[[dict[str, int]], None] = lambda _: None
        """Called with when API keys were used."""
        self.overrides: Callable[[], channel.NewOverrides | None] = lambda: None
        """Gives what somebody has said about instances, for a worker that connects now."""
        self.challenges: Callable[[], channel.NewChallenges | None] = lambda: None
        """Gives what a worker that connects now has to answer authorities."""
        self.invalidated: Callable[[str, channel.NewPurges], None] = lambda *_: None
        """Called with each worker that has purges for all others."""
        self.reported_now: Callable[[str, dict[str, Any] | None, dict[str, Any]], None] = lambda *_: None
        """Called with a worker's last totals, if it has reported before, and with those that it reports now."""
        self.watch: Callable[[], channel.Watch] = channel.Watch
        """Gives what a worker that connects now has to watch."""
        self.watched: Callable[[channel.Watched], None] = lambda _: None
        """Called with what workers have of what is watched."""
        self.happened: Callable[[str, channel.Happened], None] = lambda *_: None
        """Called with each worker that has logged an event."""
        self.has_come: Callable[[str], None] = lambda _: None
        self.has_left: Callable[[str], None] = lambda _: None
        """Called with each worker that connects, and that leaves."""

    async def listen(self, listener: socket.socket) -> asyncio.Server:
        """Wait for workers on a unix socket."""
        return await asyncio.start_unix_server(self._serve, sock=listener)

    def publish(self, config: Config, generation: int) -> None:
        """Send a configuration to every worker, now and when one connects, and before it the documents it needs."""
        self._snapshot = channel.NewSnapshot(generation, dump_config(config), [])
        known, self._documents_wanted = self._documents_wanted, documents_wanted(config)
        for key in self._documents_wanted - known:
            if key in self._documents:
                self.send(channel.NewDocument(*key, self._documents[key]))
        for worker in self._writers:
            self._send_snapshot(worker)

    async def preparation(self, config: Config, timeout: float) -> dict[str, str]:
        """Have every worker load and open the users' policies of a configuration that may be published next.

        Returns the workers that cannot use it, each with the reason; then all of them abandon it.
        """
        self._prepared = prepared = dict.fromkeys(self._writers)
        dumped = dump_config(config)
        self.send(channel.Prepare(dumped))
        try:
            await self._wait_until(lambda: None not in prepared.values(), timeout)
        finally:
            self._prepared = None
        late = f"has not prepared it within {timeout:g} s"
        answers = {worker: late if problem is None else problem for worker, problem in prepared.items()}
        problems = {worker: problem for worker, problem in answers.items() if problem}
        if problems:
            self.send(channel.Abandon())
        return problems

    def set_health(self, states: list[tuple[str, str, bool]]) -> None:
        """Notify every worker of instances that came up or went down."""
        self._health.update({(key, url): healthy for key, url, healthy in states})
        self.send(channel.HealthChange(states))

    def check_passed(self, worker: str, key: str, url: str) -> None:
        """Notify a worker, if it is connected, that the check of an instance that it has ejected passed."""
        self.send_to(worker, channel.CheckPassed(key, url))

    def discover(self, service: str, changed: dict[str, list[Found]]) -> None:
        """Send every worker what is registered of a service now at the URLs at which that has changed."""
        known = self._found.setdefault(service, {})
        known.update(changed)
        for url in [url for url, at in changed.items() if not at]:
            del known[url]
        if not known:
            del self._found[service]
        self.send(channel.Discovered(service, changed))

    def publish_keys(self, source: KeySource, document: bytes, as_of: float) -> None:
        """Send every worker the keys of an issuer as they were at that monotonic time, now and when one connects."""
        self._keys[source] = document, as_of
        self.send(channel.NewKeys(*source, document, as_of))

    def send_keys(self, source: KeySource) -> None:
        """Send every worker the keys of an issuer as they are, or that there are none."""
        document, _ = self._keys.get(source, (b"", 0.0))
        self.send(channel.NewKeys(*source, document, time.monotonic()))

    def no_keys(self, source: KeySource, as_of: float) -> None:
        """Notify every worker that the keys of an issuer could not be fetched at that monotonic time."""
        self.send(channel.NewKeys(*source, b"", as_of))

    def forget_keys(self, source: KeySource) -> None:
        """Send the keys of an issuer to no worker any more."""
        self._keys.pop(source, None)

    def publish_document(self, service: str, version: str | None, document: bytes) -> None:
        """Send the OpenAPI document of a service, as JSON, to every worker that needs it, now and when one does."""
        self._documents[service, version] = document
        if (service, version) in self._documents_wanted:
            self.send(channel.NewDocument(service, version, document))

    def forget_document(self, service: str, version: str | None) -> None:
        """Send the document of a service to no worker any more."""
        self._documents.pop((service, version), None)

    def set_weights(self, weights: dict[str, dict[str, float]]) -> None:
        """Send every worker the weights of the canaries, if they are not what they were."""
        if weights != self._weights:
            self._weights = weights
            self.send(channel.Weights(weights))

    def keep_weights(self, weights: dict[str, dict[str, float]]) -> None:
        """Keep the weights of the canaries for the configuration that is published next."""
        self._weights = weights

    def keep_health(self, states: Mapping[tuple[str, str], bool]) -> None:
        """Keep the health of these instances for workers that are sent a configuration, and drop that of others."""
        self._health = {key: states[key] for key in self._health if key in states}

    def forget_health(self, gone: Iterable[tuple[str, str]]) -> None:
        """Drop the health of instances that are checked no more."""
        for identity in gone:
            self._health.pop(identity, None)

    async def adoption(self, generation: int, timeout: float) -> dict[str, str]:
        """Wait until every worker uses `generation`; returns those that do not, each with the reason."""
        await self._wait_until(lambda: all(self._generation(each) >= generation for each in self._writers), timeout)
        behind = dict.fromkeys(self._writers, LATE)
        adopted = {worker: self._adopted[worker] for worker in behind if self._generation(worker) >= generation}
        behind |= {worker: message.problem for worker, message in adopted.items()}
        return {worker: problem for worker, problem in behind.items() if problem}

    async def _wait_until(self, is_done: Callable[[], bool], timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not is_done():
                    await self._progress.wait()

    def _generation(self, worker: str) -> int:
        return self._adopted[worker].generation if worker in self._adopted else 0

    def _move_on(self) -> None:
        """Wake the callers that wait for the workers."""
        self._progress.set()
        self._progress = asyncio.Event()

    def keep_parts(self, routes: Set[str], instances: Set[tuple[str, str]]) -> None:
        """Forget what ended workers counted for routes and instances that are gone; those that run do so themselves."""
        for worker, totals in self._totals.items():
            if worker not in self._writers:
                totals["by_route"] = [each for each in totals.get("by_route", ()) if each[1] in routes]
                found = totals.get("by_instance", ())
                totals["by_instance"] = [each for each in found if (each[0], each[1]) in instances]
                totals["openings"] = {
                    service: kept
                    for service, counts in totals.get("openings", {}).items()
                    if (kept := {url: count for url, count in counts.items() if (service, url) in instances})
                }

    async def running(self) -> dict[str, dict[str, Any]]:
        """Totals of the connected workers by name, fresh where they answer in time."""
        await self._fresh.result()
        return self.reported()

    def reported(self) -> dict[str, dict[str, Any]]:
        """The same as they have reported them last, within the last second as a rule."""
        return {worker: totals for worker, totals in self._totals.items() if worker in self._writers}

    async def instance_states(self) -> InstanceStates:
        """What the connected workers know of the instances."""
        return InstanceStates([*(await self.running()).values()])

    async def totals(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Totals of the connected workers, fresh where they answer in time, and those of the ended ones."""
        await self._fresh.result()
        live = [totals for worker, totals in self._totals.items() if worker in self._writers]
        ended = [totals for worker, totals in self._totals.items() if worker not in self._writers]
        return live, ended

    async def _collect(self) -> None:
        await self.ask(channel.Collect, _COLLECT_TIMEOUT)

    async def ask(
        self, question: Callable[[int], channel.Message], timeout: float, *, but: str = "", only: str | None = None
    ) -> dict[str, channel.Message | None]:
        """Ask all workers `but` one, or one `only`; `question` is given the number that answers repeat.

        Returns their answers by worker, None where one has not answered within `timeout` seconds. A worker that
        leaves meanwhile is not among them.
        """
        self._questions += 1
        number, loop = self._questions, asyncio.get_running_loop()
        asked = [worker for worker in self._writers if worker != but and only in (None, worker)]
        answers = {(worker, number): loop.create_future() for worker in asked}
        self._waiting |= answers
        if only is None:
            self.send(question(number), but=but)
        else:
            self.send_to(only, question(number))
        try:
            if answers:
                await asyncio.wait(answers.values(), timeout=timeout)
        finally:
            for key in answers:
                self._waiting.pop(key, None)
        return {
            worker: answer.result() if answer.done() else None
            for (worker, _), answer in answers.items()
            if not answer.cancelled()
        }

    @property
    def names(self) -> list[str]:
        """The connected workers."""
        return [*self._writers]

    def send(self, message: channel.Message, *, but: str = "") -> None:
        """Send a message to all workers `but` one."""
        for worker, writer in self._writers.items():
            if worker != but:
                channel.send(writer, message)

    def send_to(self, worker: str, message: channel.Message) -> None:
        """Send a message to a worker, if it is connected."""
        if worker in self._writers:
            channel.send(self._writers[worker], message)

    def _answered(self, worker: str, number: int, answer: channel.Message) -> None:
        waiting = self._waiting.pop((worker, number), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _send_snapshot(self, worker: str) -> None:
        if self._snapshot is None:
            return
        found = None
        if worker not in self._informed:
            self._informed.add(worker)
            found = {service: [*chain.from_iterable(known.values())] for service, known in self._found.items()}
        health = [(key, url, healthy) for (key, url), healthy in self._health.items()]
        live = {"health": health, "found": found, "weights": self._weights}
        self.send_to(worker, msgspec.structs.replace(self._snapshot, **live))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker = ""
        try:
            while (message := await channel.receive(reader)) is not None:
                match message:
                    case channel.Hello(worker):
                        self._has_come(worker, writer)
                    case channel.Prepared(problem):
                        if self._prepared is not None and worker in self._prepared:
                            self._prepared[worker] = problem
                        self._move_on()
                    case channel.Adopted():
                        self._adopted[worker] = message
                        self._move_on()
                    case channel.Ejected(key, url, after_failure):
                        self.ejected(worker, key, url, after_failure)
                    case channel.Report(metrics, answers):
                        last, totals = self._totals.get(worker), msgspec.json.decode(metrics)
                        if totals.get("breakers", ()) is None:  # as in the last report
                            totals["breakers"] = last["breakers"] if last is not None else []
                        self._totals[worker] = totals
                        self.reported_now(worker, last, totals)
                        self._answered(worker, answers, message)
                    case (
                        channel.Purged(number)
                        | channel.Inspected(number)
                        | channel.Explained(number)
                        | channel.Learnt(number)
                    ):
                        self._answered(worker, number, message)
                    case _:
                        self._pass_on(worker, message)
        except asyncio.CancelledError:
            pass  # the process ends
        except ValueError:
            logger.exception("a worker sent what is no message", extra={"worker": worker})
        finally:
            self._has_left(worker)
            writer.close()

    def _pass_on(self, worker: str, message: channel.Message) -> None:
        match message:
            case channel.KeysWanted(address, issuer):
                self.keys_wanted(KeySource(address, issuer))
            case channel.KeysUsed(used):
                self.keys_used(used)
            case channel.NewPurges():
                self.invalidated(worker, message)
            case channel.Watched():
                self.watched(message)
            case channel.Happened():
                self.happened(worker, message)

    def _has_come(self, worker: str, writer: asyncio.StreamWriter) -> None:
        self._writers[worker] = writer
        revocations = self.revocations()
        if revocations is not None:
            channel.send(writer, revocations)
        for source, (document, as_of) in self._keys.items():
            channel.send(writer, channel.NewKeys(*source, document, as_of))
        api_keys = self.api_keys()
        if api_keys is not None:
            channel.send(writer, api_keys)
        if (overrides := self.overrides()) is not None:
            channel.send(writer, overrides)
        if (challenges := self.challenges()) is not None:
            channel.send(writer, challenges)
        for key in self._documents_wanted & self._documents.keys():
            channel.send(writer, channel.NewDocument(*key, self._documents[key]))
        self._send_snapshot(worker)
        for message in self.welcome():
            channel.send(writer, message)
        if wish := self.watch():
            channel.send(writer, wish)
        self.has_come(worker)

    def _has_left(self, worker: str) -> None:
        self._writers.pop(worker, None)
        self._informed.discard(worker)
        self._adopted.pop(worker, None)
        if self._prepared is not None:
            self._prepared.pop(worker, None)
        for question in [question for question in self._waiting if question[0] == worker]:
            self._waiting.pop(question).cancel()
        self.has_left(worker)
        self._move_on()
        self._fold_ended()

    def _fold_ended(self) -> None:
        ended = [worker for worker in self._totals if worker not in self._writers]
        if len(ended) > _REMEMBERED:
            folded = [self._totals.pop(worker) for worker in ended]
            self._totals["ended"] = add_up(folded)


def add_up(totals: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum of several workers' totals, in the same form, without the gauges: those are of workers that run."""
    series: dict[tuple[str, str], list[Any]] = {}
    counters: dict[str, dict[str, int]] = {name: {} for name in _COUNTERS}
    of_parts: dict[str, dict[str, dict[str, int]]] = {name: {} for name in _COUNTERS_OF_PARTS}
    sums = {"log_lines_dropped": 0, "failed_handshakes": 0, "cache_evictions": 0}
    for total in totals:
        for service, method, statuses, buckets, seconds, upstream_buckets, upstream_seconds in total["series"]:
            entry = series.setdefault(
                (service, method), [{}, [0] * len(buckets), 0.0, [0] * len(upstream_buckets), 0.0]
            )
            for status, count in statuses:
                entry[0][status] = entry[0].get(status, 0) + count
            entry[1] = [a + b for a, b in zip(entry[1], buckets, strict=True)]
            entry[2] += seconds
            entry[3] = [a + b for a, b in zip(entry[3], upstream_buckets, strict=True)]
            entry[4] += upstream_seconds
        for name, counts in counters.items():
            for service, count in total[name].items():
                counts[service] = counts.get(service, 0) + count
        for name, parts in of_parts.items():
            for service, counted in total[name].items():
                counts = parts.setdefault(service, {})
                for part, count in counted.items():
                    counts[part] = counts.get(part, 0) + count
        for name in sums:
            sums[name] += total[name]
    return {
        "series": [[*key, list(entry[0].items()), *entry[1:]] for key, entry in sorted(series.items())],
        **counters,
        **of_parts,
        "families": add_up_families(total["families"] for total in totals),
        "sides": add_up_sides(side for total in totals for side in total["sides"]),
        **{name: add_up_parts(part for total in totals for part in total.get(name, ())) for name in PARTS},
        **sums,
    }
