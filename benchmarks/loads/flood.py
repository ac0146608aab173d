"""A client that sends tokens with wrong signatures as fast as they are refused, beside another load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.address import Address
from benchmarks.load import LoadError
from benchmarks.loads.wrk import Wrk
from benchmarks.request import Request
from benchmarks.tokens import BAD
from support.cores import LOAD
from support.process import Process

_CONNECTIONS = 4
_LONGEST = 60.0  # seconds, after which it ends by itself: more than any measurement


@contextmanager
def flood_of_bad_tokens(address: Address, directory: Path) -> Iterator[None]:
    """Until the end of the block. Raises LoadError where it ends before."""
    own = directory / "flood"
    own.mkdir(exist_ok=True)
    load = Wrk(Request("/items", tokens=BAD), _CONNECTIONS)
    with Process(*load.command(address, _LONGEST, own), directory=own, cores=LOAD) as process:
        yield
        if process.running.poll() is not None:
            raise LoadError(process.output())
