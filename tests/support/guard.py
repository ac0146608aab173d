"""A service that decides who may come in, as `auth.forward` asks one."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from .backend import Backend, Connection
from .messages import Message

HANGS = "hangs"


class Guard(Backend):
    """Answers with `status`, `lines` (in latin-1) and `body`; without a status it closes the connection instead.

    With `HANGS` it waits until the gateway closes it, and counts it in `left`.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(self._answers, tls=tls)
        self.left = 0
        self.say()

    def say(self, status: str = "200 OK", *lines: str, body: bytes = b"") -> None:
        """What it answers from now on. `{cookie}` in a line stands for the cookie that it was sent."""
        self.status, self.lines, self.body = status, lines, body

    def last(self) -> Message:
        """What it was asked last."""
        with self.lock:
            return self.requests[-1]

    def asked(self) -> int:
        """How often it was asked."""
        with self.lock:
            return len(self.requests)

    def _answers(self, connection: Connection) -> None:
        while (request := connection.next_request()) is not None:
            if not self.status:
                return
            if self.status == HANGS:
                connection.wait_for_end()
                self.left += 1
                return
            lines: Sequence[str] = [line.replace("{cookie}", request.get("cookie") or "") for line in self.lines]
            head = [f"HTTP/1.1 {self.status}", *lines]
            if not any(line.startswith("Content-Length:") for line in lines) and not self.status.startswith("304"):
                head.append(f"Content-Length: {len(self.body)}")
            connection.send("\r\n".join([*head, "", ""]).encode("latin-1") + self.body)
