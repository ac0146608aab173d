"""What `portico status` says of the documents of services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_SHOWN: Final = 5
"""Changes of a document that are listed."""


def lines_about(documents: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each document that is not what its service says now, and for what the last change of one broke."""
    for each in documents:
        name = each["service"] if each["version"] is None else f"{each['service']} {each['version']}"
        if "problem" in each:
            yield f"document of {name}: {each['state']}; {each['problem']}"
        broken = each.get("breaking") or []
        for change in broken[:_SHOWN]:
            yield f"document of {name}: its last change breaks clients: {change}"
        if len(broken) > _SHOWN:
            yield f"document of {name}: and {len(broken) - _SHOWN} more such changes: GET /admin/openapi has them"
