"""What another configuration would change, in words."""

from portico.plan.changes import Change, Effect, Kind
from portico.plan.compare import Plan, plan
from portico.plan.words import lines, summary

__all__ = ["Change", "Effect", "Kind", "Plan", "lines", "plan", "summary"]
