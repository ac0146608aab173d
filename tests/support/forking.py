"""The process that others are forked from: `python -m support.forking FD MODULE…` imports the modules and waits.

It has one thread and no event loop. It ends with the socket FD, and so with whoever holds the other end, and takes with
it what still runs then.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import runpy
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

REQUEST: Final = 1 << 20
"""Bytes that a request has at most."""


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Answer until nobody asks any more. Returns in a new process, too: with what that has to run."""
    living: set[int] = set()
    while True:
        message, files, _, _ = socket.recv_fds(requests, REQUEST, 3)
        if not message:
            break
        request: dict[str, Any] = json.loads(message)
        if "reap" in request:
            ended, status = os.waitpid(request["reap"], os.WNOHANG)
            living.discard(ended)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        else:
            answer = os.fork()
            if answer == 0:
                requests.close()
                _take(files)
                return request
            living.add(answer)
            for descriptor in files:
                os.close(descriptor)
        requests.send(json.dumps(answer).encode())
    for pid in living:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return None


def _take(files: Sequence[int]) -> None:
    for number, descriptor in enumerate(files):
        os.dup2(descriptor, number)
        os.close(descriptor)


def _become(request: Mapping[str, Any], others: Sequence[str]) -> None:
    """Run the module as Python does that was started for it; `others` are the entries of its path beyond PYTHONPATH."""
    os.setsid()
    os.sched_setaffinity(0, request["cores"])
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(request["descriptors"]))
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[:] = [str(Path.cwd()), *_python_path(), *others]
    sys.argv[1:] = request["arguments"]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def _python_path() -> list[str]:
    return os.environ["PYTHONPATH"].split(os.pathsep)


def main(descriptor: int, modules: Sequence[str]) -> None:
    others = sys.path[1 + len(_python_path()) :]
    for name in modules:
        import_module(name)
    gc.collect()
    gc.freeze()
    request = _serve(socket.socket(fileno=descriptor))
    if request is not None:
        _become(request, others)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
