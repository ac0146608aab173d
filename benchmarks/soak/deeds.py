"""What is done to a gateway while it is under load, in turns: reloads of all kinds, and faults around it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.soak import site
from chaos.configs import merged
from support.client import ask
from support.instance_process import InstanceProcess
from support.redis_process import RedisProcess
from support.world import Gateway

_TTL: Final = 4
"""Seconds for which an instance is registered: it comes and goes."""


@dataclass
class Scene:
    """The gateway and what is around it; `number` counts the turns."""

    gateway: Gateway
    instances: Sequence[InstanceProcess]
    redis: RedisProcess
    number: int = 0

    @property
    def ports(self) -> list[int]:
        """Where the instances are."""
        return [each.port for each in self.instances]

    def write(self) -> None:
        """The file as it is in this turn."""
        self.gateway.write(site.config(self.ports, self.redis.url, self.number))

    def kill(self, pid: int) -> None:
        """One process of the gateway; the supervisor starts another one."""
        os.kill(pid, signal.SIGKILL)


def _reload(scene: Scene) -> None:
    """Other routes, other instances of a service, all at once in every worker."""
    scene.write()
    scene.gateway.signal(signal.SIGHUP)


def _reload_unchanged(scene: Scene) -> None:
    scene.gateway.signal(signal.SIGHUP)


def _reload_broken(scene: Scene) -> None:
    """It is refused, and what was in force stays."""
    config = site.config(scene.ports, scene.redis.url, scene.number)
    scene.gateway.write(merged(config, {"services": {"chaos": {"balance": "by chance of the moon"}}}))
    scene.gateway.signal(signal.SIGHUP)


def _restart_instance(scene: Scene) -> None:
    instance = scene.instances[scene.number % len(scene.instances)]
    instance.kill()
    instance.start()


def _manner(name: str) -> Callable[[Scene], None]:
    """The first instance behaves like this, until it is its turn to do well."""

    def be(scene: Scene) -> None:
        scene.instances[0].be(name)

    return be


def _register(scene: Scene) -> None:
    """One instance that stays for a few seconds only, and one that is there under another id each time."""
    for name, port in (("brief", scene.ports[0]), (f"id{scene.number}", scene.ports[1])):
        registration = json.dumps({"url": f"http://127.0.0.1:{port}", "ttl": _TTL})
        scene.redis.client.set(f"service:registered:{name}", registration, ex=_TTL)


def _drain(scene: Scene) -> None:
    _steer(scene, "drain")


def _enable(scene: Scene) -> None:
    _steer(scene, "enable")


def _steer(scene: Scene, action: str) -> None:
    document = json.dumps({"url": f"http://127.0.0.1:{scene.ports[1]}"}).encode()
    ask(
        scene.gateway.admin_port,
        "POST",
        f"/admin/services/chaos/instances/{action}",
        *("Host: localhost", "Content-Type: application/json", f"Content-Length: {len(document)}"),
        body=document,
    )


def _look(scene: Scene) -> None:
    """What a monitor and an operator ask for."""
    for target in ("/metrics", "/health", "/docs"):
        scene.gateway.get(target)
    for target in ("/admin/status", "/admin/services", "/admin/routes", "/admin/limits", "/dashboard/"):
        ask(scene.gateway.admin_port, "GET", target, "Host: localhost")


DEEDS: Final[Sequence[Callable[[Scene], None]]] = (
    _register, _reload, _look, _manner("failing"), _register, _reload, _manner("well"), _reload_unchanged, _look,
    _drain, _register, _reload, _enable, _manner("mute"), _reload_broken, _manner("well"), _register, _reload,
    _restart_instance, _look,
)  # fmt: skip
"""One after the other, over and over."""
