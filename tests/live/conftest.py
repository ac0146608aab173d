"""What the live tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend
from support.browser import chromium
from support.websocket import EchoServers
from support.world import Gateway


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A well-behaved service, for a test of its own to script."""
    with Backend() as own:
        yield own
        assert not own.errors, own.errors


@pytest.fixture(scope="module")
def servers() -> Iterator[EchoServers]:
    """Services of WebSockets as others write them."""
    with EchoServers() as own:
        yield own


@pytest.fixture(scope="module")
def echoing(servers: EchoServers) -> Iterator[Gateway]:
    """A gateway before them."""
    with Gateway({"services": servers.services}) as own:
        yield own


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for pages of which each test has its own."""
    with chromium() as own:
        yield own
