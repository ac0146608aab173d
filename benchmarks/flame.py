"""`python -m benchmarks.flame`: where the CPU of a request goes, as a flame graph and as a table of phases.

py-spy samples a worker while the load of a scenario runs; what one request costs comes from the kernel's own count. The
picture leaves out what happens without the interpreter's lock: the loop's waiting and reading.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.address import Address
from benchmarks.backend import backend
from benchmarks.loads.wrk import Wrk
from benchmarks.peer import POLICIES
from benchmarks.peers.portico import PEERS
from benchmarks.readiness import wait_until_ready
from benchmarks.request import Request
from support import cores
from support.markdown import markdown
from support.proc import children
from support.process import Process, free_port
from support.process_tree import usage
from support.site import Site

_DOCS = Path(__file__).parents[1] / "docs"
_PICTURE = _DOCS / "flame.svg"
_PAGE = _DOCS / "performance.md"
_MARKS = ("<!-- phases -->", "<!-- end of phases -->")
_RATE = 500  # samples a second

PHASES: tuple[tuple[str, str], ...] = (
    ("system calls that write", r"\bwrite_(?:all|out|pieces) \(portico/wire/"),
    ("log: encode and hand over", r"observe/access_log\.py"),
    ("metrics", r"observe/metrics\.py"),
    ("policy: rate limit", r"policies/rate_limit\.py|policies/measures\.py|policies/counters/"),
    ("policy: JWT", r"policies/auth\.py"),
    ("observe once: the log's record", r"\bfinish \(portico/proxy/gateway\.py"),
    (
        "response: back to the client",
        r"\b(?:send_whole|send_head|send_body|end|_next|_await_request) \(portico/wire/http1/server\.py",
    ),
    (
        "response: read",
        r"\b(?:process|_process_in_steps|_read_head|_take_body|_end) \(portico/wire/http1/client\.py"
        r"|portico/wire/http1/response_heads\.py",
    ),
    ("forward: choose, connect, send", r"portico/proxy/(?:forward|compose|attempt|hedge)\.py|portico/upstreams/"),
    ("route and path", r"portico/proxy/routing/|portico/core/paths\.py"),
    ("identify, begin", r"portico/proxy/gateway\.py|portico/core/exchange\.py"),
    ("request: read and parse", r"portico/wire/"),
)
"""Phases by what stands in a stack; the first that fits, from the innermost frame outwards, has the sample."""
_WAITING = re.compile(r"_write_batches (?!.*AccessLog\._write )")
"""The thread that writes the log, without anything to write."""
_LOOP = "event loop and kernel: wait, read, wake"


def main(arguments: Sequence[str]) -> int:
    """Draws the picture and fills in the page; 1 where a tool is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flame", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="how long to sample for each of both")
    chosen = parser.parse_args(arguments)
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{Path.home()}") or shutil.which("py-spy")
    if spy is None or shutil.which("wrk") is None:
        print("py-spy or wrk is missing: pip install py-spy, apt install wrk", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        cost, stacks = _sampled(stack, spy, chosen.seconds)
    table = _table(cost, stacks)
    print(table)
    before, _, rest = _PAGE.read_text().partition(_MARKS[0])
    _, _, after = rest.partition(_MARKS[1])
    _PAGE.write_text(f"{before}{_MARKS[0]}\n\n{table}\n\n{_MARKS[1]}{after}")
    return 0


def _sampled(stack: ExitStack, spy: str, seconds: int) -> tuple[float, Counter[str]]:
    """Microseconds of CPU per request without the sampler, and how often each stack was seen with it."""
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="portico-flame-")))
    service = stack.enter_context(backend(Path(stack.enter_context(TemporaryDirectory())), POLICIES))
    peer = next(peer for peer in PEERS if peer.stack == POLICIES)
    site = Site(free_port(), service.port, folder)
    process = stack.enter_context(Process(*peer.configure(site), directory=folder, cores=cores.for_gateway(1)))
    address = Address(site.port)
    wait_until_ready(process, address, peer.ready)
    load = Wrk(Request("/items"))
    load.run(address, 2, folder)
    before = usage(process.pid).cpu
    outcome = load.run(address, seconds, folder)
    cost = (usage(process.pid).cpu - before) / outcome.requests * 1e6
    worker = max(children(process.pid), key=lambda pid: usage(pid).cpu)
    raw = folder / "stacks.txt"
    for form, path, which in (("raw", raw, []), ("flamegraph", _PICTURE, ["--gil"])):
        running = threading.Thread(target=load.run, args=(address, seconds + 2, folder))
        running.start()
        command = [spy, "record", "--pid", str(worker), "--rate", str(_RATE), "--duration", str(seconds)]
        subprocess.run([*command, *which, "--format", form, "--output", str(path)], check=True, capture_output=True)
        running.join()
    _PICTURE.write_text(_without_paths(_PICTURE.read_text()))
    return cost, Counter(dict(_counts(raw.read_text())))


def _counts(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if not _WAITING.search(frames):
            yield frames, int(count)


def _without_paths(picture: str) -> str:
    """The picture without the folders of this machine."""
    return re.sub(r"(?<![:/<\w])/(?:[\w.@+-]+/)+", "", picture)


def _phase_of(stack: str) -> str:
    if "portico/" not in stack.replace("portico/processes/worker/main.py", ""):
        return _LOOP
    for frame in reversed(stack.split(";")):
        for phase, pattern in PHASES:
            if re.search(pattern, frame):
                return phase
    return _LOOP


def _table(cost: float, stacks: Mapping[str, int]) -> str:
    shares: Counter[str] = Counter()
    for stack, count in stacks.items():
        shares[_phase_of(stack)] += count
    total = sum(shares.values())
    rows = [
        ["phase", "share", "µs"],
        *([name, f"{n / total:.0%}", f"{n / total * cost:.1f}"] for name, n in shares.most_common()),
    ]
    return markdown([*rows, ["**all**", "100%", f"{cost:.1f}"]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
