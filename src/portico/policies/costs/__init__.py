"""What a response cost, read from it while it passes: for limits that are paid after the fact."""

from __future__ import annotations

from portico.policies.costs.settings import CostSettings

__all__ = ["CostSettings"]
