"""`python -m benchmarks.soak`: mixed load, reloads and faults for an hour; fails where a process keeps growing."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from benchmarks.soak.deeds import DEEDS, Scene
from benchmarks.soak.footprint import Footprint, Sample, look
from support.commands import python, run
from support.cores import LOAD, for_gateway, pinned
from support.instance_process import InstanceProcess
from support.markdown import markdown
from support.process import Job, free_port
from support.redis_process import RedisProcess
from support.waiting import until
from support.world import Gateway

_MIB: Final = 1 << 20
_GRACE: Final = 30.0
_DESCRIPTORS: Final = 20
"""By how many open files and sockets an hour a process may grow: the load itself has now more, now fewer."""
_BACK: Final = 30.0
_MEANT: Final = ("ok", "500 of the service", "429 rate_limited", "503 no_healthy_upstream")
_REFUSED: Final = "the configuration is wrong and was not taken over"


def main(arguments: Sequence[str]) -> int:
    """Returns 0 if no process grew beyond what is allowed, and the load was served; else 1."""
    chosen = _parser().parse_args(arguments)
    seconds, settle = chosen.minutes * 60, chosen.settle * 60
    with pinned(LOAD), _scene() as scene, _load(seconds + _GRACE, scene.gateway.port) as load:
        feet = Watch(scene, chosen)
        feet.go_on(seconds, settle)
        load.running.terminate()
        came = load.result(_GRACE).strip()
        broken = [*_unserved(json.loads(came)), *_judged(feet.seen, settle, chosen.growth * _MIB)]
        broken += [each for each in scene.gateway.complaints() if _REFUSED not in each]
    print(came)
    print(_table(feet.seen, settle))
    for each in broken:
        print(each, file=sys.stderr)
    return int(bool(broken))


@contextmanager
def _scene() -> Iterator[Scene]:
    with RedisProcess() as redis, InstanceProcess("a") as one, InstanceProcess("b") as two:
        scene = Scene(Gateway(port=free_port(), cores=for_gateway(2)), (one, two), redis)
        scene.write()
        scene.gateway.clean = False  # complaints are told at the end
        with scene.gateway:
            until(lambda: len(scene.gateway.workers()) == 2, "both workers serve", _BACK)
            yield scene


def _load(seconds: float, port: int) -> Job:
    return Job(*python("benchmarks.soak.load", seconds, port))


class Watch:
    """Does one deed after the other and looks at every process in between."""

    def __init__(self, scene: Scene, chosen: argparse.Namespace) -> None:
        self.seen: dict[int, Footprint] = {}
        self._scene = scene
        self._every: float = chosen.every
        self._pause: float = chosen.pause
        self._began = time.monotonic()

    def go_on(self, seconds: float, settle: float) -> None:
        """For so long. Processes are killed while the first ones settle, and a worker at half time."""
        scene = self._scene
        kills = [(settle / 4, _kill_worker), (settle / 2, _kill_control), (seconds / 2, _kill_worker)]
        due = 0.0
        while (now := self._now()) < seconds:
            if now >= due:
                self._look(now)
                due += self._every
            if kills and now >= kills[0][0]:
                kills.pop(0)[1](scene)
            else:
                DEEDS[scene.number % len(DEEDS)](scene)
                scene.number += 1
            time.sleep(self._pause)

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _look(self, now: float) -> None:
        gateway = self._scene.gateway
        workers = gateway.workers()
        kinds = {gateway.pid: "supervisor"} | {
            pid: "worker" if pid in workers else "control" for pid in gateway.family()
        }
        for pid, kind in kinds.items():
            if sample := look(pid, now):
                self.seen.setdefault(pid, Footprint(pid, kind)).samples.append(sample)
                print(_line(self.seen[pid], sample), file=sys.stderr, flush=True)


def _kill_worker(scene: Scene) -> None:
    scene.kill(scene.gateway.workers()[0])
    until(lambda: len(scene.gateway.workers()) == 2, "another worker serves", _BACK)


def _kill_control(scene: Scene) -> None:
    scene.kill(scene.gateway.control())
    scene.gateway.wait_for_control()


def _unserved(counts: dict[str, int]) -> Iterator[str]:
    """Clients of which fewer than nine of ten did well; a service that fails and a limit that refuses are meant to."""
    of_client: dict[str, Counter[bool]] = defaultdict(Counter)
    for what, count in counts.items():
        client, _, outcome = what.partition(": ")
        of_client[client][outcome in _MEANT] += count
    for client, came in of_client.items():
        if came[True] < 9 * came[False]:
            yield f"{client}: {came[False]} of {came.total()} did not do well"


def _judged(seen: dict[int, Footprint], settle: float, growth: float) -> Iterator[str]:
    judged = [each for each in seen.values() if each.is_judged(settle)]
    if not judged:
        yield f"no process lived for longer than the {settle / 60:g} minutes in which it settles: nothing is judged"
    for each in judged:
        memory, descriptors = each.growth(settle)
        if memory > growth:
            yield f"{each.kind} {each.pid} grows by {memory / _MIB:.2f} MiB an hour"
        if descriptors > _DESCRIPTORS:
            yield f"{each.kind} {each.pid} has {descriptors:.0f} more open files and sockets each hour"


def _line(foot: Footprint, sample: Sample) -> str:
    sizes = f"{sample.pss / _MIB:8.2f} MiB PSS {sample.rss / _MIB:8.2f} RSS {sample.descriptors:5} open"
    return f"{sample.at:7.0f} s {foot.kind:10} {foot.pid:8} {sizes}"


def _table(seen: dict[int, Footprint], settle: float) -> str:
    head = ("process", "minutes", "RSS MiB", "settled", "end", "MiB an hour", "PSS MiB", "open", "more an hour")
    return markdown([head, *(_row(foot, settle) for foot in seen.values())])


def _row(foot: Footprint, settle: float) -> list[str]:
    first, last = foot.samples[0], foot.samples[-1]
    settled = foot.settled(settle)
    growth = foot.growth(settle) if foot.is_judged(settle) else None
    return [
        foot.kind,
        f"{(last.at - first.at) / 60:.0f}",
        f"{first.rss / _MIB:.1f}",
        f"{settled[0].rss / _MIB:.1f}" if settled else "",
        f"{last.rss / _MIB:.1f}",
        f"{growth[0] / _MIB:+.2f}" if growth else "too short",
        f"{last.pss / _MIB:.1f}",
        str(last.descriptors),
        f"{growth[1]:+.0f}" if growth else "",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="of load (default: 60)")
    parser.add_argument("--settle", type=float, default=10, help="minutes that are not judged (default: 10)")
    parser.add_argument("--every", type=float, default=30, help="seconds between two looks (default: 30)")
    parser.add_argument("--pause", type=float, default=2, help="seconds between two deeds (default: 2)")
    parser.add_argument("--growth", type=float, default=1, help="MiB an hour that are allowed (default: 1)")
    return parser


if __name__ == "__main__":
    run(main)
