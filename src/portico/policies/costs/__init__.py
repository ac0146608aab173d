"""What a response cost, read from it while it passes: for limits that are paid after the fact."""

from __future__ import annotations

from portico.policies.costs.meter import Charge, meter_of
from portico.policies.costs.settings import CostSettings

__all__ = ["Charge", "CostSettings", "meter_of"]
