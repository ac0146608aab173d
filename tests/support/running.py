"""A gateway before a service of several instances, each a `Backend` that answers with its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from .backend import Backend, Refusing, well_behaved
from .world import Gateway


def service(*backends: Backend | Refusing, **settings: Any) -> dict[str, Any]:
    """The service as a configuration has it."""
    return {"instances": [each.url for each in backends], "health_check": False, **settings}


@contextmanager
def running(*backends: Backend, **settings: Any) -> Iterator[Gateway]:
    """All of them, and a gateway before them that knows them as `s`."""
    with ExitStack() as stack:
        for each in backends:
            stack.enter_context(each)
        with Gateway({"services": {"s": service(*backends, **settings)}}) as gateway:
            gateway.wait_for_control()
            yield gateway


def served_by(gateway: Gateway, times: int) -> Counter[str]:
    """Who answers so many requests."""
    with gateway.wire() as wire:
        return Counter(wire.ask("GET", "/api/s/x").json()["backend"] for _ in range(times))


def be_well(*backends: Backend) -> None:
    """Behave from now on: those whose script was another one, on new connections."""
    for backend in backends:
        backend.script = well_behaved
        backend.disconnect()
