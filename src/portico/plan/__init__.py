"""What another configuration would change, in words."""

from portico.plan.changes import Change, Effect, Kind
from portico.plan.compare import Plan, plan

__all__ = ["Change", "Effect", "Kind", "Plan", "plan"]
