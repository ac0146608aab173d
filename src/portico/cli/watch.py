"""`portico status --watch`: a gateway's figures each second, on a screen or line by line, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rich.live import Live

from portico.cli.console import fail, out
from portico.cli.screen import Screen, Seen, whole

if TYPE_CHECKING:
    from portico.cli.admin_client import AdminClient

_EVERY: Final = 1.0
"""Seconds between two looks."""
_OVERVIEW: Final = 3
"""Looks between two at services and status, which ask all workers."""


def watch(client: AdminClient, *, as_json: bool) -> None:
    """Show them until Ctrl-C, or until nobody reads any more; a gateway that goes is waited for."""
    looks = _looks(client)
    with suppress(KeyboardInterrupt):
        try:
            if as_json:
                _print(looks, _as_line)
            elif out.is_terminal and not out.is_dumb_terminal:
                signal.signal(signal.SIGTERM, signal.default_int_handler)  # the terminal gets its own screen back
                _draw(looks)
            else:
                _print(looks, _as_text)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be written at the end


def _looks(client: AdminClient) -> Iterator[Seen]:
    """What is seen, once a second. A gateway that never answers ends the command."""
    from portico.cli.admin_client import AdminError

    seen: Seen | None = None
    overview: tuple[Any, ...] = ()
    number = 0
    while True:
        try:
            live = client.live()
            if seen is None or number % _OVERVIEW == 0:
                overview = client.services()["services"], client.status(), client.limits()["limits"]
            seen = Seen(client.where, live, *overview)
            number += 1
        except AdminError as error:
            if seen is None:
                fail(f"portico: {error}")
            seen, number = replace(seen, stale=str(error)), 0
        yield seen
        time.sleep(_EVERY)


def _draw(looks: Iterator[Seen]) -> None:
    screen = Screen(next(looks))
    with Live(get_renderable=lambda: screen, console=out, screen=True, refresh_per_second=4, redirect_stderr=False):
        for screen.seen in looks:
            pass


def _print(looks: Iterator[Seen], made: Callable[[Seen], str]) -> None:
    for seen in looks:
        sys.stdout.write(made(seen) + "\n")
        sys.stdout.flush()


def _as_text(seen: Seen) -> str:
    return "\n".join(line.plain.rstrip() for line in whole(seen)) + "\n"


def _as_line(seen: Seen) -> str:
    document: dict[str, Any] = {**seen.live, "stale": seen.stale} if seen.stale else {**seen.live}
    return json.dumps(document)
