"""Services that behave in one certain way: scripts for a `Backend`."""

from __future__ import annotations

import threading

from .backend import Connection, Script
from .client import TIMEOUT


def says(status: str, *lines: str) -> Script:
    """Every request is answered with this status, which is the body too."""

    def answer(connection: Connection) -> None:
        while connection.next_request() is not None:
            connection.answer(status.encode(), status, *lines)

    return answer


def sends(data: bytes) -> Script:
    """These bytes in place of an answer; then it closes."""

    def send(connection: Connection) -> None:
        connection.next_request()
        connection.send(data)

    return send


def sends_halves(first: bytes, go_on: threading.Event, second: bytes) -> Script:
    """The first bytes, and the second ones once the event has come; then it closes."""

    def send(connection: Connection) -> None:
        connection.next_request()
        connection.send(first)
        assert go_on.wait(TIMEOUT)
        connection.send(second)

    return send


def waits_for(event: threading.Event) -> Script:
    """Every request is answered once the event has come."""

    def answer(connection: Connection) -> None:
        while connection.next_request() is not None:
            assert event.wait(TIMEOUT)
            connection.answer(b"late")

    return answer


def hangs(connection: Connection) -> None:
    """Takes a request and never answers."""
    connection.next_request()
    connection.wait_for_end()


def hung(connection: Connection) -> None:
    """Takes connections and nothing else."""
    connection.wait_for_end()


def resets(connection: Connection) -> None:
    """Takes a request and breaks the connection."""
    connection.next_request()
    connection.reset()


def resets_in_the_middle(connection: Connection) -> None:
    """Breaks the connection in the middle of a body."""
    connection.next_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    connection.reset()


talks_nonsense = sends(b"this is no HTTP\r\n\r\n")
