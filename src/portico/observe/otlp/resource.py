"""What is said of the gateway itself with everything that it exports: the resource, and the scope."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from portico import __version__
from portico.observe.otlp.protobuf import Value, attributes, part, text_of

NAME = "portico"


def resource(service_name: str, written: Mapping[str, str], process: str) -> bytes:
    """`Resource`: what the configuration and the environment say, and which `process` of the gateway this is."""
    values: dict[str, Value | None] = {
        "service.version": __version__,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "telemetry.sdk.name": NAME,
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
        "service.instance.id": f"{socket.gethostname()}/{process}",
        **written,
        "service.name": service_name,
    }
    return attributes(1, values)


def scope() -> bytes:
    """`InstrumentationScope`."""
    return part(1, text_of(NAME)) + part(2, text_of(__version__))
