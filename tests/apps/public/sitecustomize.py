"""Clients of applications import this first: the public names lead to the gateway, as a browser's rules lead there.

`PUBLIC` is a JSON object from the ports of a public name (80 or 443) to those of the gateway on this machine.
"""

import json
import os
import socket

_PORTS = {int(public): real for public, real in json.loads(os.environ.get("PUBLIC", "{}")).items()}
_getaddrinfo = socket.getaddrinfo
_connect = socket.socket.connect


def getaddrinfo(host, port, *arguments, **named):  # type: ignore[no-untyped-def]
    name = host.decode() if isinstance(host, bytes) else host or ""
    public = name == "example.com" or name.endswith(".example.com")
    return _getaddrinfo("127.0.0.1" if public else host, port, *arguments, **named)


def connect(self, address):  # type: ignore[no-untyped-def]
    if isinstance(address, tuple) and address[0] == "127.0.0.1":
        address = (address[0], _PORTS.get(address[1], address[1]))
    return _connect(self, address)


socket.getaddrinfo = getaddrinfo
socket.socket.connect = connect  # type: ignore[method-assign]
