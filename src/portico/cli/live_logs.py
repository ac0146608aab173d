"""`portico logs --live`: exchanges of a running gateway as they end, until Ctrl-C."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from portico.cli.console import err, fail, out, say

if TYPE_CHECKING:
    from portico.cli.admin_client import AdminClient

_PAUSE: Final = 1.0
"""Seconds before a gateway that has gone is asked again."""
_MOST_TRIES: Final = 60
"""How often it is asked in vain."""


def show_live(
    client: AdminClient, wanted: Mapping[str, Any], number: int | None, made: Callable[[str], str | None]
) -> None:
    """Show them, `number` of them if that is given. A gateway that goes is waited for, for a minute."""
    if number == 0:
        return
    with suppress(KeyboardInterrupt):
        _Watching(client, wanted, number, made).watch()


class _Watching:
    def __init__(
        self, client: AdminClient, wanted: Mapping[str, Any], number: int | None, made: Callable[[str], str | None]
    ) -> None:
        self.client = client
        self.wanted = wanted
        self.left = number
        self.made = made
        self.has_begun = False
        self.in_vain = 0

    def watch(self) -> None:
        from portico.cli.admin_client import AdminError, RefusedError

        while self.left is None or self.left > 0:
            problem = f"the gateway at {self.client.where} has ended the stream"
            try:
                if self._receive():
                    return
            except RefusedError as error:
                fail(f"portico: {error}")
            except AdminError as error:
                problem = str(error)
            if not self.has_begun or self.in_vain >= _MOST_TRIES:
                fail(f"portico: {problem}")
            if not self.in_vain:
                say(err, f"{problem}; it is asked again")
            self.in_vain += 1
            time.sleep(_PAUSE)

    def _receive(self) -> bool:
        """Whether all that was wanted has come."""
        for record in self.client.exchanges(self.wanted):
            if not self.has_begun or self.in_vain:
                say(err, f"exchanges of the gateway at {self.client.where} as they end; Ctrl-C ends this")
            self.has_begun, self.in_vain = True, 0
            if record and self._show(record):
                return True
        return False

    def _show(self, record: str) -> bool:
        if (lost := _left_out(record)) is not None:
            say(err, f"{lost} more were left out: more came than could be shown")
            return False
        if (text := self.made(record)) is not None:
            say(out, text)
            if self.left is not None:
                self.left -= 1
        return self.left == 0


def _left_out(record: str) -> int | None:
    """How many records were left out, where that is what one says."""
    found = json.loads(record) if record.startswith('{"left_out"') else {}
    lost: int | None = found.get("left_out")
    return lost
