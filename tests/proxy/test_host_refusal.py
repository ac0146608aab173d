"""Refusals that are looked at for what they say of the client's Host; `live/test_host_refusals.py` has whole ones."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from portico.proxy import host_refusal


class Searches:
    """The pattern, counting."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern = pattern
        self.made = 0

    def search(self, text: bytes) -> re.Match[bytes] | None:
        self.made += 1
        return self.pattern.search(text)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Searches:
    counting = Searches(host_refusal._ABOUT_HOST)
    monkeypatch.setattr(host_refusal, "_ABOUT_HOST", counting)
    monkeypatch.setattr(host_refusal, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    return counting


def looking(body: bytes, times: int) -> Any:
    """The service after so many refusals with this body."""
    service: Any = SimpleNamespace(name="shop", watches_host_from=0.0)
    exchange: Any = SimpleNamespace(
        request=SimpleNamespace(host=b"gw.example"),
        match=SimpleNamespace(handling=SimpleNamespace(preserve_host=None)),
    )
    address = SimpleNamespace(authority="10.0.0.1:8000")
    instance: Any = SimpleNamespace(is_internal=True, name="10.0.0.1:8000", address=address)
    for _ in range(times):
        host_refusal.look_at(exchange, instance, service, 403, body)
    return service


def test_a_body_that_cannot_be_about_the_host_is_not_searched(searches: Searches) -> None:
    looking(b"you may not " * 1000, 50)
    assert not searches.made


def test_clients_cannot_have_the_same_words_searched_again_and_again(searches: Searches) -> None:
    """A service may repeat what its client sent."""
    looking(b"host origin jupyter " * 500, 50)
    assert searches.made == 1


def test_a_refusal_is_found_once(searches: Searches, caplog: pytest.LogCaptureFixture) -> None:
    looking(b"Invalid host header", 50)
    assert searches.made == len(caplog.records) == 1
