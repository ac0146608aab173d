"""`python -m benchmarks.first_byte`: how much later a stream begins through the gateway than directly.

A service answers with server-sent events as a language model does: the first at once, the others in steps. One client
asks in turn the service itself, the gateway, and the gateway with a budget that is read from the stream; each on a
connection that is kept. What counts is the time from the request's last byte to the first event.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from statistics import median
from typing import Final

from support.backend import Backend, Connection
from support.client import request
from support.world import Gateway

EVENTS: Final = 5
STEP: Final = 0.002
"""Seconds between events."""
_CHUNK: Final = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "model": "m",
    "choices": [{"delta": {"content": "word"}}],
}
_EVENT: Final = b"data: " + json.dumps(_CHUNK).encode() + b"\n\n"
_LAST: Final = b'data: {"choices":[],"usage":{"total_tokens":1}}\n\n'
_BODY: Final = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "hello"}]}'


def model(connection: Connection) -> None:
    """A stream for each request; as servers of Python do, it has the kernel send each event at once."""
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while connection.next_request() is not None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event in (*[_EVENT] * EVENTS, _LAST):
            connection.send(b"%x\r\n%b\r\n" % (len(event), event))
            time.sleep(STEP)
        connection.send(b"0\r\n\r\n")


class Client:
    """One connection, kept."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request("POST", path, "Content-Type: application/json", body=_BODY)

    def seconds(self) -> float:
        """From the request to the first event; all of the response is read."""
        self._socket.sendall(self._request)
        began, received, first = time.perf_counter(), b"", 0.0
        while not received.endswith(b"0\r\n\r\n"):
            received += self._socket.recv(65536)
            if not first and b"data: " in received:
                first = time.perf_counter() - began
        return first


def main() -> None:
    """Measure, and print milliseconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_byte", description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help="of each kind, in turn")
    wanted = parser.parse_args().requests
    limit = {"requests_per_day": 10**9, "cost": {"json": "/usage/total_tokens", "stream": True}}
    with Backend(model) as backend:
        service = {"url": backend.url, "default_routes": False, "health_check": False}
        config = {
            "services": {"model": service},
            "routes": [
                {"service": "model", "path": "/plain"},
                {"service": "model", "path": "/budget", "policies": {"rate_limit": limit}},
            ],
        }
        with Gateway(config) as gateway:
            clients = {
                "directly": Client(backend.port, "/x"),
                "through the gateway": Client(gateway.port, "/plain/x"),
                "with a budget": Client(gateway.port, "/budget/x"),
            }
            seconds: dict[str, list[float]] = {name: [] for name in clients}
            for _ in range(wanted):
                for name, client in clients.items():
                    seconds[name].append(client.seconds())
    direct = median(seconds["directly"])
    for name, found in seconds.items():
        middle, late = median(found), sorted(found)[int(0.95 * len(found))]
        text = f"{middle * 1000:6.2f} ms to the first event, {late * 1000:6.2f} of 95 %"
        print(f"{name:20} {text}, {(middle - direct) * 1000:+.2f} ms")


if __name__ == "__main__":
    main()
