"""Drives one application in all of its situations; a process of its own does, which can be ended as a whole."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from .application import Application, Situation
from .environment import Environment
from .outcome import OK, Outcome
from .visit import Visit, visit

_USERS = 2
"""As many users come where there are two instances: each has to be right whichever he gets."""


def drive(app: Application, situations: Sequence[Situation]) -> Outcome:
    """Every situation that the application has lines for, one after the other."""
    environment = Environment(app)
    outcome = Outcome(environment.versions())
    for situation in situations:
        if situation in app.situations:
            print(f"{app.name}: {situation}", file=sys.stderr, flush=True)
            outcome.situations[situation] = _outcome(app, situation, environment)
    return outcome


def _outcome(app: Application, situation: Situation, environment: Environment) -> str:
    try:
        with visit(app, situation, environment) as it:
            _visit(app, it)
    except Exception as error:
        traceback.print_exc(limit=4)
        return "; ".join([type(error).__name__, *str(error).strip().splitlines()[:2]])
    return OK


def _visit(app: Application, it: Visit) -> None:
    users = _USERS if it.situation is Situation.TWO else 1
    for _ in range(users):
        app.drive(it)
    asked = it.instances()
    assert len(asked) == users, f"requests went to {sorted(asked)}"
