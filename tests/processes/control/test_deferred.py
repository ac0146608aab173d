import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from portico.processes.control.deferred import Deferred

Message = MutableMapping[str, Any]


async def _receive() -> Message:
    return {"type": "http.request"}


async def _send(message: Message) -> None:
    pass


def test_an_application_is_made_once_by_those_that_ask_at_the_same_time() -> None:
    made: list[int] = []
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])

    def make() -> Any:
        made.append(1)
        return app

    async def ask() -> None:
        deferred = Deferred(make)
        assert made == []
        await asyncio.gather(*(deferred({"type": "http", "path": path}, _receive, _send) for path in "ab"))

    asyncio.run(ask())
    assert (made, sorted(asked)) == ([1], ["a", "b"])


def test_one_that_could_not_be_made_is_tried_again() -> None:
    failures = [OSError("no file")]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    def make() -> Any:
        if failures:
            raise failures.pop()
        return app

    async def ask() -> None:
        deferred = Deferred(make)
        with pytest.raises(OSError, match="no file"):
            await deferred({"type": "http"}, _receive, _send)
        await deferred({"type": "http"}, _receive, _send)

    asyncio.run(ask())
    assert failures == []
