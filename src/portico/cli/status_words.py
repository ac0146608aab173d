"""What is wrong with a running gateway, by its status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def problems_of(status: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong, a line each; nothing of a status that is not known."""
    if any(worker.get("redis_up") is False for worker in status.get("workers", ())):
        yield "Redis does not serve limits: each goes by its fallback"
    if status.get("api_keys") and "problem" in status["api_keys"]:
        yield f"API keys: {status['api_keys']['problem']}"
    if status.get("refused"):
        yield f"the file was refused when it was last read: {status['refused']}"
