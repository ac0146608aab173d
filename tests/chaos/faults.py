"""Everything that breaks here, and what Portico promises about it."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from support.client import ask
from support.instance_process import InstanceProcess
from support.waiting import comes_true
from support.world import Gateway, established

from .caching import REDIS_FAULTS, URLS, lose_service
from .configs import merged
from .fault import Fault
from .gateways import (
    behind_haproxy,
    behind_nginx,
    haproxy,
    nginx,
    portico,
    portico_caching_in_redis,
    portico_mirroring,
    portico_with_redis,
    two_porticos,
    two_porticos_with_redis,
)
from .overload import OPEN, WAITING, ten_times
from .raising import SERVERS, raising
from .registering import TTL
from .revoking import revoke_often
from .row import Promise
from .scene import Scene, under_load
from .stampede import stampede

_RELOADS: Final = 200
_TIMEOUT: Final = 15.0
_NOTICED_AFTER: Final = 0.1
"""Seconds until the clients of a balancer notice that a gateway is gone."""
_REGISTERED_WITHIN: Final = 3.0
_ARREARS: Final = 0.3
"""Seconds for what came to an instance while it was stopped: that is no new traffic."""


Deed = Callable[[InstanceProcess], None]
"""What is done to an instance."""


# ---- instances


def _instance(spoil: Deed, mend: Deed) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        victim = scene.victim
        with scene.lasting():
            spoil(victim)
            scene.wait()
            mend(victim)
        time.sleep(_ARREARS)
        count = victim.count()
        scene.wait_for_traffic(lambda: victim.count() > count + 10)

    return play


def _mirror(spoil: Deed, mend: Deed) -> Callable[[Scene], None]:
    """The same of a service that only gets copies."""

    def play(scene: Scene) -> None:
        mirror = scene.subject.mirror
        assert mirror is not None
        with scene.lasting():
            spoil(mirror)
            scene.wait()
            mend(mirror)
        count = mirror.count()
        scene.wait_for_traffic(lambda: mirror.count() > count + 10)

    return play


# ---- processes of one gateway


def _kill_worker(scene: Scene) -> None:
    """One of two, then the other."""
    gateway = scene.subject.gateways[0]
    with scene.lasting():
        for worker in gateway.workers():
            with scene.killing():
                _kill([worker])
            scene.wait(1)
        scene.expect(comes_true(lambda: len(gateway.workers()) == 2, _TIMEOUT), "no new worker")


def _kill_control(scene: Scene) -> None:
    gateway = scene.subject.gateways[0]
    with scene.lasting():
        _kill([gateway.control()])
        scene.wait()
        scene.expect(comes_true(lambda: _is_answered(gateway, "/metrics"), _TIMEOUT), "control is not back")


def _reload(change: Callable[[Scene, int], None]) -> Callable[[Scene], None]:
    """So many SIGHUPs, a hundredth of a second after each other; in the end the last configuration has to hold."""

    def play(scene: Scene) -> None:
        gateway = scene.subject.gateways[0]
        with scene.lasting():
            for number in range(1, _RELOADS + 1):
                change(scene, number)
                gateway.signal(signal.SIGHUP)
                time.sleep(0.01)
            _change_routes(scene, 0)
            gateway.signal(signal.SIGHUP)
            is_taken = comes_true(lambda: all(_number(gateway) == b"0" for _ in range(10)), _TIMEOUT)
            scene.expect(is_taken, "the last configuration does not hold")

    return play


def _change_nothing(scene: Scene, number: int) -> None:
    pass


def _change_routes(scene: Scene, number: int) -> None:
    """The path /number is another one of the service, which answers with its last segment."""
    routes = [*scene.subject.config["routes"], {"service": "chaos", "path": "/number", "rewrite": f"/small/{number}"}]
    scene.subject.gateways[0].write(merged(scene.subject.config, {"routes": routes}))


def _break_file(scene: Scene, number: int) -> None:
    """Every second one is half of a good one."""
    _change_routes(scene, number)
    file = scene.subject.gateways[0].file
    if number % 2:
        text = file.read_text()
        file.write_text(text[: len(text) // 2] + "]")


def _roll(scene: Scene) -> None:
    """SIGUSR1: every worker is replaced."""
    gateway = scene.subject.gateways[0]
    before = set(gateway.workers())
    with scene.lasting():
        gateway.signal(signal.SIGUSR1)

        def is_over() -> bool:
            now = gateway.workers()
            return gateway.running.poll() is not None or (len(now) == len(before) and not before & set(now))

        scene.expect(comes_true(is_over, 2 * _TIMEOUT), "workers are not replaced")
        scene.expect(gateway.running.poll() is None, "the gateway is gone")


# ---- Redis


def _fail_redis_over(scene: Scene) -> None:
    """Behind the address that stays: what was registered has to come back before its time to live is over."""
    pair = scene.subject.redis
    assert pair is not None
    with scene.lasting():
        pair.fail_over()
        begin = time.monotonic()
        is_back = comes_true(lambda: pair.registered() == len(scene.instances), _REGISTERED_WITHIN)
        scene.back = time.monotonic() - begin
        scene.expect(is_back, f"not registered again after {_REGISTERED_WITHIN:g} s")
        time.sleep(TTL + 1)


# ---- one of two gateways


def _kill_gateway(scene: Scene) -> None:
    gateway = scene.subject.gateways[0]
    with scene.lasting():
        family = [gateway.running.pid, *gateway.family()]
        with scene.killing(_NOTICED_AFTER):
            _kill(family)
        gateway.running.wait()
        scene.wait()
        gateway.start()
    scene.wait_for_traffic(lambda: established(gateway.port) > 2)


def _drain_gateway(scene: Scene) -> None:
    gateway = scene.subject.gateways[0]
    with scene.lasting():
        gateway.running.send_signal(signal.SIGTERM)
        is_over = comes_true(lambda: gateway.running.poll() is not None, _TIMEOUT)
        scene.expect(is_over and gateway.running.returncode == 0, "it did not end well")
        scene.wait(1)
        gateway.start()
    scene.wait_for_traffic(lambda: established(gateway.port) > 2)


def _kill(pids: Sequence[int]) -> None:
    """SIGKILL; returns in the moment in which the last is gone, with its sockets closed (`pidfd_open(2)`)."""
    with ExitStack() as stack:
        descriptors = [os.pidfd_open(pid) for pid in pids]
        for descriptor in descriptors:
            stack.callback(os.close, descriptor)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for descriptor in descriptors:
            select.select([descriptor], [], [], _TIMEOUT)


def _is_answered(gateway: Gateway, target: str) -> bool:
    return ask(gateway.port, "GET", target).status == 200


def _number(gateway: Gateway) -> bytes:
    return ask(gateway.port, "GET", "/number").body


def _instance_fault(
    name: str,
    spoil: Deed,
    mend: Deed,
    *,
    leaves: bool = True,
) -> Fault:
    """Played in Portico and in its peers."""
    run = under_load(_instance(spoil, mend))
    return Fault(name, run, (portico, nginx, haproxy), Promise.IDEMPOTENT, leaves)


def _manner_fault(name: str, *, leaves: bool = True) -> Fault:
    spoil, mend = (lambda victim: victim.be(name)), (lambda victim: victim.be("well"))
    return _instance_fault(name, spoil, mend, leaves=leaves)


def _mirror_fault(name: str, spoil: Deed, mend: Deed) -> Fault:
    """Nothing that a mirror does, or does not do, reaches a client."""
    return Fault(f"mirror-{name}", under_load(_mirror(spoil, mend)), (portico_mirroring,), Promise.ALL, unmoved=True)


def _mirror_manner(name: str) -> Fault:
    return _mirror_fault(name, lambda mirror: mirror.be(name), lambda mirror: mirror.be("well"))


def _process_fault(name: str, play: Callable[[Scene], None], promise: Promise = Promise.ALL) -> Fault:
    return Fault(name, under_load(play), (portico,), promise)


_FRONTS: Final = (behind_haproxy, behind_nginx)

FAULTS: Final[tuple[Fault, ...]] = (
    _instance_fault("killed", InstanceProcess.kill, InstanceProcess.start),
    _instance_fault("stopped", InstanceProcess.pause, InstanceProcess.resume),
    _manner_fault("failing"),
    _manner_fault("cutting"),
    _manner_fault("slow", leaves=False),
    _manner_fault("mute"),
    _mirror_fault("killed", InstanceProcess.kill, InstanceProcess.start),
    _mirror_fault("stopped", InstanceProcess.pause, InstanceProcess.resume),
    *map(_mirror_manner, ("failing", "cutting", "slow", "mute")),
    _process_fault("worker-killed", _kill_worker, Promise.RUNNING),
    _process_fault("control-killed", _kill_control),
    _process_fault("reloads", _reload(_change_nothing)),
    _process_fault("reloads-routes", _reload(_change_routes)),
    _process_fault("reloads-broken", _reload(_break_file)),
    _process_fault("rolling-restart", _roll),
    Fault("redis-failover", under_load(_fail_redis_over), (portico_with_redis,), Promise.ALL),
    *(
        Fault(name, under_load(play, URLS), (portico_caching_in_redis,), Promise.ALL)
        for name, play in REDIS_FAULTS.items()
    ),
    Fault("cache-service-gone", under_load(lose_service, URLS), (portico,), Promise.STORED),
    Fault("cache-stampede", stampede, (portico,), Promise.ALL),
    Fault("drain", under_load(_drain_gateway), (two_porticos, *_FRONTS), Promise.ALL),
    Fault("revoked", under_load(revoke_often), (two_porticos_with_redis,), Promise.ALL),
    Fault("gateway-killed", under_load(_kill_gateway), _FRONTS, Promise.RUNNING),
    *(Fault(f"raising-{server}", raising(server), (portico, nginx, haproxy), Promise.ALL) for server in SERVERS),
    Fault("overload", ten_times(WAITING), (portico, nginx, haproxy), Promise.REFUSED),
    Fault("overload-open", ten_times(OPEN), (portico, nginx, haproxy), Promise.REFUSED),
)
