"""Whether a Redis answers, for who checks a configuration."""

from __future__ import annotations

import threading

from portico.net.redis.connection import connect_sync, failures, masked, reason


def unreachable(url: str, patience: float) -> str | None:
    """What keeps this process from using a Redis, in a sentence; None where nothing does.

    It takes `patience` seconds at most: then the thread that asks is left behind, since nothing bounds how long a name
    is looked up.
    """
    found: list[str | None] = []
    asking = threading.Thread(target=lambda: found.append(_problem(url, patience)), daemon=True)
    asking.start()
    asking.join(patience)
    problem = found[0] if found else f"no answer within {patience:g} s"
    return f"{masked(url)} cannot be used from here now: {problem}" if problem else None


def _problem(url: str, patience: float) -> str | None:
    try:
        client = connect_sync(url, timeout=patience)
        try:
            client.execute_command("PING")  # type: ignore[no-untyped-call]
        finally:
            client.close()
    except failures() as error:
        return reason(error)
    return None
