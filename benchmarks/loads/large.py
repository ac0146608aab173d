"""A large response that is asked for over and over beside another load, and read as fast as it comes."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.address import Address
from benchmarks.load import LoadError, first_number, module
from benchmarks.request import SEQUENCE, Request
from support.cores import LOAD
from support.process import DidNotStart, Process

_FIRST = "it comes"


@contextmanager
def over_and_over(request: Request, address: Address, directory: Path) -> Iterator[None]:
    """From the first byte on, until the end of the block. Raises LoadError where none comes, or it comes no more."""
    template = directory / "large.txt"
    template.write_bytes(request.template().encode())
    command = module("large", address.port, template, first_number())
    with Process(*command, directory=directory, cores=LOAD) as process:
        try:
            process.wait_until_ready(lambda: _FIRST in process.output())
        except DidNotStart as failure:
            raise LoadError(str(failure)) from None
        yield
        if process.running.poll() is not None:
            raise LoadError(process.output())


def _ask(port: int, request: bytes) -> None:
    """For one response, to its end: it is the last of its connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        size = 0
        while data := connection.recv(1 << 18):
            if not size:
                print(_FIRST, flush=True)
            size += len(data)
        if size < 1 << 20:
            raise SystemExit(f"only {size} bytes came")


def _main(port: int, template: bytes, number: int) -> None:
    closing = template.replace(b"Connection: keep-alive", b"Connection: close")
    while True:
        _ask(port, closing.replace(SEQUENCE.encode(), str(number).encode()))
        number += 1


if __name__ == "__main__":
    _main(int(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3]))
