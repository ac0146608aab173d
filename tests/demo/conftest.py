"""A client for each sample service, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from portico.demo.services import atc, gemini, portfolio
from portico.demo.services.positions import Book

Call = Callable[..., httpx.Response]

SERVICES = {"gemini": gemini.app, "atc": atc.app, "portfolio": portfolio.app}


def caller(app: FastAPI) -> Call:
    """A function `call(method, path, **options)` that sends one request to `app`."""

    async def send(method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://sample") as client:
            return await client.request(method, path, **options)

    return lambda method, path, **options: asyncio.run(send(method, path, **options))


@pytest.fixture(params=list(SERVICES))
def service(request: pytest.FixtureRequest) -> tuple[str, Call]:
    """Each service in turn: its name and a caller."""
    return request.param, caller(SERVICES[request.param])


@pytest.fixture
def gemini_call() -> Call:
    return caller(gemini.app)


@pytest.fixture
def atc_call() -> Call:
    return caller(atc.app)


@pytest.fixture
def portfolio_call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """The portfolio with an empty book that holds three positions."""
    monkeypatch.setattr(portfolio.app.state, "book", Book(capacity=3), raising=False)
    return caller(portfolio.app)
