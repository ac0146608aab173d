"""Which exchange a reload asks about again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from portico.core.exchange import Exchange
from portico.processes.worker.rights import _Running
from portico.proxy.waiting import Waiting


def test_of_one_that_waits_it_is_the_exchange_itself() -> None:
    request: Any = object()
    stream: Any = None
    exchange = Exchange(stream, request, lambda *_: None, started=1.0)
    connection: Any = SimpleNamespace(is_running=True, request=request, receiver=Waiting(exchange, print, print))
    gateway: Any = None
    assert _Running(connection, gateway, request, until=2.0).exchange is exchange
    assert _Running(connection, gateway, request, until=0.5).exchange is None
