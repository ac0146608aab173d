"""Why a body could not be edited."""

from __future__ import annotations


class JsonEditError(ValueError):
    """The body is not what the edit is for; `reason` says why in a few words, without quoting the body."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
