"""POSTs to a service of which one in twenty meets a bug: the others must not fail, whatever server runs the service.

A server may close its connection behind the answer to an unhandled exception without saying so (uvicorn does), and a
POST that is sent on it then is lost.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from support.client import Wire, request
from support.commands import python
from support.messages import CutShortError
from support.process import free_port
from support.server import Server

from .fault import Fault
from .gateways import Start
from .outcome import POST, Outcome
from .raises import RAISE
from .row import Row

_COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "uvicorn": ("uvicorn", "chaos.raises:app", "--port={port}", "--log-level=critical"),
    "hypercorn": ("hypercorn", "chaos.raises:app", "--bind=127.0.0.1:{port}"),
    "granian": ("granian", "chaos.raises:app", "--interface=asgi", "--host=127.0.0.1", "--port={port}"),
    "gunicorn": ("gunicorn", "chaos.raises:wsgi", "--bind=127.0.0.1:{port}", "--worker-class=gthread", "--threads=8"),
}
SERVERS: Final = tuple(_COMMANDS)
_CLIENTS: Final = 8
_REQUESTS: Final = 375
"""By each client, for every three seconds that one looks before and after a fault."""
_SHARE: Final = 0.05


def raising(server: str) -> Callable[[Fault, Start, float], Row]:
    """What plays it with the service in this server."""

    def run(fault: Fault, start: Start, seconds: float) -> Row:
        port = free_port()
        module, *arguments = (part.format(port=port) for part in _COMMANDS[server])
        with Server(port, *python(module, *arguments)), start(fault.name, [port]) as subject:
            count = round(_REQUESTS * seconds / 3)
            begin = time.monotonic()
            with ThreadPoolExecutor(_CLIENTS) as clients:
                asked = list(clients.map(lambda seed: _client(subject.ports[0], seed, count), range(_CLIENTS)))
            outcomes = [outcome for each in asked for outcome in each]
            span = (begin, time.monotonic())
            row = Row(fault.name, subject.name, fault.promise, outcomes, begin, span, is_judged=subject.is_judged)
            row.notes.append(f"{_CLIENTS * count - len(outcomes)} raised")
            return row

    return run


def _client(port: int, seed: int, count: int) -> list[Outcome]:
    """What became of the requests that did not meet the bug."""
    chance, outcomes = random.Random(seed), []
    wire = Wire(port)
    for _ in range(count):
        raises = chance.random() < _SHARE
        outcome = Outcome(POST, time.monotonic())
        try:
            wire.send(request("POST", "/work", body=RAISE if raises else b"work"))
            answer = wire.receive()
        except (OSError, CutShortError) as error:
            outcome.failure = f"closed ({error})"
            wire.close()
            wire = Wire(port)
        else:
            outcome.failure = "" if answer.status == 200 else f"{answer.status}"
        outcome.seconds = time.monotonic() - outcome.began
        if not raises:
            outcomes.append(outcome)
    wire.close()
    return outcomes
