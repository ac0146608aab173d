"""Socket.IO: events by its own client, by long polling and by WebSockets."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import Visit


def drive(visit: Visit) -> None:
    visit.client("socketio_user.py")


APPLICATION = Application(
    name="socketio",
    title="Socket.IO",
    requirements=("python-socketio==5.18.1", "uvicorn==0.54.0", "websockets==17.4", "aiohttp==3.14.5"),
    command="uvicorn socketio_server:app --port {port}",
    port=8000,
    drive=drive,
    does="four clients at once send events and get answers, by long polling, by WebSockets, and by the first "
    "that becomes the second",
    ready="/socket.io/",
    situations={
        Situation.ROOT: Lines(
            "It needs nothing. The origins of pages are compared with `Host`, which is the client's."
        ),
        Situation.PREFIX: Lines(
            'Clients name the prefix in their `path`, in Python `socketio_path="socketio/socket.io"`.'
        ),
        Situation.TLS: Lines("It needs nothing."),
        Situation.TWO: Lines(
            "The requests of long polling, and the WebSocket that takes over, belong to a session in one "
            "instance. Without `sticky` every second one gets 400. Clients in Python "
            "keep cookies with an `aiohttp.ClientSession` as `http_session`; those without cookies need "
            "`load_balancing: {consistent_hash: client_ip}`, or WebSockets alone.",
            service="sticky: {cookie: auto}",
        ),
    },
)
