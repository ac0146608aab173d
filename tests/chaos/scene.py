"""A fault under the steady load, from the first request to the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from support.instance_process import InstanceProcess
from support.waiting import comes_true

from .fault import Fault
from .gateways import Start, Subject
from .outcome import TIMED, Outcome
from .processes import LoadProcess
from .row import Row, Span, p99

BACK_WITHIN: Final = 20.0
_UNDER_WAY: Final = 40
"""Requests at each instance after which the load counts as steady."""
_LEFT: Final = 0.05
"""The share of the answers that may still come from an instance which should have been left."""
_MOST: Final = 120.0
_SLOWER: Final = 2.0
_SPARE: Final = 10.0
"""Unmoved is a p99 of so many times that before, and so many milliseconds more."""


@dataclass
class Scene:
    """What a fault has to play with, and what it notes. `seconds` is how long before and after are looked at."""

    subject: Subject
    instances: Sequence[InstanceProcess]
    seconds: float
    began: float = field(default_factory=time.monotonic)
    during: Span = (0.0, 0.0)
    spans: list[Span] = field(default_factory=list)
    back: float | None = None
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def victim(self) -> InstanceProcess:
        """The instance that is broken."""
        return self.instances[0]

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """The block is the fault."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.during = (begin, time.monotonic())

    @contextmanager
    def killing(self, noticed_after: float = 0.02) -> Iterator[None]:
        """What runs in this block may be lost, and for so many seconds more, until the clients have noticed it."""
        begin = time.monotonic()
        yield
        self.spans.append((begin, time.monotonic() + noticed_after))

    def wait(self, share: float = 2.0) -> None:
        """As long as `before`, times `share`."""
        time.sleep(self.seconds * share)

    def wait_for_traffic(self, has_traffic: Callable[[], bool]) -> None:
        """Until what was broken is in use again."""
        self.expect(comes_true(has_traffic, BACK_WITHIN), f"not in use again after {BACK_WITHIN:.0f} s")
        self.back = time.monotonic() - self.during[1]

    def expect(self, promise: bool, otherwise: str) -> None:
        """Note a promise that was not kept."""
        if not promise:
            self.broken.append(otherwise)


def under_load(play: Callable[[Scene], None], urls: int = 0) -> Callable[[Fault, Start, float], Row]:
    """What plays a fault under the steady load: `play` breaks and mends. With `urls`, that many small ones repeat."""

    def run(fault: Fault, start: Start, seconds: float) -> Row:
        with (
            InstanceProcess("a") as one,
            InstanceProcess("b") as two,
            start(fault.name, [one.port, two.port]) as subject,
            LoadProcess(subject.ports, _MOST, urls) as load,
        ):
            least = min(_UNDER_WAY, urls // 3 or _UNDER_WAY)
            if not comes_true(lambda: min(one.count(), two.count()) > least, BACK_WITHIN):
                raise RuntimeError(f"the load does not get through\n{load.output()}")
            scene = Scene(subject, (one, two), seconds)
            scene.wait(1)
            play(scene)
            scene.wait(1)
            return _judged(fault, scene, load.finish())

    return run


def _judged(fault: Fault, scene: Scene, outcomes: Sequence[Outcome]) -> Row:
    row = Row(
        *(fault.name, scene.subject.name, fault.promise, outcomes, scene.began, scene.during, scene.spans, scene.back),
        notes=scene.notes,
        broken=scene.broken,
        is_judged=scene.subject.is_judged,
    )
    if fault.leaves:
        share = _share_of(scene.victim.name, outcomes, scene.during)
        row.notes.append(f"{share:.0%} of the answers late in it are the broken one's")
        row.expect(share <= _LEFT, "the broken instance is not left")
    if fault.unmoved:
        before, during = p99(outcomes, (scene.began, scene.during[0])), p99(outcomes, scene.during)
        row.expect(during <= _SLOWER * before + _SPARE, f"the p99 went from {before:.1f} to {during:.1f} ms")
    return row


def _share_of(instance: str, outcomes: Sequence[Outcome], during: Span) -> float:
    """How many of the quick answers in the second half of a span come from an instance."""
    middle = sum(during) / 2
    late = [each.instance for each in outcomes if each.client in TIMED and middle <= each.began < during[1]]
    return late.count(instance) / max(1, len(late))
