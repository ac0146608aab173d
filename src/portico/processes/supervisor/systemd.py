"""The gateway's state as reported to systemd: datagrams to NOTIFY_SOCKET, as sd_notify(3) describes them."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Systemd:
    """Does nothing where no service manager asks for notifications."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        address = "\0" + path[1:] if path.startswith("@") else path
        self._address = address if address.startswith(("/", "\0")) else None
        self.watchdog_interval = self._interval(environ) if self._address else None
        """Seconds between keep-alive messages: half of what the service manager waits for one."""
        self._next_sign = 0.0

    @staticmethod
    def _interval(environ: Mapping[str, str]) -> float | None:
        span = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return int(span) / 2e6 if span.isdecimal() and int(span) and is_ours else None

    def ready(self, status: str) -> None:
        """Everything is served: after the start, and after a reload."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload has begun; its time distinguishes it from one that systemd has requested since."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=draining: running requests may finish")

    def sign_of_life(self) -> None:
        """Call often; a message is sent when it is due."""
        now = time.monotonic()
        if self.watchdog_interval is not None and now >= self._next_sign:
            self._next_sign = now + self.watchdog_interval
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # a service manager that does not read is no reason to wait, or to stop
            sender.sendto("\n".join(lines).encode(), self._address)
