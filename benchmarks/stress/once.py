"""Clients that come once: many different addresses, keys, tokens, paths, hosts and fields, and what is left of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from benchmarks.stress import subjects
from benchmarks.stress.plan import Plan
from benchmarks.stress.row import Row
from benchmarks.stress.subjects import Subject
from benchmarks.stress.wire import StressWire
from support.cores import for_gateway
from support.instance_process import InstanceProcess
from support.proc import status_bytes
from support.process import free_port
from support.tokens import SECRET, bearer, token
from support.worker import Memory
from support.world import Gateway

_MOST: Final = 96 << 20
"""Bytes that a worker may grow by for all of these together, however many they are."""
_LEFT: Final = 1.5
"""Times its size at the beginning that it may have once they have been forgotten."""
_SHORT: Final = "30s"
"""`forget_after` for an hour's quiet in short."""
_WITHIN: Final = 90.0
_REFUSED: Final = "403"
"""What all of them get at last: the service would take most of the time, and need not be asked."""
_TOGETHER: Final = 50
"""Requests that are sent before their responses are read."""
_WARMING: Final = 1000
"""More requests than come before the first kind."""

Make = Callable[[int], tuple[str, str, list[str]]]
"""Path, host and further fields of one of many requests."""


def _address(number: int) -> tuple[str, str, list[str]]:
    return "/small", "stress.test", [f"X-Forwarded-For: 10.{number >> 16}.{number >> 8 & 255}.{number & 255}"]


def _network(number: int) -> tuple[str, str, list[str]]:
    return "/small", "stress.test", [f"X-Forwarded-For: 2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"]


def _key(number: int) -> tuple[str, str, list[str]]:
    return "/small", "stress.test", [f"X-Key: {number:064x}"]


def _long_key(number: int) -> tuple[str, str, list[str]]:
    return "/small", "stress.test", [f"X-Key: {number:0256x}"]


def _subject(number: int) -> tuple[str, str, list[str]]:
    return "/small", "stress.test", [bearer(token(sub=f"user-{number}", scope="read write"))]


def _path(number: int) -> tuple[str, str, list[str]]:
    return f"/small/{number:x}/of/a/path/as/long/as/they/usually/are", "stress.test", []


def _host(number: int) -> tuple[str, str, list[str]]:
    return "/small", f"tenant-{number}.stress.test", []


def _field(number: int) -> tuple[str, str, list[str]]:
    return "/small", "stress.test", [f"User-Agent: {number // 2:0400x}"]


KINDS: Final[dict[str, Make]] = {
    "addresses": _address,
    "networks": _network,
    "keys": _key,
    "long keys": _long_key,
    "subjects": _subject,
    "paths": _path,
    "hosts": _host,
    "fields": _field,
}


def play(plan: Plan, service: InstanceProcess) -> Iterator[Row]:
    """All kinds at one gateway, one after the other; then nobody comes."""
    gateway = Gateway(_config(service.port, plan.distinct), port=free_port(), cores=for_gateway(1))
    try:
        gateway.start()
        gateway.wait_for_control()
        subject = subjects.warm("portico", gateway.port, gateway.workers())
        before = subject.worker.begin()
        for name, make in KINDS.items():
            others = _ask(subject.port, plan.distinct, make)
            what = f"{plan.distinct} {name}"
            row = Row("come once", subject.name, what, subject.worker.since(before), failures=others.total())
            for status, count in others.items():
                row.expect(False, f"{count} requests got {status}, not {_REFUSED}")
            row.expect(row.memory.growth < _MOST, f"it grew by {row.memory.growth >> 20} MiB")
            yield row
        yield _left_over(subject, before)
    finally:
        gateway.end()


def _left_over(subject: Subject, before: int) -> Row:
    """What is left once all is quiet."""
    end = time.monotonic() + _WITHIN
    while (left := status_bytes(subject.worker.pid, "VmRSS")) > _LEFT * before and time.monotonic() < end:
        time.sleep(0.5)
    row = Row("come once", subject.name, f"quiet, forget_after {_SHORT}", Memory(before, left))
    row.expect(left <= _LEFT * before, f"{left / before:.2f} times the size at the beginning is left")
    return row


def _config(service_port: int, distinct: int) -> dict[str, Any]:
    """One worker that believes who is said to ask, counts by address and key, verifies tokens, and refuses them.

    Most kinds are counted as one client, and all but two have no key. That client gets what all kinds send, however
    fast the machine is: with less it is refused before its token is verified, and the scenario sees nothing of tokens.
    A full bucket is forgotten: an empty one takes 20 s to fill.
    """
    burst = len(KINDS) * distinct + _WARMING
    limit: dict[str, Any] = {"requests_per_minute": 3 * burst, "burst": burst}
    policies = {
        "rate_limit": [limit, {**limit, "by": {"header": "X-Key"}}],
        "auth": {"jwt": {"secret": SECRET}},
        "authorize": {"scopes": ["nobody"]},
    }
    service = {"url": f"http://127.0.0.1:{service_port}", **subjects.SERVICE, "policies": policies}
    limits = {**subjects.GATEWAY["limits"], "forget_after": _SHORT}
    own = {**subjects.GATEWAY, "limits": limits, "trusted_proxies": ["127.0.0.1"]}
    return {"gateway": own, "services": {"stress": service}}


def _ask(port: int, count: int, make: Make) -> Counter[str]:
    """The statuses, with their numbers, of requests that were answered otherwise than expected."""
    others: Counter[str] = Counter()
    usual = bearer(token())
    with StressWire(port) as wire:
        for start in range(0, count, _TOGETHER):
            numbers = range(start, min(start + _TOGETHER, count))
            wire.send(b"".join(_request(*make(number), usual) for number in numbers))
            for _ in numbers:
                if (status := wire.skip()) != _REFUSED:
                    others[status] += 1
    return others


def _request(path: str, host: str, lines: list[str], usual: str) -> bytes:
    if not any(line.startswith("Authorization") for line in lines):
        lines = [*lines, usual]
    return "\r\n".join([f"GET /api/stress{path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()
