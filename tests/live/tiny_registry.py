"""The registry of a gateway's admin API, as small as it can be: what `portico.client` is told to expect of it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

TOKEN = "the admin token"


class TinyRegistry:
    """Keeps what is registered in `instances`, by id, and every call in `calls`."""

    def __init__(self, port: int = 0) -> None:
        self.instances: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                status, document = registry.take(
                    self.command, self.path, self.headers.get("Authorization"), self.rfile.read(length)
                )
                body = json.dumps(document).encode() if document else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - names that http.server looks for

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

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

    def heard(self, what: str) -> int:
        """How often it was asked for `PUT`, `POST heartbeat` or `DELETE`."""
        return sum(call == what for call, _ in self.calls)

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
