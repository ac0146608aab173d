"""The Redis that the gateway starts for its workers: how it is guarded, and when it goes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from portico.net.redis.connection import connect_sync, failures
from portico.net.redis.server import bundled_server, find_server
from support.backend import Backend
from support.redis_servers import RedisServer
from support.world import Gateway, alive, until


def config(backend: Backend, workers: int = 2, **more: Any) -> dict[str, Any]:
    server = bundled_server()
    program = True if server else str(find_server())
    return {"gateway": {"workers": workers, "embedded_redis": program, **more}, "services": {"echo": backend}}


def url_of(gateway: Gateway) -> str | None:
    """The Redis that the gateway says it uses."""
    url: str | None = httpx.get(f"http://127.0.0.1:{gateway.admin_port}/admin/status").json()["redis"]
    return url


def ask(url: str | None, *command: str) -> Any:
    assert url is not None
    client = connect_sync(url, timeout=5, decode=True)
    try:
        return client.execute_command(*command)  # type: ignore[no-untyped-call]
    finally:
        client.close()


def answers(url: str | None) -> bool:
    with contextlib.suppress(*failures()):
        return bool(ask(url, "PING"))
    return False


def redis_of(gateway: Gateway) -> int:
    """The process; 0 where there is none."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in gateway.family()}
    found = [pid for pid, line in commands.items() if b"valkey-server" in line or b"redis-server" in line]
    return found[0] if found else 0


def started(gateway: Gateway) -> list[dict[str, Any]]:
    return [event for event in gateway.events() if event["event"] == "embedded Redis serves"]


def test_it_is_private_bounded_and_leaves_nothing(backend: Backend) -> None:
    with Gateway(config(backend)) as gateway:
        until(lambda: started(gateway), "it serves")
        url = url_of(gateway)
        assert url is not None
        socket = Path(url.removeprefix("unix://"))
        assert socket.stat().st_mode & 0o777 == 0o600
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert ask(url, "SET", "limit", "1")
        settings = {
            name: ask(url, "CONFIG", "GET", name)[1] for name in ("save", "appendonly", "port", "maxmemory-policy")
        }
        assert settings == {"save": "", "appendonly": "no", "port": "0", "maxmemory-policy": "noeviction"}
        process = redis_of(gateway)

        os.kill(process, signal.SIGKILL)
        until(lambda: redis_of(gateway) not in (0, process) and answers(url), "another one")
        until(lambda: len(started(gateway)) == 2, "the log shows it")
        assert ask(url, "GET", "limit") is None
        assert gateway.get("/api/echo/bytes/5").status == 200

        gateway.signal(signal.SIGHUP)
        until(lambda: any(event["event"] == "configuration reloaded" for event in gateway.events()), "a reload")
        assert url_of(gateway) == url
        process = redis_of(gateway)
        gateway.stop()
        assert not alive(process)
        assert not socket.parent.exists()
        ends = [event for event in gateway.events() if event.get("child") == "embedded Redis"]
        assert len(ends) == 1, "one end that nobody wanted, and no other is reported"


def test_one_that_hangs_is_replaced(backend: Backend) -> None:
    with Gateway(config(backend, limits={"hang_timeout": 1})) as gateway:
        gateway.clean = False  # a process that hangs is an error
        until(lambda: started(gateway), "it serves")
        process = redis_of(gateway)
        os.kill(process, signal.SIGSTOP)
        until(lambda: len(started(gateway)) == 2, "another one")
        assert not alive(process)
        assert answers(url_of(gateway))


def test_it_dies_with_a_killed_supervisor(backend: Backend) -> None:
    with Gateway(config(backend)) as gateway:
        until(lambda: started(gateway), "it serves")
        process = redis_of(gateway)
        gateway.exit_code = -signal.SIGKILL
        gateway.clean = False  # a process that was starting finds its pipe broken
        gateway.signal(signal.SIGKILL)
        until(lambda: not alive(process), "it dies")
        until(lambda: not list(gateway.directory.glob("portico-*")), "its folder is gone")


def test_where_the_kernel_does_not_help_a_process_of_its_own_watches() -> None:
    reader, writer = os.pipe()
    code = (
        "import sys, time\n"
        "from portico.processes.supervisor.embedded_redis import _have_killed_at_end_of\n"
        f"_have_killed_at_end_of({reader})\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[reader])
    os.close(reader)
    os.close(writer)
    assert process.wait(30) == -signal.SIGKILL


def test_a_redis_that_is_named_is_used_instead(backend: Backend) -> None:
    with RedisServer(requirepass="hunter2") as server:
        named = server.url.replace("//", "//:hunter2@")
        with Gateway(config(backend), env={"REDIS_URL": named}) as gateway:
            assert url_of(gateway) == server.url.replace("//", "//***@")
            assert redis_of(gateway) == 0
            assert "hunter2" not in gateway.err() + gateway.out()


def test_a_program_that_cannot_serve_is_tried_again_and_says_why(backend: Backend, tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho I cannot\nexit 3\n")
    program.chmod(0o755)
    with Gateway(config(backend, embedded_redis=str(program))) as gateway:
        ends = until(
            lambda: [event for event in gateway.events() if event.get("last_words") == "I cannot"], "it says so"
        )
        assert ends[0]["child"] == "embedded Redis"
        assert gateway.get("/api/echo/bytes/5").status == 200
