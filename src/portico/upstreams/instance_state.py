"""The state of an instance as one worker sees it: whether requests are sent to it, and if not, why."""

from __future__ import annotations

from enum import StrEnum


class InstanceState(StrEnum):
    """From the best to the worst; the words are Envoy's (outlier ejection, panic, slow start), and a breaker's."""

    ACTIVE = "active"
    """It gets its share."""
    BACKUP = "backup"
    """It gets requests when none of the others can."""
    DRAINED = "drained"
    """Its weight is 0."""
    SLOW_START = "slow_start"
    """It was admitted again, and gets less than its share for a while."""
    UNREACHABLE = "unreachable"
    """It gets its share, but the last connection could not be opened."""
    PANIC = "panic"
    """Its breaker is open, but so many instances are ejected that it is used all the same."""
    HALF_OPEN = "half_open"
    """One request may try whether it has recovered."""
    EJECTED = "ejected"
    """Its breaker is open."""
    DOWN = "down"
    """It fails its active health checks."""
