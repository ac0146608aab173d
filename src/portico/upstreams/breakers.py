"""The breakers of all instances: made and kept as the configuration says, their changes of state logged and counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from portico.upstreams.breaker import CLOSED, HALF_OPEN, OPEN, STATES, Breaker, Trip
from portico.upstreams.instance import Instance
from portico.wire.deadlines import Deadlines

logger: Final = logging.getLogger("portico.upstreams")

_LEVELS: Final = {CLOSED: logging.INFO, HALF_OPEN: logging.INFO, OPEN: logging.WARNING}


class Breakers:
    """`refresh` is called with a service and an instance of it that is admitted or ejected; `openings` counts by both.

    `ejected` is called with service, instance and `doubts_checks` of each breaker that opens.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        openings: dict[str, dict[str, int]],
        refresh: Callable[[str, Instance], None],
        ejected: Callable[[str, str, bool], None],
    ) -> None:
        self._deadlines = deadlines
        self._openings = openings
        self._refresh = refresh
        self._ejected = ejected
        self._reported: dict[tuple[str, str], int] = {}
        """The last logged state of each breaker."""
        self.version = 0
        """Another one whenever a breaker comes or goes, or has another state."""

    def equip(self, instance: Instance, service: str, url: str, trip: Trip | None) -> None:
        """Give an instance a breaker, or let it keep its own; without a `trip` it has none."""
        if trip is None:
            self.version += instance.breaker is not None
            instance.retire_breaker()
        elif instance.breaker is not None:
            instance.breaker.trip = trip
            instance.breaker.alert = True
        else:
            self.version += 1
            self._reported[service, url] = CLOSED
            instance.breaker = Breaker(trip, self._deadlines, partial(self._changed, instance, service, url))

    def forget(self, service: str, url: str) -> None:
        """The instance is gone, and so is the count of how often its breaker opened."""
        self.version += 1
        self._reported.pop((service, url), None)
        self._openings.get(service, {}).pop(url, None)

    def _changed(self, instance: Instance, service: str, url: str) -> None:
        breaker = instance.breaker
        if breaker is None:
            return
        self.version += 1
        if breaker.state != self._reported.get((service, url), CLOSED):
            self._reported[service, url] = breaker.state
            self._report(breaker, service, url)
            if breaker.state == CLOSED:
                instance.returned = time.monotonic()
        self._refresh(service, instance)

    def _report(self, breaker: Breaker, service: str, url: str) -> None:
        extra = {"service": service, "instance": url}
        if breaker.state == OPEN:
            counts = self._openings.setdefault(service, {})
            counts[url] = counts.get(url, 0) + 1
            extra["seconds"] = f"{breaker.seconds_left(time.monotonic()):.1f}"
            self._ejected(service, url, breaker.doubts_checks)
        logger.log(_LEVELS[breaker.state], "breaker %s", STATES[breaker.state], extra=extra)
