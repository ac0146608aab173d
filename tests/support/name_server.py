"""A name server on loopback: it has the records that it is given, over UDP and TCP."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from ipaddress import ip_address
from typing import Final

from .closing import Closing

_NUMBERS: Final = {"A": 1, "AAAA": 28, "SRV": 33}
_NAMES: Final = {number: name for name, number in _NUMBERS.items()}
_CNAME: Final = 5
_SMALL: Final = 512
NO_SUCH_NAME, SERVER_FAILURE = 3, 2


def encoded(name: str) -> bytes:
    labels = [label for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


class NameServer(Closing):
    """`records` by name and type: addresses, or `priority weight port target`; a name that is not there is NXDOMAIN.

    With `code` set it answers that; while `mute` it answers nothing.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.ttl = 0
        self.code = 0
        self.mute = False
        self.asked: list[tuple[str, str, str]] = []
        """The name, the type, and `udp` or `tcp` of every question."""
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        for work in (self._answer_datagrams, self._answer_streams):
            threading.Thread(target=work, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        for each in (self._tcp, self._udp):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _answer_datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                asked, client = self._udp.recvfrom(65536)
                if not asked:  # closed
                    return
                if self.mute:
                    continue
                answer = self._answer(asked, "udp")
                if len(answer) > _SMALL:  # cut short, with TC
                    head = bytearray(answer[:_SMALL])
                    head[2] |= 0x02
                    answer = bytes(head)
                self._udp.sendto(b"xx" + answer[2:], client)  # one that answers another question
                self._udp.sendto(answer, client)

    def _answer_streams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                with connection, connection.makefile("rb") as stream:
                    (length,) = struct.unpack(">H", stream.read(2))
                    answer = self._answer(stream.read(length), "tcp")
                    connection.sendall(struct.pack(">H", len(answer)) + answer)

    def _answer(self, asked: bytes, way: str) -> bytes:
        labels, at = [], 12
        while length := asked[at]:
            labels.append(asked[at + 1 : at + 1 + length].decode())
            at += 1 + length
        name = ".".join(labels)
        (number,) = struct.unpack_from(">H", asked, at + 1)
        kind = _NAMES[number]
        self.asked.append((name, kind, way))
        known = any(each == name for each, _ in self.records)
        answers = [self._record(number, kind, text) for text in self.records.get((name, kind), [])]
        alias = b"\xc0\x0c" + struct.pack(">HHIH", _CNAME, 1, self.ttl, 2) + b"\xc0\x0c"
        code = self.code or (0 if known else NO_SUCH_NAME)
        head = asked[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(answers) + 1, 0, 0)
        return head + asked[12 : at + 5] + alias + b"".join(answers)

    def _record(self, number: int, kind: str, text: str) -> bytes:
        if kind == "SRV":
            priority, weight, port, target = text.split()
            data = struct.pack(">HHH", int(priority), int(weight), int(port)) + encoded(target)
        else:
            data = ip_address(text).packed
        return b"\xc0\x0c" + struct.pack(">HHIH", number, 1, self.ttl, len(data)) + data
