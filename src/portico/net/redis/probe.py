"""Whether a Redis answers, for checks of a configuration."""

from __future__ import annotations

import threading

from portico.net.redis.connection import connect_sync, failures, masked, reason


def unreachable(url: str, timeout: float) -> str | None:
    """What keeps this process from using a Redis, in a sentence; None where nothing does.

    It takes `timeout` seconds at most: then the thread that probes is abandoned, since nothing bounds how long the
    lookup of a name takes.
    """
    found: list[str | None] = []
    probing = threading.Thread(target=lambda: found.append(_problem(url, timeout)), daemon=True)
    probing.start()
    probing.join(timeout)
    problem = found[0] if found else f"no answer within {timeout:g} s"
    return f"{masked(url)} cannot be used from here now: {problem}" if problem else None


def _problem(url: str, timeout: float) -> str | None:
    try:
        client = connect_sync(url, timeout=timeout)
        try:
            client.execute_command("PING")  # type: ignore[no-untyped-call]
        finally:
            client.close()
    except failures() as error:
        return reason(error)
    return None
