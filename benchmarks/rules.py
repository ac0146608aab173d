"""`python -m benchmarks.rules`: what single rules of a route add to a request of Portico's, in microseconds.

A request takes some 20 µs with sockets, and no two seconds of them are alike to the microsecond. So a worker's request
pipeline is played with the rule and without, in turn, between transports that only keep what is written (`simulation`).
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from benchmarks.documents import document
from benchmarks.request import BROWSER_HEADERS, SECRET, token
from benchmarks.simulation import CONNECTIONS, RESPONSE, Simulation
from portico.core.api_keys import digest_of
from support import cores
from support.commands import python
from support.markdown import markdown
from support.process import Job

_ROUNDS: Final = 60
_BATCHES: Final = 32  # of a request from every connection, in each round
_TIMEOUT: Final = 120.0


@dataclass(frozen=True)
class Rule:
    """A rule, as the configuration has it: what is measured is the difference to a route without it.

    `policies`, `service` and `route` are its keys there; `services` and `consumers` are what it names. Every request
    has `fields` beside a browser's, with the rule and without, and with `varied` one more that no other has. At most
    `bound` microseconds are its target.
    """

    name: str
    title: str
    bound: float | None = None
    policies: Mapping[str, Any] = field(default_factory=dict)
    service: Mapping[str, Any] = field(default_factory=dict)
    route: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, Any] = field(default_factory=dict)
    consumers: Sequence[Mapping[str, Any]] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    varied: bool = False
    response: bytes = RESPONSE

    def config(self) -> dict[str, Any]:
        """The whole configuration."""
        named = {"service": "bench"} if "split" not in self.route else {}
        return {
            "services": {"bench": {**_SERVICE, **self.service}, **self.services},
            "routes": [{**named, "path": "/api/bench", **self.route}],
            "policies": self.policies,
            "consumers": self.consumers,
        }


def _json(size: int) -> bytes:
    """A response with a JSON document of this size."""
    head = RESPONSE.partition(b"\r\n\r\n")[0].replace(b"Content-Length: 126", b"Content-Length: %d" % size)
    return head + b"\r\n\r\n" + document(size)


def _transform(**rules: Any) -> dict[str, Any]:
    return {"transform": {way: [rule] for way, rule in rules.items()}}


@dataclass(frozen=True)
class Cost:
    """Microseconds of a request without the rule, and how many more with it: the median of the rounds."""

    rule: Rule
    without: float
    added: float


_SERVICE: Final = {"url": "http://127.0.0.1:9", "health_check": False}
_VERSIONS: Final = {"version_by": "header", "versions": {"v1": {}, "v2": {}}}
_SPLIT: Final = {"split": [{"service": "bench", "weight": 95}, {"service": "next", "weight": 5}]}

_TOKENS: Final = {"auth": {"jwt": {"secret": SECRET, "algorithms": ["HS256"]}}}
_TOKEN: Final = {"Authorization": f"Bearer {token()}"}
_KEY: Final = "portico_AAAAAAAA_" + 38 * "B"
_HOLDER: Final = {"name": "ann", "scopes": ["read"], "keys": [f"sha256:{digest_of(_KEY.encode()).hex()}"]}

RULES: Final = (
    Rule("version", "a version by header", 1, service=_VERSIONS, fields={"API-Version": "v2"}),
    Rule(
        "version-varied",
        "the same with a header that always differs",
        service=_VERSIONS,
        fields={"API-Version": "v2"},
        varied=True,
    ),
    Rule("query", "a query rule", 1, _transform(request={"query": {"set": {"page": "1"}}})),
    Rule("field", "a header rule", 1, _transform(request={"headers": {"set": {"X-Tenant": "acme"}}})),
    Rule(
        "field-of-response",
        "a header rule for responses",
        policies=_transform(response={"headers": {"set": {"X-Tenant": "acme"}}}),
    ),
    Rule(
        "json",
        "a rule for a JSON body of 2 KiB",
        60,
        _transform(response={"json": {"remove": ["/3/paid"]}}),
        response=_json(2048),
    ),
    Rule(
        "split",
        "a split",
        0.5,
        route=_SPLIT,
        services={"next": _SERVICE},
    ),
    Rule(
        "split-sticky",
        "a split that is sticky by address",
        route={**_SPLIT, "sticky": "client_ip"},
        services={"next": _SERVICE},
    ),
    Rule("token", "a token that was verified before", 2, _TOKENS, fields=_TOKEN),
    Rule(
        "token-varied",
        "the same with a header that always differs",
        policies=_TOKENS,
        fields=_TOKEN,
        varied=True,
    ),
    Rule(
        "api-key",
        "an API key",
        1.5,
        policies={"auth": {"api_key": {}}},
        consumers=[_HOLDER],
        fields={"X-API-Key": _KEY},
    ),
    Rule(
        "api-key-varied",
        "the same with a header that always differs",
        policies={"auth": {"api_key": {}}},
        consumers=[_HOLDER],
        fields={"X-API-Key": _KEY},
        varied=True,
    ),
)


def costs(names: Sequence[str] = ()) -> list[Cost]:
    """Those of the rules with these names, or of all, each measured in a process of its own, on a gateway's core."""
    return [_measured(rule) for rule in RULES if not names or rule.name in names]


def table(found: Sequence[Cost]) -> str:
    """A row for each rule."""
    rows = [[cost.rule.title, f"{cost.without:.2f}", f"{cost.added:.2f}"] for cost in found]
    return markdown([["", "µs without", "µs added"], *rows])


def _measured(rule: Rule) -> Cost:
    with Job(*python("benchmarks.rules", "--measure", rule.name), cores=cores.for_gateway(1)) as job:
        seen = json.loads(job.result(_TIMEOUT).splitlines()[-1])
    return Cost(rule, seen["without"], seen["added"])


def steps(rule: Rule) -> str:
    """How many more instructions of the interpreter each function takes of a request with the rule."""
    found = []
    for worker in _pair(rule):
        for number in range(64):  # what is made once is made by then
            worker.play(_batch(rule, number))
        found.append(worker.steps(_batch(rule, 64)))
    without, with_rule = found
    with_rule.subtract(without)
    rows = [[name, f"{count / CONNECTIONS:+.1f}"] for name, count in with_rule.most_common() if count]
    return markdown([["", "steps added"], *rows, ["in all", f"{with_rule.total() / CONNECTIONS:+.1f}"]])


def _pair(rule: Rule) -> tuple[Simulation, Simulation]:
    plain = Rule("", "", fields=rule.fields, varied=rule.varied)
    return Simulation(plain.config(), response=rule.response), Simulation(rule.config(), response=rule.response)


def _measure(rule: Rule) -> None:
    without, with_rule = _pair(rule)
    number, rounds = 0, []
    gc.collect()
    gc.freeze()
    for index in range(_ROUNDS + 1):
        batches = [_batch(rule, number + n) for n in range(_BATCHES)]
        number += _BATCHES
        order = (without, with_rule) if index % 2 else (with_rule, without)
        took = {worker: _microseconds(worker, batches) for worker in order}
        rounds.append((took[without], took[with_rule]))
    del rounds[0]  # what is made once is made by then
    added = median(longer - shorter for shorter, longer in rounds)
    print(json.dumps({"without": median(shorter for shorter, _ in rounds), "added": added}))


def _microseconds(worker: Simulation, batches: Sequence[Sequence[bytes]]) -> float:
    before = time.thread_time()
    for batch in batches:
        worker.play(batch)
    return (time.thread_time() - before) / len(batches) / CONNECTIONS * 1e6


def _batch(rule: Rule, number: int) -> list[bytes]:
    """One request of each client, no two alike."""
    fields = {**BROWSER_HEADERS, **rule.fields}
    block = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    requests = []
    for n in range(number * CONNECTIONS, (number + 1) * CONNECTIONS):
        own = f"X-Request-Seq: {n}\r\n" if rule.varied else ""
        requests.append(f"GET /api/bench/items?page=2&seq={n} HTTP/1.1\r\n{block}{own}\r\n".encode())
    return requests


def main(arguments: Sequence[str]) -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    names = [rule.name for rule in RULES]
    parser.add_argument("names", nargs="*", metavar="RULE", help=f"only these: {', '.join(names)}")
    parser.add_argument("--steps", action="store_true", help="count instructions of the interpreter, not time")
    parser.add_argument("--measure", choices=names, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.measure:
        _measure(next(rule for rule in RULES if rule.name == chosen.measure))
    elif chosen.steps:
        for rule in RULES:
            if rule.name in (chosen.names or names):
                print(rule.title, steps(rule), sep="\n\n", end="\n\n")
    else:
        print(table(costs(chosen.names)))


if __name__ == "__main__":
    main(sys.argv[1:])
