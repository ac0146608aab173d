"""How many files, sockets included, a process may have open: two for each exchange, three for an upload."""

from __future__ import annotations

import contextlib
import logging
import resource
from typing import Final

logger: Final = logging.getLogger("portico.supervisor")

_OTHERS: Final = 256
"""Descriptors beside those of clients and services: logs, the channel, what libraries open."""


def allow_descriptors(connections: int) -> None:
    """Raise this process's limit to what `connections` client connections need, or as far as it may, with a warning."""
    needed = 3 * connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(OSError, ValueError):  # some systems have a lower limit than they report
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    got = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if got < connections + _OTHERS:  # clients alone are too many; idle ones need none towards a service
        logger.warning(
            "gateway.limits.connections is more than the open files that this system allows; raise ulimit -n",
            extra={"connections": connections, "open_files": got},
        )
