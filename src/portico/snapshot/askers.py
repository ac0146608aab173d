"""What asks the services that policies name by address: connections to them are kept as those of services are."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from portico.core.fields import RESPONSE_NOTED
from portico.core.hosts import is_address
from portico.core.questions import Asker
from portico.net.tls.contexts import client_context
from portico.policies.asking import AskedSettings
from portico.upstreams.asker import InstanceAsker
from portico.upstreams.instance import Address, Instance
from portico.upstreams.named_instance import NamedInstance
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn

_PORTS = {"http": 80, "https": 443}


def asking(deadlines: Deadlines, turn: Turn, made: Callable[[Instance], None]) -> Callable[[AskedSettings], Asker]:
    """Makes what asks; `made` is called with each instance that comes up.

    What it gives raises CertificateError where the file of authorities cannot be used.
    """

    def asker(settings: AskedSettings) -> Asker:
        parts = urlsplit(settings.url)
        host = parts.hostname or ""
        tls = client_context(ca=settings.ca) if parts.scheme == "https" else None
        address = Address(parts.netloc, host, parts.port or _PORTS[parts.scheme], tls=tls)
        kind = Instance if is_address(host) else NamedInstance
        instance = kind(address, deadlines, turn, RESPONSE_NOTED)
        made(instance)
        return InstanceAsker(instance, settings.timeout)

    return asker
