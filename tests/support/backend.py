"""A service that records exactly what it receives and answers by script."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Self

from .closing import Closing
from .messages import CutShortError, Message, read_request
from .sockets import reset_at_close

TIMEOUT = 30.0


class _Recorder:
    """The reading half of a connection; remembers every byte."""

    def __init__(self, sock: socket.socket, received: bytearray) -> None:
        self._file = sock.makefile("rb")
        self._received = received

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._received += data
        return data

    def readline(self) -> bytes:
        data = self._file.readline()
        self._received += data
        return data

    def close(self) -> None:
        self._file.close()


class Connection:
    """One connection to the backend, as its script sees it and as the test looks at it afterwards."""

    def __init__(self, backend: Backend, sock: socket.socket) -> None:
        self.backend = backend
        self.socket = sock
        self.received = bytearray()
        self.requests: list[Message] = []
        self.reader = _Recorder(sock, self.received)

    def next_request(self) -> Message | None:
        """The next request with its body; None where the client closed."""
        request = read_request(self.reader)
        if request is not None:
            self.note(request)
        return request

    def receive(self, most: int = 65536) -> bytes:
        """What comes next, as it comes; empty at the end. Not to be mixed with `next_request`, which reads ahead."""
        data = self.socket.recv(most)
        self.received += data
        return data

    def note(self, request: Message) -> None:
        self.requests.append(request)
        with self.backend.lock:
            self.backend.requests.append(request)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, body: bytes = b"", status: str = "200 OK", *lines: str, chunked: bool = False) -> None:
        """A response with a Content-Length, or in chunks."""
        head = [f"HTTP/1.1 {status}", *lines]
        if chunked:
            head.append("Transfer-Encoding: chunked")
            pieces = [body[at : at + 10_007] for at in range(0, len(body), 10_007)]
            coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        else:
            head.append(f"Content-Length: {len(body)}")
            coded = body
        self.send("\r\n".join([*head, "", ""]).encode() + coded)

    def reset(self) -> None:
        """Close with a RST."""
        reset_at_close(self.socket)
        self.close()

    def close(self) -> None:
        self.reader.close()
        self.socket.close()

    def wait_for_end(self) -> None:
        """Read until the other side closes."""
        with contextlib.suppress(OSError):
            while self.reader.read(65536):
                pass


Script = Callable[[Connection], None]


def content(size: int) -> bytes:
    """`size` bytes: every value, and what could be taken for the end of a message."""
    pattern = bytes(range(256)) + b"portico\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"  # its length is no power of two
    return (pattern * (size // len(pattern) + 1))[:size]


def well_behaved(connection: Connection) -> None:
    """HTTP/1.1 as it should be; the target says what is answered.

    `/bytes/N`, `/chunked/N`, `/until-close/N`, `/echo`, `/echo-chunked`, `/status/N`; all else: the request, as JSON.
    """
    while (request := connection.next_request()) is not None:
        if request.get("expect"):
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        kind, _, number = request.target.partition("?")[0].strip("/").partition("/")
        if kind == "until-close":
            connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + content(int(number)))
            return
        _answer(connection, request, kind, number)
        if not request.keeps_alive:
            return


def _answer(connection: Connection, request: Message, kind: str, number: str) -> None:
    if request.method == "HEAD":
        size = int(number) if number.isdigit() else 5
        connection.send(b"HTTP/1.1 200 OK\r\nX-Kind: head\r\nContent-Length: %d\r\n\r\n" % size)
    elif kind == "bytes":
        connection.answer(content(int(number)), "200 OK", "Content-Type: application/octet-stream")
    elif kind == "chunked":
        connection.answer(content(int(number)), chunked=True)
    elif kind in ("echo", "echo-chunked"):
        connection.answer(request.body, chunked=kind == "echo-chunked")
    elif kind == "status":
        if number in ("204", "304"):
            connection.send(f'HTTP/1.1 {number} Fine\r\nETag: "x"\r\n\r\n'.encode())
        else:
            connection.answer(b"status " + number.encode(), f"{number} Said So")
    else:
        connection.answer(described(request, connection.backend), "200 OK", "Content-Type: application/json")


def described(request: Message, backend: Backend) -> bytes:
    return json.dumps(
        {
            "backend": backend.name,
            "method": request.method,
            "target": request.target,
            "fields": request.fields,
            "length": len(request.body),
        }
    ).encode()


class Backend(Closing):
    """Listens on a free port of the loopback, or as given; each connection runs `script` in a thread of its own."""

    def __init__(
        self,
        script: Script = well_behaved,
        *,
        name: str = "backend",
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.script = script
        self.name = name
        self.tls = tls
        self.lock = threading.Lock()
        self.requests: list[Message] = []
        self.connections: list[Connection] = []
        self.errors: list[BaseException] = []
        self.ended = False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=1024)
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return super().__enter__()

    def close(self) -> None:
        """Stop listening and end every connection: the service is dead."""
        self.ended = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.disconnect()

    def disconnect(self) -> None:
        """End every connection: clients open new ones, with the script of now."""
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.socket.shutdown(socket.SHUT_RDWR)

    def targets(self) -> list[str]:
        with self.lock:
            return [request.target for request in self.requests]

    def _accept(self) -> None:
        while not self.ended:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT)
        connection = None
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            connection = Connection(self, sock)
            with self.lock:
                self.connections.append(connection)
            self.script(connection)
        except (OSError, CutShortError, ValueError):
            pass  # the other side left; a test that cares looks at what was received
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            with contextlib.suppress(OSError, ValueError):
                sock.shutdown(socket.SHUT_RDWR)
            if connection is not None:
                connection.reader.close()
            sock.close()


class Refusing(Closing):
    """A port that refuses connections for as long as this is held; a `Backend` may listen on it meanwhile.

    A bound socket that does not listen keeps the kernel from giving the port to anybody else.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._socket.close()
