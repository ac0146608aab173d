"""The registry of a gateway's admin API, as small as it can be: what `portico.client` expects of it."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from .backend import Backend, Connection

TOKEN = "the admin token"


class TinyRegistry(Backend):
    """Keeps what is registered in `instances`, by id, and every call in `calls`."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(self._answer_calls, name="registry", port=port)
        self.instances: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []

    def _answer_calls(self, connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            status, document = self.take(asked.method, asked.target, asked.get("authorization"), asked.body)
            body = json.dumps(document).encode() if document else b""
            connection.answer(body, f"{status} {HTTPStatus(status).phrase}")

    def take(self, method: str, path: str, shown: str | None, body: bytes) -> tuple[int, Any]:
        if shown != f"Bearer {TOKEN}":
            return 401, {"detail": "the admin API wants a token"}
        start, name, *rest = path.removeprefix("/admin/registry/").partition("/")
        assert (path[:16], start, name) == ("/admin/registry/", "orders", "/"), path
        own_id, _, what = rest[0].partition("/")
        self.calls.append((f"{method} {what}".strip(), own_id))
        if method == "PUT":
            self.instances[own_id] = json.loads(body)
            return 201, {}
        if own_id not in self.instances:
            return 404, {"detail": "there is no such instance"}
        if method == "DELETE":
            del self.instances[own_id]
        return 204, None

    def received(self, what: str) -> int:
        """How often it was asked for `PUT`, `POST heartbeat` or `DELETE`."""
        return sum(call == what for call, _ in self.calls)
