"""`python -m benchmarks.inside`: what Portico's own code takes of a request, with neither sockets nor an event loop.

A worker's request pipeline stands between transports that only keep what is written. Nothing of the kernel is in the
number and hardly any noise, so that two trees can be compared: `PYTHONPATH=/elsewhere/src python -m benchmarks.inside`.
`--steps` counts the interpreter's instructions instead, function by function: the same on every machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from email.utils import formatdate
from typing import Any

import uvloop

from benchmarks.mixes import MIXES
from benchmarks.request import SECRET, Request, token
from benchmarks.simulation import CONNECTIONS, RESPONSE, Simulation
from portico.observe.access_log import AccessLog
from portico.observe.record_filter import RecordFilter
from portico.processes.ipc.channel import Watch

_ROUND = 2048


def _config(chosen: argparse.Namespace) -> dict[str, Any]:
    policies: dict[str, Any] = {}
    if not chosen.plain:
        policies |= {"auth": {"jwt": {"secret": SECRET}}, "rate_limit": {"requests_per_minute": 1e9, "burst": 10**9}}
    if chosen.cache:
        policies["cache"] = True
    bench: dict[str, Any] = {"url": "http://127.0.0.1:9", "health_check": False}
    if chosen.versions == "header":
        bench |= {"version_by": "header", "versions": {"v1": {}, "v2": {}}}
    routes = [_route(number, by_pattern=chosen.patterns) for number in range(chosen.routes)]
    gateway = {"tracing": {"sample": chosen.traced}} if chosen.traced is not None else {}
    return {"gateway": gateway, "services": {"bench": bench}, "policies": policies, "routes": routes}


def _route(number: int, *, by_pattern: bool) -> dict[str, str]:
    if not by_pattern:
        return {"service": "bench", "path": f"/api/bench{number}"}
    pattern = f"~ ^/api/bench{number}/(?P<kind>[a-z]+)/(?P<id>[0-9]+)$"
    return {"service": "bench", "path": pattern, "rewrite": "/{id}/{kind}"}


def _fresh() -> bytes:
    """The same response, made now and fresh for an hour."""
    line, (server, _, *others) = RESPONSE.split(b"\r\n")[0], RESPONSE.split(b"\r\n")[1:]
    date = b"Date: " + formatdate(usegmt=True).encode()
    return b"\r\n".join((line, server, date, b"Cache-Control: public, max-age=3600", *others))


_Batch = tuple[Sequence[bytes], Sequence[bytes]]
"""What each client sends, and what of it comes in a second read, if anything."""


def _requests(chosen: argparse.Namespace) -> Callable[[int], _Batch]:
    varied, routes, variants = chosen.varied, chosen.routes, chosen.variants
    request = Request("/items", method="POST" if chosen.post else "GET", body=chosen.post)
    fields = request.fields(token(), sequence="0")
    target = b" /api/bench%d/items/%d" if chosen.patterns else b" /api/bench%d/items?n=%d"
    start = request.method.encode() + target + b" HTTP/1.1\r\n"
    content = b"x" * chosen.post
    if chosen.versions:
        fields["API-Version"] = "v2"
    block = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
    changing = b"X-Changing: %d\r\n" if varied or variants > 1 else b""
    different = sys.maxsize if varied else variants

    def batch(number: int) -> _Batch:
        numbers = range(number * CONNECTIONS, (number + 1) * CONNECTIONS)
        if chosen.cache == "hit":
            numbers = range(CONNECTIONS)
        return [
            start % (n * 7919 % routes, n) + block + _filled(changing, n // CONNECTIONS % different) + b"\r\n" + content
            for n in numbers
        ], ()

    return batch


def _mixed(mix: Sequence[tuple[bytes, bytes]]) -> Callable[[int], _Batch]:
    """Drawn at random, for every batch anew and in every process alike."""

    def batch(number: int) -> _Batch:
        heads, contents = zip(*random.Random(number).choices(mix, k=CONNECTIONS), strict=True)
        return heads, contents

    return batch


def _filled(line: bytes, number: int) -> bytes:
    return line % number if line else line


def _print(steps: Counter[str]) -> None:
    """How many instructions of the interpreter each function takes of a request."""
    for name, count in steps.most_common():
        print(f"{count / CONNECTIONS:8.1f}  {name}")
    print(f"{steps.total() / CONNECTIONS:8.1f}  in all")


def _hooks(names: Sequence[str]) -> AbstractContextManager[object]:
    if not names:
        return nullcontext()  # an older tree has none
    from benchmarks.hooks import hooked

    return hooked(names)


async def _measure(chosen: argparse.Namespace) -> None:
    log = None if chosen.plain else AccessLog(asyncio.get_running_loop(), os.devnull, "json")
    batch = _mixed(MIXES[chosen.mix]("bench0")) if chosen.mix else _requests(chosen)
    with _hooks(chosen.hooks):
        wish = Watch({0: RecordFilter()}, counts=True) if chosen.watched else None
        worker = Simulation(_config(chosen), log, _fresh() if chosen.cache else RESPONSE, wish)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    found = []
    end = time.monotonic() + chosen.seconds
    number = 0
    if chosen.steps:
        for number in range(64):  # what is made once is made by then
            worker.play(*batch(number))
        counted = batch(number + 1)
        _print(worker.steps(*counted))
        end = 0.0
    while time.monotonic() < end:
        batches = [batch(number + index) for index in range(_ROUND // CONNECTIONS)]
        number += len(batches)
        before = time.thread_time()
        for requests in batches:
            worker.play(*requests)
        found.append((time.thread_time() - before) / _ROUND * 1e6)
        if log is not None:
            log.flush()
        worker.spans.clear()
    if found:
        found.sort()
        middle = found[len(found) // 2]
        print(f"{found[0]:.2f} µs per request at best, {middle:.2f} in the median of {len(found)} rounds")
    if log is not None:
        log.close()


def main(arguments: Sequence[str]) -> None:
    """Measures and prints one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inside", description=__doc__)
    parser.add_argument("--plain", action="store_true", help="without policies and without a log")
    for name in MIXES:
        parser.add_argument(
            f"--{name}", action="store_const", const=name, dest="mix", help=f"the mix {name} of mixes.py"
        )
    parser.add_argument("--varied", action="store_true", help="a header field that differs in every request")
    parser.add_argument("--variants", type=int, default=1, help="sets of fields that each client sends in turn")
    parser.add_argument("--post", type=int, default=0, help="bytes of content in each request")
    parser.add_argument("--routes", type=int, default=1, help="spread over so many routes")
    parser.add_argument(
        "--patterns", action="store_true", help="routes by pattern, each request with a path of its own"
    )
    parser.add_argument("--cache", choices=["hit", "miss"], help="a cached route, where every request is one of these")
    parser.add_argument("--hooks", nargs="+", default=[], help="policies of users, of those in benchmarks/hooks.py")
    parser.add_argument(
        "--versions",
        choices=["header", "ignored"],
        help="a service of two, chosen by a field; or of none, for comparison",
    )
    parser.add_argument("--traced", type=float, help="the share of requests that have spans; nobody sends them")
    parser.add_argument("--watched", action="store_true", help="while somebody watches all that the admin API shows")
    parser.add_argument("--steps", action="store_true", help="count instructions of the interpreter, not time")
    parser.add_argument("--seconds", type=float, default=5)
    uvloop.run(_measure(parser.parse_args(arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
