"""A process that listens: it is ready when it answers."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from pathlib import Path

from .process import Process
from .site import Site


class Server(Process):
    """On `port` of the loopback interface; ready once `path` is answered with 200, or without one once it accepts."""

    def __init__(
        self,
        port: int,
        *command: object,
        path: str = "",
        env: Mapping[str, str] | None = None,
        cores: frozenset[int] | None = None,
        directory: Path | None = None,
    ) -> None:
        super().__init__(*command, env=env, cores=cores, directory=directory)
        self.port = port
        self._path = path

    def is_ready(self) -> bool:
        try:
            return self.get(self._path)[0] == 200 if self._path else self._accepts()
        except (OSError, http.client.HTTPException):
            return False

    def get(self, target: str) -> tuple[int, bytes]:
        """Status and body of a response to a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _accepts(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        return True


def at(site: Site, command: list[str], path: str = "", cores: frozenset[int] | None = None) -> Server:
    """A gateway of somebody else's, whose files are in the site's directory."""
    return Server(site.port, *command, path=path, cores=cores, directory=site.directory)
