"""One very large download after the other: what does a gateway pay per byte, and what does it pile up?"""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.address import Address
from benchmarks.load import Outcome, first_number, generate, module, report, template_file
from benchmarks.request import GIBIBYTE, MEBIBYTE, SEQUENCE, Request

_SIZE = 1 << 30
_PIECE = 1 << 20
_ASKED_FIRST = Request(MEBIBYTE)


@dataclass(frozen=True)
class Transfer:
    """1 GiB on one connection, again until the time is up, at least once."""

    @property
    def request(self) -> Request:
        """Asked once, in place of the large one."""
        return _ASKED_FIRST

    def run(self, address: Address, seconds: float, directory: Path) -> Outcome:
        template = template_file(Request(GIBIBYTE), directory)
        return generate(module("transfer", address.port, seconds, template, first_number()), seconds)


def _download(connection: socket.socket, request: bytes) -> int:
    """The status; raises OSError if less than 1 GiB came.

    MSG_TRUNC makes the kernel drop what it would copy to the client (man 7 tcp): this end has no use for the bytes.
    """
    connection.sendall(request)
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(4096)
        if not data:
            raise ConnectionError
        head += data
    left = _SIZE - len(head.partition(b"\r\n\r\n")[2])
    piece = bytearray(_PIECE)
    while left:
        count = connection.recv_into(piece, min(left, _PIECE), socket.MSG_TRUNC)
        if not count:
            raise ConnectionError
        left -= count
    return int(head[9:12])


def _main(port: int, seconds: float, template: bytes, number: int) -> None:
    latencies: list[float] = []
    not_2xx = broken = 0
    began = perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        while not latencies or perf_counter() - began < seconds:
            sent = perf_counter()
            try:
                status = _download(connection, template.replace(SEQUENCE.encode(), str(number).encode()))
            except OSError:
                broken += 1
                break
            latencies.append(perf_counter() - sent)
            not_2xx += status // 100 != 2
            number += 1
    report(latencies, perf_counter() - began, len(latencies) * _SIZE, not_2xx, broken)


if __name__ == "__main__":
    _main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]).read_bytes(), int(sys.argv[4]))
