"""For whom a Redis is started, and what a configuration says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portico.config import Config, dump_config, load_dumped
from portico.net.redis.server import bundled_server, find_server
from portico.processes.ipc.runtime import Runtime
from portico.processes.supervisor.embedded_redis import program_for


def config(**gateway: Any) -> Config:
    return Config.model_validate({"gateway": gateway, "services": {"a": {"url": "http://h"}}})


@pytest.mark.parametrize(
    "gateway", [{}, {"workers": 2, "redis_url": "redis://h"}, {"workers": 2, "embedded_redis": False}]
)
def test_nobody_else_needs_it(gateway: dict[str, Any]) -> None:
    assert program_for(config(**gateway).gateway) is None


def test_several_workers_do() -> None:
    assert program_for(config(workers=2).gateway) == bundled_server()
    assert program_for(config(workers=2, embedded_redis="yes").gateway) == bundled_server()
    assert program_for(config(workers=2, embedded_redis="/opt/redis-server").gateway) == Path("/opt/redis-server")
    assert find_server() is not None


def test_what_is_served_and_stored_names_it(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path, "unix:///r.sock")
    completed = runtime.completed(config(workers=2))
    for one in (completed, load_dumped(dump_config(completed))):
        assert one.gateway.redis_url is not None
        assert one.gateway.redis_url.get_secret_value() == "unix:///r.sock"
        assert one.gateway.workers == 2
    named = config(workers=2, redis_url="redis://h")
    assert runtime.completed(named) is named
    assert Runtime(tmp_path).completed(named) is named
